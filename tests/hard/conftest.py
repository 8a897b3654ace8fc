"""How much of the suite runs, and the lines that it leaves at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

PERCENT = float(os.environ.get("WANCAST_HARD_PERCENT", "4"))  # of the full counts; dev.py test hard: 100

lines: list[str] = []


@pytest.fixture
def count() -> Callable[..., int]:
    """How many of a full count to try, but no fewer than the second number."""
    return lambda full, least=1: max(least, round(full * PERCENT / 100))


@pytest.fixture
def report() -> Iterator[Callable[[str], None]]:
    """Adds a line to what is printed at the end of the run, with the seconds that the test took."""
    start_s, said = time.monotonic(), []
    yield said.append
    lines.extend(f"{line}; {time.monotonic() - start_s:.0f} s" for line in said)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines:
        terminalreporter.section(f"attacks and soak, {PERCENT:g} % of the full counts")
        terminalreporter.write("".join(f"{line}\n" for line in lines))
