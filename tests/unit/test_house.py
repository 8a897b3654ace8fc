"""The rules of the house, read from the source: who imports whom, sizes, banned words, the papers around the code.

Every rule is a function from source text to complaints, so that each can be shown to fail on a bad sample.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[2]
LINES_PER_FILE = 400
LINES_PER_FUNCTION = 80

HOST_MODULES = {
    "comfy", "comfy_extras", "comfy_execution", "folder_paths", "node_helpers", "execution", "server", "latent_preview"
}
FROM_WAN_CORE = {"torch", "numpy", "einops"}
FROM_NODES = {"torch", "comfy_api"}
ONLY_INSIDE_FUNCTIONS = {"librosa"}
ONLY_IN_MEDIA = {"PIL", "av"}

BANNED_MODULES = {
    "pickle", "marshal", "shelve", "dill", "joblib", "subprocess", "ctypes", "multiprocessing", "pty", "runpy", "code",
    "requests", "httpx", "urllib", "urllib3", "http", "socket", "socketserver", "ssl", "ftplib", "smtplib", "xmlrpc",
    "aiohttp", "websocket", "websockets", "webbrowser", "yaml", "cloudpickle", "pip",
}
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "print", "input", "breakpoint"}
BANNED_OS_CALLS = re.compile(r"system|popen|exec\w*|spawn\w*|fork\w*|startfile")
LAYERS = re.compile(r"Linear|Conv(Transpose)?[123]d|LayerNorm|GroupNorm|RMSNorm|BatchNorm[123]d|Embedding|LSTM|GRU")
FILES_OPEN_IN = ("nodes/host.py", "wan_core/media/")

# One letter of each word stands in brackets, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.:!])/(?:w[o]rk|h[o]me|Us[e]rs|r[o]ot|tm[p]|u[s]r)/|\b[A-Z]:\\\\?Us[e]rs", re.A)
REGISTRY_HOST = re.compile(r"py[p]i\.(?:org|python)|pythonh[o]sted|npmj[s]|registry\.y[a]rn|artif[a]ctory")
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b")


# Reading the tree


def shipped_files() -> list[Path]:
    return [ROOT / "__init__.py", *sorted((ROOT / "nodes").rglob("*.py")), *sorted((ROOT / "wan_core").rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def repository_files() -> tuple[Path, ...]:
    """The files that git holds or would add; without git, what lies in the folders that the design names."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        return tuple(ROOT / name for name in names if name and (ROOT / name).is_file())
    folders = ("nodes", "wan_core", "web", "workflows", "tests", "demo", "locales", "subgraphs", ".ci")
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return tuple(path for path in [*ROOT.glob("*.*"), *inside] if path.is_file() and "__pycache__" not in path.parts)


