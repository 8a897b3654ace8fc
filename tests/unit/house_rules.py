"""The rules of the house as functions: (name of a file, its text) -> complaints. They read, and run nothing."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES_PER_FILE = 400
LINES_PER_FUNCTION = 80

# What shipped code may import and use, as dotted names; a name stands for itself and for everything inside it.
STANDARD = (
    "__future__",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "fractions",
    "functools",
    "hashlib.sha256",
    "itertools",
    "logging.getLogger",
    "math",
    "numbers",
    "re",
    "threading.Lock",
    "types.ModuleType",
    "typing",
    "weakref.ref",
)
TENSORS = ("torch", "numpy", "einops")
HOST = (
    "comfy",
    "comfy_api",
    "folder_paths",
    "latent_preview",
    "PIL.Image",
    "copy",
    "hashlib",
    "json.dumps",
    "os.makedirs",
    "os.path",
    "threading",
    "time.monotonic",
    "time.perf_counter",
    "uuid",
    "torch",
)
OPTIONAL = ("comfy_extras", "insightface.app", "onnx", "onnxruntime")  # in nodes/host, inside functions
MEDIA = ("PIL", "av", "concurrent.futures", "errno", "os", "shutil", "types.TracebackType")
ONLY_INSIDE_FUNCTIONS = ("librosa",)
SHARED = tuple(
    f".wan_core.{name}" for name in ("checks", "errors", "media", "notes", "safetensors_header", "weights")
)  # by all packages of wan_core

# What it may not use of that.
BANNED = (
    "contextlib.suppress",
    "torch.load",
    "torch.save",
    "torch.hub",
    "torch.jit",
    "torch.package",
    "torch.serialization",
    "torch.from_file",
    "torch.ops.load_library",
    "torch.classes",
    "torch.utils.cpp_extension",
    "torch.distributed",
    "torch.multiprocessing",
    "torch.autocast",
    "torch.amp",
    "numpy.load",
    "numpy.save",
    "numpy.savez",
    "numpy.fromfile",
    "numpy.memmap",
    "numpy.loadtxt",
    "numpy.genfromtxt",
    "numpy.ctypeslib",
    "numpy.lib",
)
BANNED_IN_WAN_CORE = ("torch.inference_mode", "torch.no_grad")
BANNED_BUILTINS = {"eval", "exec", "compile", "__import__", "__builtins__", "print", "input", "breakpoint"}
BANNED_METHODS = {"cuda", "read_bytes", "read_text", "write_bytes", "write_text"}
LAYERS = re.compile(r"Linear|Conv(Transpose)?[123]d|LayerNorm|GroupNorm|RMSNorm|BatchNorm[123]d|Embedding|LSTM|GRU")
FILES_OPEN_IN = ("nodes/host/files.py", "wan_core/media/")

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
    """Every ``NODE_ID = "..."`` in nodes/."""
    found = []
    for path in sorted((ROOT / "nodes").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NODE_ID":
                found.append(ast.literal_eval(node.value))
    return found


# Names in a source text


@dataclass(frozen=True, slots=True)
class Imported:
    """One name that an import statement brings."""

    dotted: str  # its full name; names of our own begin with a dot
    alias: str  # what the file calls it
    line: int
    at_top: bool  # outside any function


def imports(name: str, text: str) -> Iterator[Imported]:
    """Every name that a file imports."""
    package = name.removesuffix(".py").split("/")[:-1]

    def visit(node: ast.AST, top: bool) -> Iterator[Imported]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    dotted = alias.name if alias.asname else alias.name.split(".")[0]
                    yield Imported(alias.name, alias.asname or dotted, child.lineno, top)
            elif isinstance(child, ast.ImportFrom):
                base = ["", *package[: len(package) + 1 - child.level]] if child.level else []
                module = ".".join([*base, *([child.module] if child.module else [])])
                for alias in child.names:
                    yield Imported(f"{module}.{alias.name}", alias.asname or alias.name, child.lineno, top)
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from visit(child, top and not inside)

    return visit(ast.parse(text), True)


def uses(text: str) -> Iterator[tuple[int, str]]:
    """Every name that is read, with its line and its attributes: ``a.b.c``; on a value that has no name, ``.c``."""

    def visit(node: ast.AST) -> Iterator[tuple[int, str]]:
        chain, start = [], node
        while isinstance(start, ast.Attribute):
            chain, start = [start.attr, *chain], start.value
        if isinstance(start, ast.Name) and isinstance(start.ctx, ast.Load):
            yield node.lineno, ".".join([start.id, *chain])
            return
        if chain:
            yield node.lineno, ".".join(["", *chain])
        for child in ast.iter_child_nodes(start):
            yield from visit(child)

    return visit(ast.parse(text))


def known_uses(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Every use of an imported name, with its line and the full dotted name behind the alias."""
    full = {}
    for each in imports(name, text):
        whole = each.alias == each.dotted.split(".")[0]  # ``import a.b`` brings the name a
        full[each.alias] = each.alias if whole else each.dotted
    for line, used in uses(text):
        first, *rest = used.split(".")
        if first in full:
            yield line, ".".join([full[first], *rest])


