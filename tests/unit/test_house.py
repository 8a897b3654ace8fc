"""The rules of the house, read from the source, each shown to fail on bad samples; and the papers around the code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.house_rules import (
    LINES_PER_FILE,
    LINES_PER_FUNCTION,
    ROOT,
    SHIPPED_RULES,
    banned_builtins,
    banned_uses,
    long_file,
    long_functions,
    machine_paths,
    name_of,
    node_ids,
    not_ascii,
    registry_hosts,
    repository_files,
    shipped_files,
    swallowed_exceptions,
    text_of,
    unfinished,
    unlisted_imports,
)

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib


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
    (unlisted_imports, "wan_core/moe/a.py", "import comfy.samplers"),
    (unlisted_imports, "wan_core/moe/a.py", "def f():\n    import folder_paths"),
    (unlisted_imports, "wan_core/moe/a.py", "from ..vae.spec import Spec"),
    (unlisted_imports, "wan_core/moe/a.py", "from ...nodes import host"),
    (unlisted_imports, "wan_core/moe/a.py", "from .. import vae"),
    (unlisted_imports, "wan_core/moe/a.py", "from ..errors_extra import E"),
    (unlisted_imports, "wan_core/moe/a.py", "from ..media2.chart import Curve"),
    (unlisted_imports, "wan_core/moe/a.py", "from torch import *"),
    (unlisted_imports, "wan_core/audio/a.py", "import librosa"),
    (unlisted_imports, "wan_core/audio/a.py", "def f():\n    import av"),
    (unlisted_imports, "wan_core/audio/a.py", "import scipy"),
    (unlisted_imports, "nodes/a.py", "import comfy.utils"),
    (unlisted_imports, "nodes/a.py", "import sys\ncomfy = sys.modules['comfy']"),
    (unlisted_imports, "nodes/a.py", "import sys\nsys.stdout.write('hello')"),
    (unlisted_imports, "nodes/a.py", "from .b import B"),
    (unlisted_imports, "nodes/a.py", "from .hostile import x"),
    (unlisted_imports, "nodes/a.py", "from . import b"),
    (unlisted_imports, "nodes/a.py", "import wan_core.moe"),
    (unlisted_imports, "nodes/types.py", "from .host import progress"),
    (unlisted_imports, "__init__.py", "from .wan_core import errors"),
    (unlisted_imports, "nodes/a.py", "import pickle"),
    (unlisted_imports, "nodes/a.py", "import _pickle"),
    (unlisted_imports, "nodes/a.py", "from urllib.request import urlopen"),
    (unlisted_imports, "nodes/a.py", "import imaplib"),
    (unlisted_imports, "nodes/a.py", "import os as o\no.system('ls')"),
    (unlisted_imports, "nodes/a.py", "import io\nio.open('a')"),
    (unlisted_imports, "nodes/a.py", "import asyncio\nasyncio.create_subprocess_exec('ls')"),
    (unlisted_imports, "nodes/a.py", "import builtins\nbuiltins.eval('1')"),
    (unlisted_imports, "nodes/a.py", "from importlib import import_module"),
    (unlisted_imports, "nodes/host/files.py", "def f():\n    import subprocess"),
    (unlisted_imports, "nodes/host/files.py", "from os import system"),
    (banned_uses, "nodes/host/files.py", "import os\nos.system('ls')"),
    (banned_uses, "nodes/host/files.py", "import os as o\no.system('ls')"),
    (banned_uses, "nodes/host/files.py", "import os\nos.posix_spawn('ls', [], {})"),
    (banned_uses, "nodes/host/files.py", "import os\nf(os)"),
    (banned_uses, "wan_core/moe/a.py", "from ... import wan_core\nwan_core.vae.spec.detect()"),
    (banned_uses, "nodes/a.py", "import torch\ntorch.load('a.pt')"),
    (banned_uses, "nodes/a.py", "import torch as t\nt.load('a.pt')"),
    (banned_uses, "nodes/a.py", "from torch import load"),
    (banned_uses, "nodes/a.py", "import torch\ntorch.hub.load('a', 'b')"),
    (banned_uses, "nodes/a.py", "import torch.hub as h"),
    (banned_uses, "nodes/a.py", "import torch\ngetattr(torch, 'load')('a.pt')"),
    (banned_uses, "wan_core/vae/a.py", "import numpy as np\nnp.load('a.npy', allow_pickle=True)"),
    (banned_uses, "wan_core/vae/a.py", "import torch\nx = torch.nn.Linear(1, 2)"),
    (banned_uses, "wan_core/vae/a.py", "from torch import nn\nx = nn.Conv3d(1, 2, 3)"),
    (banned_uses, "wan_core/vae/a.py", "from torch.nn import Linear"),
    (banned_uses, "wan_core/vae/a.py", "from torch.nn.modules import linear\nx = linear.Linear(1, 2)"),
    (banned_uses, "wan_core/vae/a.py", "import torch\nwith torch.no_grad():\n    y = 1"),
    (banned_uses, "wan_core/vae/a.py", "from contextlib import suppress"),
    (banned_builtins, "nodes/a.py", "x = eval('1')"),
    (banned_builtins, "nodes/a.py", "run = exec"),
    (banned_builtins, "nodes/a.py", "print('hello')"),
    (banned_builtins, "nodes/a.py", "x.cuda()"),
    (banned_builtins, "nodes/a.py", "__builtins__.eval('1')"),
    (banned_builtins, "wan_core/vae/a.py", "open('weights.bin')"),
    (banned_builtins, "nodes/host/files.py", "Path('a').read_bytes()"),
    (banned_builtins, "nodes/host/files.py", "path.write_text('a')"),
    (swallowed_exceptions, "nodes/a.py", "try:\n    f()\nexcept:\n    raise"),
    (swallowed_exceptions, "nodes/a.py", "try:\n    f()\nexcept BaseException:\n    raise"),
    (swallowed_exceptions, "nodes/a.py", "try:\n    f()\nexcept (ValueError, BaseException):\n    raise"),
    (swallowed_exceptions, "nodes/a.py", "try:\n    f()\nexcept ValueError:\n    pass"),
    (swallowed_exceptions, "nodes/a.py", "try:\n    f()\nexcept Exception: ..."),
    (swallowed_exceptions, "nodes/a.py", "for x in y:\n    try:\n        f()\n    except Exception: continue"),
    (swallowed_exceptions, "nodes/a.py", "try:\n    f()\nexcept Exception:\n    g()"),
    (long_file, "nodes/a.py", "x = 1\n" * (LINES_PER_FILE + 1)),
    (long_functions, "nodes/a.py", "def f():\n" + "    x = 1\n" * LINES_PER_FUNCTION),
    (unfinished, "nodes/a.py", "# TO" + "DO later"),
    (not_ascii, "nodes/a.py", "x = '\N{RIGHTWARDS ARROW}'"),
    (machine_paths, "README.md", "cd /ho" + "me/ann/pack"),
    (machine_paths, "README.md", "C:\\Us" + "ers\\ann"),
    (registry_hosts, "README.md", "https://py" + "pi.org/simple"),
]

GOOD = [
    (unlisted_imports, "wan_core/moe/a.py", "import math\nimport torch\nfrom ..errors import E\nfrom .b import B"),
    (unlisted_imports, "wan_core/audio/a.py", "from ..media.chart import Curve\ndef f():\n    import librosa"),
    (unlisted_imports, "wan_core/media/a.py", "from PIL import Image\nimport av"),
    (unlisted_imports, "nodes/a.py", "from comfy_api import a\nfrom .host import b\nfrom ..wan_core.a import f"),
    (unlisted_imports, "nodes/host/files.py", "import comfy.utils\nimport folder_paths\nimport os"),
    (banned_uses, "nodes/host/files.py", "import os\nos.path.join('a', 'b')"),
    (banned_uses, "wan_core/vae/a.py", "from torch import nn\nclass A(nn.Module):\n    x = operations.Linear(1, 2)"),
    (banned_builtins, "wan_core/vae/a.py", "import re\ny = re.compile('a')\nnetwork.eval()"),
    (banned_builtins, "nodes/host/files.py", "open('weights.bin', 'rb')"),
    (swallowed_exceptions, "nodes/a.py", "try:\n    f()\nexcept ValueError as error:\n    raise g() from error"),
    (swallowed_exceptions, "nodes/host/a.py", "try:\n    f()\nexcept Exception as error:\n    raise g() from error"),
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
    paths = [path for path in repository_files() if path.suffix == ".json"]
    assert len(paths) >= 6  # two workflows, each with its twin, and the labels
    for path in paths:
        assert isinstance(json.loads(path.read_text(encoding="utf-8")), dict), path


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
