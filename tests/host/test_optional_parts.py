"""The pack in hosts that each lack one optional package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, prepare_base
from tests.host.recipes import NODES

PACKAGES = ("insightface", "onnxruntime", "librosa")


@pytest.fixture(scope="module")
def hosts(
    host_dir: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory, boots: list[HostServer]
) -> Iterator[dict[str, HostServer]]:
    """One host for each package, in which importing it fails; started side by side."""
    servers = {}
    for package in PACKAGES:
        folder = tmp_path_factory.mktemp(f"without_{package}")
        hidden = folder / "hidden"
        hidden.mkdir()
        (hidden / f"{package}.py").write_text(f'raise ImportError("No module named {package}")\n', encoding="ascii")
        base = prepare_base(folder / "base", models_dir)
        servers[package] = HostServer(sys.executable, host_dir, base, extra_env={"PYTHONPATH": str(hidden)})
    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            boots += pool.map(HostServer.start, servers.values())
        yield servers
    finally:
        for server in servers.values():
            server.stop()


@pytest.mark.parametrize("package", PACKAGES)
def test_all_nodes_are_there_where_the_package_cannot_be_imported(hosts: dict[str, HostServer], package: str) -> None:
    server = hosts[package]
    command = [server.python, "-c", f"import {package}"]
    child = subprocess.run(command, env=server.env, cwd=server.base_dir, capture_output=True, text=True, check=False)
    assert f"ImportError: No module named {package}" in child.stderr
    info = Client(server.url).get("/object_info")
    assert {node for node, about in info.items() if about["python_module"] == "custom_nodes.WanCast"} == set(NODES)


def test_audio_features_names_the_missing_package_and_the_next_prompt_runs(hosts: dict[str, HostServer]) -> None:
    client = Client(hosts["librosa"].url)
    graph = Graph()
    graph.save(recipes.audio_features(graph))
    failure = client.fails(graph)
    assert failure.node_type == "AudioFeatures"
    assert failure.message.startswith("AudioFeatures: audio needs the Python package 'librosa'.")
    assert failure.message.endswith("pip install librosa")

    graph = Graph()
    graph.save(recipes.decoded(graph))
    client.run(graph)