def is_in(dotted: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the places or inside one, by whole components."""
    return any(f"{dotted}.".startswith(f"{place}.") for place in places)


def leads_to(dotted: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted name is a package around one of the places."""
    return any(place.startswith(f"{dotted}.") for place in places)


# Rules


def may_use(name: str) -> tuple[str, ...]:
    """What a shipped file may import and use: __init__ -> nodes -> wan_core, nothing sideways, host in one place."""
    if name == "__init__.py":
        return (*STANDARD, ".nodes")
    if name.startswith("nodes/host/"):
        return (*STANDARD, *HOST, *OPTIONAL, ".nodes.host", ".wan_core")
    if name == "nodes/types.py":
        return (*STANDARD, "torch", "comfy_api", ".wan_core")
    if name == "nodes/__init__.py":
        return (*STANDARD, "comfy_api", ".nodes", ".wan_core")
    if name.startswith("nodes/"):
        return (*STANDARD, "torch", "comfy_api", ".nodes.types", ".nodes.host", ".wan_core")
    package = "." + ".".join(name.removesuffix(".py").split("/")[:2])
    extra = MEDIA if package == ".wan_core.media" else ()
    return (*STANDARD, *TENSORS, *ONLY_INSIDE_FUNCTIONS, *extra, package, *SHARED)


def unlisted_imports(name: str, text: str) -> list[str]:
    """Imports of what the file may not use; ``import a`` is fine for the sake of an ``a.b`` that it may use."""
    complaints = []
    for each in imports(name, text):
        if not is_in(each.dotted, may_use(name)) and not leads_to(each.dotted, may_use(name)):
            complaints.append(f"line {each.line} imports {each.dotted}")
        if each.at_top and is_in(each.dotted, (*ONLY_INSIDE_FUNCTIONS, *OPTIONAL)):
            complaints.append(f"line {each.line} imports {each.dotted} at module level")
        if each.alias == "*":
            complaints.append(f"line {each.line} imports everything")
    return complaints


def banned_uses(name: str, text: str) -> list[str]:
    """Uses of an imported name that the file may not use, by whatever alias."""
    banned = (*BANNED, *BANNED_IN_WAN_CORE) if name.startswith("wan_core/") else BANNED
    brought = [(each.line, each.dotted) for each in imports(name, text)]
    complaints = []
    for line, used in known_uses(name, text):
        if not is_in(used, may_use(name)):
            complaints.append(f"line {line} uses {used}")
        if used in TENSORS:
            complaints.append(f"line {line} hands {used} on as a value")
    for line, used in [*brought, *known_uses(name, text)]:
        is_layer = is_in(used, ("torch.nn",)) and LAYERS.fullmatch(used.split(".")[-1])
        if is_layer or is_in(used, banned):
            complaints.append(f"line {line} uses {used}")
    return complaints


def banned_builtins(name: str, text: str) -> list[str]:
    """Builtins and methods that run text, talk to the terminal, pick a device or open files."""
    banned = BANNED_BUILTINS if name.startswith(FILES_OPEN_IN) else {*BANNED_BUILTINS, "open"}
    return [
        f"line {line} uses {used}"
        for line, used in uses(text)
        if used.split(".")[0] in banned or ("." in used and used.split(".")[-1] in BANNED_METHODS)
    ]


def swallowed_exceptions(name: str, text: str) -> list[str]:
    """An except that catches everything, one that does nothing, or one for Exception that raises nothing."""
    complaints = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = {used.split(".")[-1] for _, used in uses(ast.unparse(node.type))} if node.type else {"BaseException"}
        raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        if "BaseException" in caught:
            complaints.append(f"line {node.lineno} catches everything")
        if ("Exception" in caught and not raises) or all(map(does_nothing, node.body)):
            complaints.append(f"line {node.lineno} swallows an exception")
    return complaints


def does_nothing(statement: ast.stmt) -> bool:
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_constant or isinstance(statement, (ast.Pass, ast.Continue))


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
    "unlisted_imports": unlisted_imports,
    "banned_uses": banned_uses,
    "banned_builtins": banned_builtins,
    "swallowed_exceptions": swallowed_exceptions,
    "long_file": long_file,
    "long_functions": long_functions,
    "unfinished": unfinished,
}
