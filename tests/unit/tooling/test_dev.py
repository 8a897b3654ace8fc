"""dev.py itself: what its commands see of the caller's environment, and what its exit code counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import dev
from devtools.setup import Ready
from devtools.shell import ELSEWHERE

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


def test_commands_get_the_users_environment_without_what_leads_python_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").write_text("raise ImportError('another package of that name')\n")
    environment = dict.fromkeys(ELSEWHERE, "elsewhere") | {"PIP_INDEX_URL": "the user's"}
    command = [sys.executable, "-c", DEV, str(tmp_path), json.dumps(environment)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    step, last = json.loads((tmp_path / "step.json").read_text()), json.loads(done.stdout.splitlines()[-1])
    assert {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_USER"} <= set(ELSEWHERE)
    for seen in (step, last):
        assert not seen.keys() & set(ELSEWHERE)
        assert seen["PIP_INDEX_URL"] == "the user's"
    assert (last["WANCAST_HOST"], last["WANCAST_MODELS"]) == ("a host", "models")


def test_a_problem_is_its_sentence_and_an_exit_code(tmp_path: Path) -> None:
    environment = {**os.environ, "COMFYUI_PATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "dev.py"), "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"COMFYUI_PATH is {tmp_path}, where no main.py lies")


@pytest.mark.parametrize("failing", [[], ["mypy"], ["ruff check", "ruff format", "unit tests", "live tests"]])
def test_every_check_runs_and_every_failure_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: list[str]
) -> None:
    calls: list[str] = []
    names = {"ruff": "ruff", "mypy": "mypy", "devtools.import_rules": "import-linter", "unit": "unit tests"}

    def run(_ready: Ready, arguments: Sequence[str | Path], *_: object) -> int:
        calls.append(names.get(Path(arguments[2 if arguments[1] == "pytest" else 1]).name, "live tests"))
        return int(any(name.startswith(calls[-1]) for name in failing))

    monkeypatch.setattr(dev, "set_up", lambda **_parts: Ready(Path("python"), Path("host"), Path("models")))
    monkeypatch.setattr(dev, "run", run)
    assert bool(dev.test(dev.parse(["test"]))) == bool(failing)
    assert sorted(calls) == ["import-linter", "live tests", "mypy", "ruff", "ruff", "unit tests"]
    assert capsys.readouterr().out.strip() == (f"Failed: {', '.join(failing)}." if failing else "")
    assert dev.test(dev.parse(["test", "unit"])) == int("unit tests" in failing)
    assert calls[6:] == ["unit tests"]


@pytest.mark.parametrize(
    ("codes", "result"),
    [((5, 0), 0), ((0, 5), 0), ((5, 5), 2), ((77, 0), 0), ((0, 77), 0), ((77, 77), 77), ((5, 1), 1)],
)
def test_a_choice_of_tests_may_leave_out_all_of_one_half(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], result: int
) -> None:
    unit, live = codes
    asked = {"unit": unit, "host": live}
    monkeypatch.setattr(dev, "set_up", lambda **_parts: Ready(Path("python"), Path("host"), Path("models")))
    monkeypatch.setattr(dev, "run", lambda _ready, arguments, *_: asked.get(Path(arguments[2]).name, 0))
    monkeypatch.setattr(dev, "CHECKS", {})
    assert dev.test(dev.parse(["test"])) == result


@pytest.mark.parametrize(
    ("tier", "code", "said"), [("gpu", 77, "Nothing ran: "), ("unit", 0, ""), ("hard", 1, "Failed: ")]
)
def test_a_tier_of_which_nothing_ran_has_not_passed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tier: str, code: int, said: str
) -> None:
    monkeypatch.setattr(dev, "set_up", lambda **_parts: Ready(Path("python"), Path("host"), Path("models")))
    monkeypatch.setattr(dev, "run", lambda *_: code)
    assert dev.test(dev.parse(["test", tier])) == code
    assert capsys.readouterr().out.startswith(said)


def test_nothing_is_tested_on_a_gpu_outside_of_its_tier() -> None:
    """The test session itself shows it: no child finds a device, however many there are."""
    assert os.environ.get("WANCAST_GPU_TIER") == "cuda" or os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "gpu" not in (*dev.LIVE.folders, *dev.ASIDE.folders)
    assert dev.TIERS["gpu"].environment == {"WANCAST_GPU_TIER": "cuda"}
