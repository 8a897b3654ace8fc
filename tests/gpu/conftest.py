"""The tier for CUDA: a host for each of its two memory managers. Where there is no device, every test is skipped.

WANCAST_GPU_TIER is cuda in ``dev.py test gpu``; with cpu the same tests run on the CPU, to see that they can.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.server import HostServer, torch_finds_cuda
from tests.host.live import prepare_base

TIER = os.environ.get("WANCAST_GPU_TIER")
MEMORY_MANAGERS = {"dynamic": "--enable-dynamic-vram", "static": "--disable-dynamic-vram"}
NOTHING_RAN = 77  # as in dev.py


def hindrance() -> str | None:
    """Why the tests cannot run here."""
    if TIER == "cpu":
        return None
    if TIER != "cuda":
        return "runs in `python dev.py test gpu` alone"
    return None if torch_finds_cuda(sys.executable) else "no CUDA device"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder; where they cannot run the reason says what they would prove."""
    why = hindrance()
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("gpu")
            if why:
                item.add_marker(pytest.mark.skip(reason=f"{why}: would prove that {inspect.getdoc(item.function)}"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run of which every test was skipped has not passed."""
    ended = session.config.pluginmanager.get_plugin("terminalreporter").stats
    if "skipped" in ended and not ended.keys() & {"passed", "failed", "error"}:
        session.exitstatus = NOTHING_RAN


@pytest.fixture(scope="session", params=MEMORY_MANAGERS)
def live_host(
    request: pytest.FixtureRequest, host_dir: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostServer]:
    """One live host with that memory manager, in the place of the one that the other tiers share."""
    base = prepare_base(tmp_path_factory.mktemp("host"), models_dir)
    flags = [] if TIER == "cpu" else [MEMORY_MANAGERS[request.param]]
    with HostServer(sys.executable, host_dir, base, extra_args=flags, cpu=TIER == "cpu") as server:
        yield server


@pytest.fixture
def dtype_of(live_host: HostServer) -> Callable[[str], str]:
    """The type in which the host computes what its log calls so, the last time."""
    return lambda what: re.findall(rf"{what}.*torch\.(\w+)", live_host.log_text())[-1]
