"""The rules of the house that ruff and import-linter cannot say, as functions that read and run nothing.

A rule of one file takes its name and its text and returns complaints; a rule of the whole tree takes its files.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES_PER_FILE = 400
LINES_PER_FUNCTION = 80
LINES_PER_EXECUTE = 20
CORE_NAMES_PER_NODE = 8
ONE_USE_HELPERS = 0.05  # of all functions
TEST_LINES = 1.5  # per shipped line

# What shipped code may import at all; the contracts of import-linter say which part of it may import what.
STANDARD = """abc collections concurrent contextlib copy dataclasses datetime enum errno fcntl fractions functools
hashlib importlib io ipaddress itertools json logging math numbers os pickletools platform re shutil stat statistics
threading time types typing unicodedata uuid weakref zipfile __future__"""
OTHERS = """torch numpy einops av PIL aiohttp filelock safetensors comfy comfy_api comfy_execution comfy_extras
folder_paths latent_preview server insightface librosa onnx onnxruntime scipy"""
PACKAGES = {*STANDARD.split(), *OTHERS.split()}
BANNED_BUILTINS = {"eval", "exec", "compile", "__import__", "__builtins__", "print", "input", "breakpoint", "open"}
BANNED_METHODS = {"cuda", "read_bytes", "read_text", "write_bytes", "write_text"}
FILES_OPEN_IN = ("nodes/host/files.py", "nodes/host/private_files.py", "wan_core/media/")

# One letter of each word stands in brackets, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.:!])/(?:w[o]rk|h[o]me|Us[e]rs|r[o]ot|tm[p]|u[s]r)/|\b[A-Z]:\\\\?Us[e]rs", re.A)
REGISTRY_HOST = re.compile(r"py[p]i\.(?:org|python)|pythonh[o]sted|npmj[s]|registry\.y[a]rn|artif[a]ctory")
# What makes markup or code of text in the page, and what the page says in the words of its language.
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc|javascript:"
    r"|\beval\(|\bFunction\(|\bon(?!c?e\b|ly\b)[a-z]+[\"'`]?\s*[=:,]"
)
SAID = re.compile(r'\bsay\(\s*(?:"([^"\n]*)")?')
PLACES = re.compile(r"\{\w+\}")

Complaints = list[str]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Texts = Mapping[str, str]  # by the name of the file


# The tree


@cache
def repository_files() -> Mapping[str, str]:
    """The text files that git holds or would add; without git, what lies in the folders that the design names."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        paths = [ROOT / name for name in listed if name]
    else:
        folders = ("nodes", "wan_core", "web", "workflows", "tests", "demo", "devtools", "locales", "subgraphs", ".ci")
        inside = [path for folder in folders for path in (ROOT / folder).rglob("*")]
        paths = [path for path in [*ROOT.glob("*.*"), *inside] if "__pycache__" not in path.parts]
    contents = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    return {name: content.decode("utf-8") for name, content in contents.items() if b"\0" not in content}


def shipped(files: Texts) -> Texts:
    """The code that the registry gets."""
    code = {name: text for name, text in files.items() if name.endswith(".py")}
    return {name: text for name, text in code.items() if name.startswith(("__init__.py", "nodes/", "wan_core/"))}


def node_ids() -> list[str]:
    """Every ``NODE_ID = "..."`` in nodes/."""
    texts = (text for name, text in repository_files().items() if name.startswith("nodes/"))
    return [found for text in texts for found in re.findall(r'^    NODE_ID = "(\w+)"$', text, re.M)]


