"""What an optional package may do when it is imported, and the line that repairs it."""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests.unit.house_rules import ROOT
from wan_core.errors import MissingDependencyError, distribution_of, optional_package, require_parts

VERSION = metadata.version("librosa")
UNUSABLE = f"audio needs the Python package 'librosa', which is installed ({VERSION}) but unusable "
REPAIR = ". Repair it with: pip install --force-reinstall --no-deps librosa"
ABSENT = "audio needs the Python package 'librosa'. Install it with: pip install librosa"


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (ModuleNotFoundError("No module named 'librosa'", name="librosa"), ABSENT),
        (
            ModuleNotFoundError("No module named 'numba'", name="numba"),
            "(ModuleNotFoundError: \"No module named 'numba'\")",
        ),
        (ImportError("DLL load failed"), "(ImportError: 'DLL load failed')"),
        (OSError("libsndfile.so: no such file"), "(OSError: 'libsndfile.so: no such file')"),
        (ValueError("numpy.dtype size changed"), "(ValueError: 'numpy.dtype size changed')"),
        (SystemExit("no\nlicence"), r"(SystemExit: 'no\nlicence')"),
    ],
)
def test_whatever_the_import_raises_is_said_with_the_version_and_the_repair(raised: BaseException, text: str) -> None:
    with pytest.raises(MissingDependencyError) as caught, optional_package("librosa", needed_for="audio"):
        raise raised
    assert str(caught.value) == (text if text == ABSENT else f"{UNUSABLE}{text}{REPAIR}")


def test_a_package_that_is_too_old_lacks_a_part() -> None:
    with optional_package("librosa", needed_for="audio"):
        require_parts("text", "split", "join")
    with pytest.raises(MissingDependencyError, match="AttributeError: .*'wrap'"):  # noqa: SIM117
        with optional_package("librosa", needed_for="audio"):
            require_parts("text", "split", "wrap")
    with pytest.raises(KeyboardInterrupt), optional_package("librosa", needed_for="audio"):
        raise KeyboardInterrupt


def test_pip_is_told_what_the_requirements_say() -> None:
    lines = [line.strip() for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()]
    asked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = {requirement.name for requirement in asked if not requirement.marker or requirement.marker.evaluate()}
    assert here == {distribution_of(package) for package in ("insightface", "onnx", "onnxruntime", "librosa")}
