"""A second live host for the tests that ask for both: with the attention calls of newer ones, open to other sites."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.server import HostServer
from tests.host.live import prepare_base


@pytest.fixture(scope="session")
def newer_host(
    host_dir: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory, boots: list[HostServer]
) -> Iterator[HostServer]:
    """The host with the attention calls of newer ones, with the flag that lets other sites in, and with more names."""
    base = prepare_base(tmp_path_factory.mktemp("newer_host"), models_dir)
    env = {"WANCAST_PROBE_NEWER_ATTENTION": "1", "WANCAST_ALLOWED_HOSTS": "studio.example, Other.Example."}
    with HostServer(sys.executable, host_dir, base, extra_env=env, extra_args=["--enable-cors-header"]) as server:
        boots.append(server)
        yield server


@pytest.fixture(scope="session")
def live_host(request: pytest.FixtureRequest, live_host: HostServer) -> HostServer:
    """The live host, or the one that ``id_lock_runs.ON_BOTH_HOSTS`` names."""
    other = getattr(request, "param", "live_host")
    return live_host if other == "live_host" else request.getfixturevalue(other)
