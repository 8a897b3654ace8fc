"""Words on the terminal, and long commands whose output goes to a log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parents[1]  # links are not followed: a linked pack still finds its host
LIVE_EVERY_S = 0.25
QUIET_EVERY_S = 20.0
TAIL_LINES = 12
ELSEWHERE = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSAFEPATH",
    "PIP_TARGET",
    "PIP_USER",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
)


class Problem(Exception):
    """What stops a command, in a sentence for the person at the terminal."""


class CommandFailed(Problem):
    """A long command failed; ``output`` is all that it wrote."""

    def __init__(self, title: str, log_path: Path) -> None:
        self.output = log_path.read_text(encoding="utf-8", errors="replace")
        tail = "\n".join(f"  {line}" for line in self.output.splitlines()[-TAIL_LINES:])
        super().__init__(f"{title} failed. Its last lines:\n{tail}\nLog: {log_path}")


def say(text: str = "", *, end: str = "\n") -> None:
    """Writes to the terminal at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def forget_users_python() -> None:
    """Drops what would lead our interpreters, and pip, to other places, from here and so from all that we start."""
    for name in ELSEWHERE:
        os.environ.pop(name, None)


class Progress:
    """One line with the seconds that a step has taken: rewritten on a terminal, repeated now and then in a pipe."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.start = time.monotonic()
        self.live = sys.stdout.isatty()
        self.next_s = LIVE_EVERY_S if self.live else QUIET_EVERY_S
        if not self.live:
            say(f"{title} ...")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.start

    def show(self, detail: str) -> None:
        """Shows what the step does at the moment."""
        if self.elapsed_s < self.next_s:
            return
        self.next_s = self.elapsed_s + (LIVE_EVERY_S if self.live else QUIET_EVERY_S)
        self.write(f"{self.title} ... {self.elapsed_s:.0f} s  {detail}", end="" if self.live else "\n")

    def close(self, word: str) -> None:
        """Ends the line with what became of the step."""
        self.write(f"{self.title}: {word}, {self.elapsed_s:.0f} s", end="\n")

    def write(self, line: str, *, end: str) -> None:
        """Writes one line of the terminal's width, over the one before on a terminal."""
        width = shutil.get_terminal_size().columns - 1
        say("\r" + line[:width].ljust(width) if self.live else line[:width].rstrip(), end=end)


def run_step(title: str, command: Sequence[str | Path], log_path: Path) -> None:
    """Runs a long command with progress; raises CommandFailed. The command never outlives this call.

    It inherits the lock of the set-up: should we be killed, the next set-up waits until the command has ended too.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress(title)
    with log_path.open("wb") as log:
        words = [str(part) for part in command]
        process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, close_fds=False
        )
    try:
        while process.poll() is None:
            progress.show(last_line(log_path))
            time.sleep(0.1)
    except BaseException:
        process.kill()
        process.wait()
        progress.close("stopped")
        raise
    progress.close("done" if process.returncode == 0 else "failed")
    if process.returncode != 0:
        raise CommandFailed(title, log_path)


def last_line(path: Path) -> str:
    """The last line of a growing file that tells something."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 500))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines[1:]) if line.strip() and "WARNING" not in line), "")
