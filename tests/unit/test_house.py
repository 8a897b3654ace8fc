"""The rules of the house, each shown to fail on bad samples; and the papers around the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from devtools.import_rules import copy_shipped, lint
from tests.unit import house_rules as house
from tests.unit.house_rules import ROOT, Complaints, Texts, node_ids, repository_files

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

Rule = Callable[[str, str], Complaints]


# The repository keeps the rules


def files_of(rule: Rule) -> Iterable[tuple[str, str]]:
    """The files that a rule is for."""
    files = repository_files()
    if rule in house.TEXT_RULES:
        return files.items()
    if rule in house.PYTHON_RULES:
        return [(name, text) for name, text in files.items() if name.endswith(".py")]
    if rule in house.PAGE_RULES:
        return [(name, text) for name, text in files.items() if re.match(r"web/.*\.m?js$", name)]
    if rule in house.NODE_RULES:
        return [(name, text) for name, text in house.shipped(files).items() if Path(name).parent == Path("nodes")]
    return house.shipped(files).items()


FILE_RULES = [*house.SHIPPED_RULES, *house.NODE_RULES, *house.PYTHON_RULES, *house.TEXT_RULES, *house.PAGE_RULES]


@pytest.mark.parametrize("rule", FILE_RULES)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    files = list(files_of(rule))
    assert files
    assert [f"{name}: {complaint}" for name, text in files for complaint in rule(name, text)] == []


@pytest.mark.parametrize("rule", house.TREE_RULES)
def test_the_tree_keeps_the_rule(rule: Callable[[Texts], Complaints]) -> None:
    assert rule(repository_files()) == []


def test_every_socket_of_ours_says_what_it_takes() -> None:
    types, sockets = ((ROOT / "nodes" / f"{name}.py").read_text(encoding="utf-8") for name in ("types", "sockets"))
    own = re.findall(r'io\.Custom\("(\w+)"\)', types)
    assert own and [name for name in own if f'"{name}": SocketType(' not in sockets] == []


# Each rule can fail

LINE = "    x = 1\n"
SAMPLES: list[tuple[Rule, str, str, str]] = [  # rule, file, what it lets pass, what it sees
    (house.unlisted_imports, "wan_core/a.py", "from ..errors import E", "def f():\n    import sympy.core"),
    (house.unlisted_imports, "wan_core/a.py", "from torch import nn", "from urllib.request import urlopen"),
    (house.unlisted_imports, "wan_core/a.py", "from torch import nn", "from torch import *"),
    (house.banned_builtins, "nodes/a.py", "network.eval()", "x = eval('1')"),
    (house.banned_builtins, "nodes/a.py", "re.compile('a')", "run = exec"),
    (house.banned_builtins, "nodes/a.py", "torch.cuda.is_available()", "x.cuda()"),
    (house.banned_builtins, "wan_core/vae/a.py", "image.open('a')", "open('weights.bin')"),
    (house.banned_builtins, "nodes/host/files.py", "open('weights.bin', 'rb')", "Path('a').read_bytes()"),
    (house.long_file, "nodes/a.py", LINE * 400, LINE * 401),
    (house.long_functions, "nodes/a.py", "def f():\n" + LINE * 79, "def f():\n" + LINE * 80),
    (house.long_executes, "nodes/a.py", "def execute():\n    'Words.'\n" + LINE * 20, "def execute():\n" + LINE * 21),
    (
        house.many_core_names,
        "nodes/a.py",
        "from ..wan_core.a import a, b, c, d\nfrom .types import e, f, g, h, i",
        "from ..wan_core.a import a, b, c, d\nfrom ..wan_core.b import e, f, g, h, i",
    ),
    (
        house.many_core_names,
        "nodes/a.py",
        "from ..wan_core import vae\nvae.decode(vae.Request(1))",
        "from ..wan_core import errors as e\n" + "\n".join(f"e.{name}()" for name in "abcdefghi"),
    ),
    (house.not_ascii, "nodes/a.py", "x = 1", "x = '\N{RIGHTWARDS ARROW}'"),
    (house.formatter_off, "nodes/a.py", "x = 1  # the formatter skips it", "x = 1  # fm" + "t: skip"),
    (house.machine_paths, "README.md", "https://example.org/work/shop", "cd /ho" + "me/ann/pack"),
    (house.machine_paths, ".ci/run", "#!/usr/bin/env bash", "C:\\Us" + "ers\\ann"),
    (house.registry_hosts, "README.md", "from PyPI", "https://py" + "pi.org/simple"),
    (house.made_markup, "web/a.mjs", "a.textContent = name", "a.innerHTML = name"),
    (house.made_markup, "web/a.mjs", "node.onExecuted = f", "a.onclick = f"),
    (house.made_markup, "web/a.mjs", "f({ once: true })", 'make("img", { onerror: name })'),
    (house.made_markup, "web/a.mjs", 'a.setAttribute("title", b)', 'a.setAttribute("onclick", b)'),
]


@pytest.mark.parametrize(("rule", "name", "good", "bad"), SAMPLES)
def test_the_rule_tells_good_from_bad(rule: Rule, name: str, good: str, bad: str) -> None:
    assert rule(name, good) == []
    assert rule(name, bad)


def test_the_rules_of_the_tree_tell_good_from_bad() -> None:
    function = "def {0}():\n    return {0}() + {0}()\n"
    once = "def only():\n    return 1\n" + "".join(function.format(f"f{i}") for i in range(19))
    assert house.one_use_helpers({"wan_core/a.py": once}) == []
    found = house.one_use_helpers({"wan_core/a.py": once + "def another():\n    return 2\n"})
    assert found == ["wan_core/a.py only", "wan_core/a.py another"]
    a, b = ({f"nodes/{name}.py": f"class {name}:\n    x = 1\n"} for name in "AB")
    assert house.repeated_classes(a | b) == []
    assert house.repeated_classes(a | {"wan_core/a.py": "class A: pass"}) == ["2 classes are called A"]
    assert house.many_test_lines(a | {"tests/a.py": "x\n" * 2, "tests/ui/a.js": "x\n"}) == []
    assert house.many_test_lines(a | {"tests/a.py": "x\n" * 2, "tests/ui/a.js": "x\n" * 2})
    assert house.many_test_lines(a | {"web/a.mjs": "x\n" * 2, "tests/a.py": "x\n" * 6}) == []
    chinese = {"locales/zh/main.json": '{"wancast": {"{n} of us": "{n}"}}'}
    assert house.untranslated_words(chinese | {"web/a.mjs": 'say("{n} of us", { n })'}) == []
    for bad in ['say("{n} of us") say("hello")', 'say("{n} of us") say(ours ? "{n} of us" : "hello")', "f()"]:
        assert house.untranslated_words(chinese | {"web/a.mjs": bad})
    other_places = {"locales/zh/main.json": '{"wancast": {"{n} of us": "{m}"}}', "web/a.mjs": 'say("{n} of us")'}
    assert house.untranslated_words(other_places) == ["'{n} of us' has other places"]


RUFF_SEES = [
    ("TID251", "nodes/a.py", "import pickle"),
    ("TID251", "nodes/host/files.py", "def f():\n    import subprocess"),
    ("TID251", "nodes/host/files.py", "import os as o\no.system('ls')"),
    ("TID251", "nodes/host/files.py", "from os import posix_spawn"),
    ("TID251", "nodes/a.py", "from urllib.request import urlopen"),
    ("TID251", "nodes/host/a.py", "import aiohttp\naiohttp.ClientSession()"),
    ("TID251", "nodes/a.py", "import sys\ncomfy = sys.modules['comfy']"),
    ("TID251", "nodes/a.py", "import torch as t\nt.load('a.pt')"),
    ("TID251", "nodes/a.py", "import torch\ntorch.hub.load('a', 'b')"),
    ("B009", "nodes/a.py", "import torch\ngetattr(torch, 'load')('a.pt')"),
    ("TID251", "wan_core/vae/a.py", "import numpy as np\nnp.load('a.npy', allow_pickle=True)"),
    ("TID251", "wan_core/vae/a.py", "from torch import nn\nx = nn.Conv3d(1, 2, 3)"),
    ("TID251", "wan_core/vae/a.py", "from torch.nn.modules import linear"),
    ("TID251", "wan_core/vae/a.py", "import torch\nwith torch.no_grad():\n    y = 1"),
    ("TID251", "wan_core/vae/a.py", "from contextlib import suppress"),
    ("TID253", "wan_core/audio/a.py", "import librosa"),
    ("S307", "nodes/a.py", "x = eval('1')"),
    ("T201", "nodes/a.py", "print('hello')"),
    ("E722", "nodes/a.py", "try:\n    f()\nexcept:\n    g()"),
    ("S110", "nodes/a.py", "try:\n    f()\nexcept ValueError:\n    pass"),
    ("S112", "nodes/a.py", "for x in y:\n    try:\n        f()\n    except ValueError:\n        continue"),
    ("BLE001", "wan_core/vae/a.py", "try:\n    f()\nexcept (ValueError, Exception):\n    g()"),
    ("C901", "nodes/a.py", "def f(x):\n" + "    if x:\n        return 1\n" * 6),
    ("FIX002", "nodes/a.py", "# TO" + "DO later"),
]


@pytest.mark.parametrize(("rule", "name", "text"), RUFF_SEES)
def test_ruff_sees_a_bad_sample(rule: str, name: str, text: str) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", f"--stdin-filename={name}", "-"]
    said = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False).stdout
    assert f" {rule} " in said


IMPORT_RULES_SEE = [
    ("wan_core knows no nodes", "wan_core/moe/bad.py", "from ...nodes import host"),
    ("only nodes use wan_core", "__init__.py", "from .wan_core import errors"),
    ("no node knows another", "nodes/bad.py", "from .id_lock import IDLock"),
    ("types and host do not know each other", "nodes/types.py", "from .host import progress"),
    ("no package of wan_core knows another, but for what all share", "wan_core/moe/bad.py", "from ..vae import a"),
    ("no package of wan_core knows another, but for what all share", "wan_core/errors.py", "from .vae import a"),
    ("only nodes/host knows the host", "nodes/bad.py", "def f():\n    import comfy.utils"),
    ("only nodes/host knows the host", "wan_core/moe/bad.py", "import comfy.samplers"),
    ("only nodes are written against the node API", "wan_core/moe/bad.py", "from comfy_api.latest import io"),
    ("only nodes/host and media touch the system", "wan_core/moe/bad.py", "import os"),
    ("arithmetic is for wan_core", "nodes/host/bad.py", "import numpy as np"),
]


@pytest.mark.parametrize(("rule", "name", "text"), IMPORT_RULES_SEE)
def test_import_linter_sees_a_bad_sample(tmp_path: Path, rule: str, name: str, text: str) -> None:
    with (copy_shipped(tmp_path) / name).open("a", encoding="ascii") as file:
        file.write(f"\n{text}\n")
    result = lint(tmp_path)
    assert result.returncode and f"\n{rule} BROKEN" in result.stdout


# The papers around the code


def requirement_lines(text: str) -> list[str]:
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def test_requirements_and_pyproject_name_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == requirement_lines((ROOT / "requirements.txt").read_text(encoding="utf-8"))


def test_the_way_through_the_rooms_leads_to_files_that_are_there() -> None:
    places = re.findall(
        r"`((?:nodes|wan_core|tests|demo|devtools|web|locales)/[\w./]+)`", repository_files()["CONTRIBUTING.md"]
    )
    assert len(places) > 15
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_every_json_file_parses() -> None:
    texts = {name: text for name, text in repository_files().items() if name.endswith(".json")}
    assert len(texts) >= 6  # two workflows, each with its twin, and the labels
    assert all(isinstance(json.loads(text), dict) for text in texts.values())


def test_the_source_names_the_nodes() -> None:
    six = {"IdentityEncode", "IDLock", "AudioFeatures", "MoESampler", "HighCompressionVAEDecode", "LipSyncCheck"}
    assert six | {"WanCastAdapterLoader"} <= set(node_ids())
    assert all(node.startswith("WanCast") for node in set(node_ids()) - six)


@pytest.mark.parametrize("node", node_ids())
def test_the_papers_name_the_node(node: str) -> None:
    files = repository_files()
    assert f"`{node}`" in files["README.md"]
    assert all(len(files[f"web/docs/{node}/{language}.md"]) > 200 for language in ("en", "zh"))
    entry = json.loads(files["locales/zh/nodeDefs.json"])[node]
    labels = [entry["display_name"], entry["description"], *(output["name"] for output in entry["outputs"].values())]
    assert all(labels)
    assert any(not label.isascii() for label in labels)
