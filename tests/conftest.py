"""What the tiers share: the device that is tested, one live host for the whole run, its log under every failure."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from devtools.server import HostServer
from tests.host.live import ROOT, Client, Graph, Json, prepare_base

LOG_TAIL_BYTES = 6000
GPU_TIER = os.environ.get("WANCAST_GPU_TIER")  # cuda, as dev.py test gpu sets it; or cpu, its dry run
if GPU_TIER != "cuda":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # before torch is imported: tests and their children compute on the CPU

running: list[HostServer] = []  # the live host, for the report of a failure


@pytest.fixture(scope="session")
def host_dir() -> Path:
    """The folder of the ComfyUI under test."""
    folder = Path(os.environ.get("WANCAST_HOST", ROOT / ".host"))
    if not (folder / "main.py").is_file():
        pytest.fail(f"There is no ComfyUI in {folder}: run `python dev.py test`, or set WANCAST_HOST.")
    return folder


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The miniature model files, built when they are missing or out of date."""
    folder = Path(os.environ.get("WANCAST_MODELS", ROOT / ".cache" / "demo" / "models"))
    subprocess.run([sys.executable, "-m", "demo.build", "--models", str(folder)], check=True, cwd=ROOT)
    return folder


@pytest.fixture(scope="session")
def boots() -> list[HostServer]:
    """Every host that the run has started so far."""
    return []


@pytest.fixture(scope="session")
def live_host(
    host_dir: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory, boots: list[HostServer]
) -> Iterator[HostServer]:
    """One live host with our pack, the demo nodes and the probes, for the whole run."""
    base = prepare_base(tmp_path_factory.mktemp("host"), models_dir)
    with HostServer(sys.executable, host_dir, base) as server:
        boots.append(server)
        running.append(server)
        yield server
        require_no_connection(Client(server.url))
        running.clear()


def require_no_connection(client: Client) -> None:
    """In the whole run, nothing in the host connected to another computer."""
    graph = Graph()
    node = graph.add("WanCastProbeTouched")
    assert client.run(graph).output(node)["connected"] == []


@pytest.fixture
def client(live_host: HostServer) -> Client:
    """A client of the live host, which must be up."""
    live_host.check_alive()
    return Client(live_host.url)


@pytest.fixture(scope="session")
def object_info(live_host: HostServer) -> Json:
    """What the host says of every node."""
    return Client(live_host.url).get("/object_info")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attaches the end of the host's log to the report of a failure."""
    report = yield
    if report.failed and running:
        log = running[0].log_path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", errors="replace")
        report.sections.append(("host log", log))
    return report