def functions(text: str) -> Iterator[Function]:
    """Every function of a file, methods and inner ones too."""
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """The lines of a function's body without its docstring; 0 when there is nothing else."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


# Rules of one file


def unlisted_imports(name: str, text: str) -> Complaints:
    """Packages that are not on the list, and imports of everything."""
    complaints = []
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, ast.ImportFrom):
            names = ["*"] if "*" in names else [] if node.level else [node.module]
        complaints += [f"line {node.lineno} imports {n}" for n in names if n.split(".")[0] not in PACKAGES]
    return complaints


def banned_builtins(name: str, text: str) -> Complaints:
    """Builtins and methods that run text, talk to the terminal, pick a device or open files."""
    banned = BANNED_BUILTINS - {"open"} if name.startswith(FILES_OPEN_IN) else BANNED_BUILTINS
    nodes = list(ast.walk(ast.parse(text)))
    names = [(n.lineno, n.id) for n in nodes if isinstance(n, ast.Name) and n.id in banned]
    called = [(n.lineno, n.func.attr) for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    methods = [(line, method) for line, method in called if method in BANNED_METHODS]
    return [f"line {line} uses {used}" for line, used in names + methods]


def long_file(name: str, text: str) -> Complaints:
    lines = len(text.splitlines())
    return [f"{lines} lines"] if lines > LINES_PER_FILE else []


def long_functions(name: str, text: str) -> Complaints:
    lengths = ((function.name, function.end_lineno - function.lineno + 1) for function in functions(text))
    return [f"{function} has {lines} lines" for function, lines in lengths if lines > LINES_PER_FUNCTION]


def long_executes(name: str, text: str) -> Complaints:
    """Bodies of ``execute`` that do more than to make a request, call a door and hand over the result."""
    bodies = [body_lines(function) for function in functions(text) if function.name == "execute"]
    return [f"execute has {lines} lines" for lines in bodies if lines > LINES_PER_EXECUTE]


def many_core_names(name: str, text: str) -> Complaints:
    """A file that uses more of wan_core than a node needs; of a module, each name that is used of it counts."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level and (node.module or "").split(".")[0] == "wan_core":
            for alias in node.names:
                place, called = ROOT / node.module.replace(".", "/") / alias.name, alias.asname or alias.name
                is_module = place.is_dir() or place.with_suffix(".py").is_file()
                found |= set(re.findall(rf"\b{called}\.\w+", text)) if is_module else {called}
    return [f"{len(found)} names of wan_core"] if len(found) > CORE_NAMES_PER_NODE else []


def not_ascii(name: str, text: str) -> Complaints:
    return [f"line {i}: {line!a}" for i, line in enumerate(text.splitlines(), 1) if not line.isascii()]


def lines_with(pattern: re.Pattern[str]) -> Callable[[str, str], Complaints]:
    def rule(name: str, text: str) -> Complaints:
        lines = enumerate(text.splitlines(), 1)
        return [f"line {i}: {line.strip()[:100]!a}" for i, line in lines if pattern.search(line)]

    return rule


formatter_off = lines_with(re.compile(r"# fm[t]: *(?:skip|off)"))
machine_paths = lines_with(MACHINE_PATH)
registry_hosts = lines_with(REGISTRY_HOST)
made_markup = lines_with(MARKUP)

SHIPPED_RULES = (unlisted_imports, banned_builtins, long_file, long_functions)
NODE_RULES = (long_executes, many_core_names)
PYTHON_RULES = (not_ascii, formatter_off)
TEXT_RULES = (machine_paths, registry_hosts)
PAGE_RULES = (made_markup,)


# Rules of the whole tree


def repeated_classes(files: Texts) -> Complaints:
    """Classes of shipped code that have the same name."""
    trees = (ast.walk(ast.parse(text)) for text in shipped(files).values())
    counts = Counter(node.name for tree in trees for node in tree if isinstance(node, ast.ClassDef))
    return [f"{count} classes are called {name}" for name, count in counts.items() if count > 1]


def one_use_helpers(files: Texts) -> Complaints:
    """Functions under four lines that the shipped code names only once beside their definition, if they are many."""
    code = shipped(files)
    every = [(name, function) for name, text in code.items() for function in functions(text)]
    texts = (re.sub(r'"""(?:.|\n)*?"""|#.*', "", text) for text in code.values())
    words = Counter(word for text in texts for word in re.findall(r"\b[A-Za-z_]\w*\b", text))
    helpers = [
        f"{name} {function.name}"
        for name, function in every
        if body_lines(function) < 4 and words[function.name] <= 2 and not function.name.startswith("__")
    ]
    return helpers if len(helpers) > ONE_USE_HELPERS * len(every) else []


def many_test_lines(files: Texts) -> Complaints:
    """Whether the tests are longer than the code deserves."""
    tests = sum(len(text.splitlines()) for name, text in files.items() if re.match(r"tests/.*\.(py|m?js)$", name))
    page = {name: text for name, text in files.items() if re.match(r"web/.*\.m?js$", name)}
    lines = sum(len(text.splitlines()) for text in (shipped(files) | page).values())
    return [f"{tests} test lines for {lines} shipped ones"] if tests > TEST_LINES * lines else []


def untranslated_words(files: Texts) -> Complaints:
    """Texts of the page without their Chinese or with other places in it, and Chinese that nobody says."""
    page = [text for name, text in files.items() if re.match(r"web/.*\.m?js$", name)]
    said = {words for text in page for words in SAID.findall(text) if "export function say(" not in text}
    chinese = json.loads(files["locales/zh/main.json"])["wancast"]
    complaints = [f"{words!r} is said or translated, but not both" for words in sorted(said ^ chinese.keys())]
    pairs = [(words, chinese[words]) for words in sorted(said & chinese.keys())]
    return complaints + [f"{a!r} has other places" for a, b in pairs if {*PLACES.findall(a)} != {*PLACES.findall(b)}]


TREE_RULES = (repeated_classes, one_use_helpers, many_test_lines, untranslated_words)