def text_of(path: Path) -> str | None:
    """A file's text; None for a binary file."""
    content = path.read_bytes()
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def node_ids() -> list[str]:
    """Every ``node_id="..."`` in nodes/."""
    found = []
    for path in sorted((ROOT / "nodes").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "node_id" and isinstance(node.value, ast.Constant):
                found.append(node.value.value)
    return found


# Rules: (name of the file, its text) -> complaints


def imported_names(name: str, text: str) -> Iterator[tuple[str, bool]]:
    """Every imported name with its full dotted path (ours begin with a dot), and whether it stands at module level."""
    package = name.removesuffix(".py").split("/")[:-1]

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = [""] + package[: len(package) + 1 - child.level] if child.level else []
                module = ".".join([*base, *([child.module] if child.module else [])])
                yield from ((f"{module}.{alias.name}" if module else f".{alias.name}", top) for alias in child.names)
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from visit(child, top and not inside)

    return visit(ast.parse(text), True)


def may_import_ours(name: str, target: str) -> bool:
    """Whether the file may import this name of ours: __init__ -> nodes -> wan_core, and nothing sideways."""
    if name == "__init__.py":
        return target.startswith(".nodes")
    if name == "nodes/__init__.py":
        return target.startswith((".nodes.", ".wan_core."))
    if name in ("nodes/host.py", "nodes/types.py"):
        return target.startswith(".wan_core.")
    if name.startswith("nodes/"):
        return target.startswith((".nodes.types", ".nodes.host", ".wan_core."))
    package = ".".join(name.split("/")[:2])
    return target.startswith((f".{package}.", ".wan_core.errors", ".wan_core.media"))


def import_direction(name: str, text: str) -> list[str]:
    complaints = []
    for target, at_top in imported_names(name, text):
        top = target.split(".")[0]
        if target.startswith("."):
            if not may_import_ours(name, target):
                complaints.append(f"imports {target}")
        elif top in sys.stdlib_module_names:
            continue
        elif top in HOST_MODULES:
            if name != "nodes/host.py":
                complaints.append(f"imports {target} of the host")
        elif top in ONLY_INSIDE_FUNCTIONS:
            if at_top:
                complaints.append(f"imports {top} at module level")
        elif top in ONLY_IN_MEDIA:
            if not name.startswith("wan_core/media/"):
                complaints.append(f"imports {top} outside wan_core/media")
        elif top not in (FROM_WAN_CORE if name.startswith("wan_core/") else FROM_NODES):
            complaints.append(f"imports {target}")
    return complaints


def banned_modules(name: str, text: str) -> list[str]:
    return [f"imports {target}" for target, _ in imported_names(name, text) if target.split(".")[0] in BANNED_MODULES]


def banned_calls(name: str, text: str) -> list[str]:
    complaints = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in BANNED_CALLS or called in ("torch.load", "torch.autocast", "importlib.import_module"):
            complaints.append(f"line {node.lineno} calls {called}")
        if called.startswith("os.") and BANNED_OS_CALLS.fullmatch(called[3:]):
            complaints.append(f"line {node.lineno} calls {called}")
        is_torch_layer = called.startswith(("nn.", "torch.nn.")) and LAYERS.fullmatch(called.split(".")[-1])
        if called.endswith(".cuda") or is_torch_layer:
            complaints.append(f"line {node.lineno} calls {called}")
        if called == "open" and not name.startswith(FILES_OPEN_IN):
            complaints.append(f"line {node.lineno} opens a file")
        if name.startswith("wan_core/") and called in ("torch.inference_mode", "torch.no_grad"):
            complaints.append(f"line {node.lineno} calls {called}")
    return complaints


def bare_excepts(name: str, text: str) -> list[str]:
    """An except that is bare, catches BaseException, or only passes."""
    complaints = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None or ast.unparse(node.type) == "BaseException":
            complaints.append(f"line {node.lineno}: bare except")
        if all(isinstance(statement, ast.Pass) for statement in node.body):
            complaints.append(f"line {node.lineno}: swallows an exception")
    return complaints


def long_file(name: str, text: str) -> list[str]:
    lines = len(text.splitlines())
    return [f"{lines} lines"] if lines > LINES_PER_FILE else []


def long_functions(name: str, text: str) -> list[str]:
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lengths = ((node.name, node.end_lineno - node.lineno + 1) for node in functions)
    return [f"{function} has {lines} lines" for function, lines in lengths if lines > LINES_PER_FUNCTION]


def not_ascii(name: str, text: str) -> list[str]:
    return [f"line {i}: {line!a}" for i, line in enumerate(text.splitlines(), 1) if not line.isascii()]


def lines_with(pattern: re.Pattern[str]) -> Callable[[str, str], list[str]]:
    def rule(name: str, text: str) -> list[str]:
        lines = enumerate(text.splitlines(), 1)
        return [f"line {i}: {line.strip()[:100]!a}" for i, line in lines if pattern.search(line)]

    return rule


unfinished = lines_with(UNFINISHED)
machine_paths = lines_with(MACHINE_PATH)
registry_hosts = lines_with(REGISTRY_HOST)

SHIPPED_RULES = {
    "import_direction": import_direction, "banned_modules": banned_modules, "banned_calls": banned_calls,
    "bare_excepts": bare_excepts, "long_file": long_file, "long_functions": long_functions, "unfinished": unfinished,
}


# The repository keeps the rules


def complaints_of(rule: Callable[[str, str], list[str]], paths: list[Path]) -> list[str]:
    texts = ((name_of(path), text_of(path)) for path in paths)
    return [f"{name}: {line}" for name, text in texts if text is not None for line in rule(name, text)]


@pytest.mark.parametrize("rule", SHIPPED_RULES)
def test_shipped_code_keeps_the_rule(rule: str) -> None:
    assert complaints_of(SHIPPED_RULES[rule], shipped_files()) == []


def test_every_python_file_is_plain_ascii() -> None:
    assert complaints_of(not_ascii, [path for path in repository_files() if path.suffix == ".py"]) == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    assert complaints_of(machine_paths, list(repository_files())) == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert complaints_of(registry_hosts, list(repository_files())) == []


# Each rule can fail

BAD = [
    (import_direction, "wan_core/moe/a.py", "import comfy.samplers"),
    (import_direction, "wan_core/moe/a.py", "def f():\n    import folder_paths"),
    (import_direction, "wan_core/moe/a.py", "from ..vae.spec import Spec"),
    (import_direction, "wan_core/moe/a.py", "from ...nodes import host"),
    (import_direction, "wan_core/moe/a.py", "from .. import vae"),
    (import_direction, "wan_core/audio/a.py", "import librosa"),
    (import_direction, "wan_core/audio/a.py", "def f():\n    import av"),
    (import_direction, "wan_core/audio/a.py", "import scipy"),
    (import_direction, "nodes/a.py", "import comfy.utils"),
    (import_direction, "nodes/a.py", "from .b import B"),
    (import_direction, "nodes/a.py", "from . import b"),
    (import_direction, "nodes/a.py", "import wan_core.moe"),
    (import_direction, "nodes/types.py", "from .host import progress"),
    (import_direction, "__init__.py", "from .wan_core import errors"),
    (banned_modules, "nodes/a.py", "import pickle"),
    (banned_modules, "nodes/a.py", "from urllib.request import urlopen"),
    (banned_modules, "nodes/host.py", "def f():\n    import subprocess"),
    (banned_calls, "nodes/a.py", "x = eval('1')"),
    (banned_calls, "nodes/a.py", "print('hello')"),
    (banned_calls, "nodes/a.py", "import os\nos.system('ls')"),
    (banned_calls, "nodes/a.py", "torch.load('a.pt')"),
    (banned_calls, "wan_core/vae/a.py", "x = torch.nn.Linear(1, 2)"),
    (banned_calls, "wan_core/vae/a.py", "x = nn.Conv3d(1, 2, 3)"),
    (banned_calls, "wan_core/vae/a.py", "with torch.no_grad():\n    y = 1"),
    (banned_calls, "wan_core/vae/a.py", "open('weights.bin')"),
    (bare_excepts, "nodes/a.py", "try:\n    f()\nexcept:\n    g()"),
    (bare_excepts, "nodes/a.py", "try:\n    f()\nexcept BaseException:\n    g()"),
    (bare_excepts, "nodes/a.py", "try:\n    f()\nexcept ValueError:\n    pass"),
    (long_file, "nodes/a.py", "x = 1\n" * (LINES_PER_FILE + 1)),
    (long_functions, "nodes/a.py", "def f():\n" + "    x = 1\n" * LINES_PER_FUNCTION),
    (unfinished, "nodes/a.py", "# TO" + "DO later"),
    (not_ascii, "nodes/a.py", "x = '\N{RIGHTWARDS ARROW}'"),
    (machine_paths, "README.md", "cd /ho" + "me/ann/pack"),
    (machine_paths, "README.md", "C:\\Us" + "ers\\ann"),
    (registry_hosts, "README.md", "https://py" + "pi.org/simple"),
]

GOOD = [
    (import_direction, "wan_core/moe/a.py", "import math\nimport torch\nfrom ..errors import E\nfrom .b import B"),
    (import_direction, "wan_core/audio/a.py", "from ..media.chart import Curve\ndef f():\n    import librosa"),
    (import_direction, "nodes/a.py", "from comfy_api.latest import io\nfrom . import host\nfrom ..wan_core.a import f"),
    (import_direction, "nodes/host.py", "import comfy.utils\nimport folder_paths"),
    (banned_calls, "wan_core/vae/a.py", "x = operations.Linear(1, 2)\ny = re.compile('a')"),
    (banned_calls, "nodes/host.py", "open('weights.bin', 'rb')"),
    (bare_excepts, "nodes/a.py", "try:\n    f()\nexcept ValueError as error:\n    raise g() from error"),
    (long_file, "nodes/a.py", "x = 1\n" * LINES_PER_FILE),
    (machine_paths, "README.md", "https://example.org/work/shop and custom_nodes/WanCast"),
    (machine_paths, ".ci/run", "#!/usr/bin/env bash"),
]


@pytest.mark.parametrize(("rule", "name", "text"), BAD)
def test_the_rule_sees_a_bad_sample(rule: Callable[[str, str], list[str]], name: str, text: str) -> None:
    assert rule(name, text)


@pytest.mark.parametrize(("rule", "name", "text"), GOOD)
def test_the_rule_lets_a_good_sample_pass(rule: Callable[[str, str], list[str]], name: str, text: str) -> None:
    assert rule(name, text) == []


# The papers around the code


def requirement_lines(text: str) -> list[str]:
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def test_requirements_and_pyproject_name_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == requirement_lines((ROOT / "requirements.txt").read_text(encoding="utf-8"))


def test_every_json_file_parses() -> None:
    for path in repository_files():
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))


def test_the_source_names_the_nodes() -> None:
    six = {"IdentityEncode", "IDLock", "AudioFeatures", "MoESampler", "HighCompressionVAEDecode", "LipSyncCheck"}
    assert six | {"WanCastAdapterLoader"} <= set(node_ids())
    assert all(node.startswith("WanCast") for node in set(node_ids()) - six)


@pytest.mark.parametrize("node", node_ids())
def test_readme_names_the_node(node: str) -> None:
    assert f"`{node}`" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("node", node_ids())
def test_the_node_has_a_help_page(node: str, language: str) -> None:
    assert len((ROOT / "web" / "docs" / node / f"{language}.md").read_text(encoding="utf-8")) > 200


@pytest.mark.parametrize("node", node_ids())
def test_the_node_has_chinese_labels(node: str) -> None:
    entry = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))[node]
    labels = [entry["display_name"], entry["description"], *(output["name"] for output in entry["outputs"].values())]
    assert all(labels)
    assert any(not label.isascii() for label in labels)
