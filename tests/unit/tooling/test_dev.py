"""dev.py itself: what of the caller's environment reaches its commands and all that they start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
DEV = """
import json, os, sys
sys.path.append(sys.argv[1])
import dev
from devtools.shell import run_step

child = "import json, os; print(json.dumps(dict(os.environ)))"

def command(options):
    run_step("Step", [sys.executable, "-c", child], dev.Path(sys.argv[1]) / "step.json")
    return dev.run(dev.Ready(sys.executable, "a host", "models"), ["-c", child])

os.environ.update(json.loads(sys.argv[2]))
dev.parse = lambda arguments: dev.argparse.Namespace(command=command)
sys.exit(dev.main())
"""


def run_dev(folder: Path, **environment: str) -> tuple[dict[str, str], dict[str, str]]:
    """What a set-up step and a command see of the environment, when dev.py has ``folder`` last on its path."""
    command = [sys.executable, "-c", DEV, str(folder), json.dumps(environment)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "step.json").read_text()), json.loads(done.stdout.splitlines()[-1])


def test_python_and_pip_are_not_led_elsewhere(tmp_path: Path) -> None:
    names = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")
    names += ("PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON")
    for seen in run_dev(tmp_path, **dict.fromkeys(names, "elsewhere"), PIP_INDEX_URL="the user's"):
        assert not seen.keys() & set(names)
        assert seen["PIP_INDEX_URL"] == "the user's"


def test_a_command_knows_the_host_and_not_our_packages(tmp_path: Path) -> None:
    _, seen = run_dev(tmp_path)
    assert seen["WANCAST_HOST"] == "a host" and seen["WANCAST_MODELS"] == "models"
    assert "PYTHONPATH" not in seen


def test_another_package_called_tests_does_not_hide_ours(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").write_text("raise ImportError('not ours')\n")
    _, seen = run_dev(tmp_path)
    assert seen["WANCAST_HOST"] == "a host"


def test_a_problem_is_its_sentence_and_an_exit_code(tmp_path: Path) -> None:
    environment = {**os.environ, "COMFYUI_PATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "dev.py"), "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"COMFYUI_PATH is {tmp_path}, where no main.py lies")
