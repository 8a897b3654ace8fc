"""What a stock host knows of the pack after it has started, and how long that takes."""

from __future__ import annotations

import re

import pytest

from devtools.server import HostServer
from tests.host.live import Client, Json, slots_of
from tests.host.recipes import NODES

IMPORT_TIME = re.compile(r"([\d.]+) seconds(.*): .*[/\\]WanCast\s*$", re.MULTILINE)
IMPORT_LIMIT_S = 1.0  # a slow machine needs less, and an optional package would take more


def import_seconds(log: str) -> float:
    """How long the host says that the import of our pack took."""
    found = IMPORT_TIME.search(log)
    assert found, "the log of the host does not say how long the import took"
    assert "FAILED" not in found[2]
    return float(found[1])


def test_the_host_is_the_floor_that_we_declare(client: Client) -> None:
    version = client.get("/system_stats")["system"]["comfyui_version"]
    assert tuple(int(part) for part in version.split(".")[:2]) >= (0, 30)


def test_the_log_holds_no_complaint_about_the_pack(live_host: HostServer) -> None:
    log = live_host.log_path.read_text(encoding="utf-8")
    assert not re.search("WanCast could not be imported|Traceback|IMPORT FAILED", log[: log.index("Starting server")])


def test_import_takes_less_than_a_second(live_host: HostServer, boots: list[HostServer]) -> None:
    """The best of all starts of the run, because one may share the machine."""
    assert live_host in boots
    assert min(import_seconds(host.log_path.read_text(encoding="utf-8")) for host in boots) < IMPORT_LIMIT_S


def test_the_pack_registers_its_nodes_and_nothing_else(object_info: Json) -> None:
    """A node whose id the host had already would be skipped silently, and not be ours."""
    ours = {node for node, info in object_info.items() if info["python_module"] == "custom_nodes.WanCast"}
    assert ours == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_the_node_says_what_it_and_each_input_and_output_are_for(object_info: Json, node: str) -> None:
    info = object_info[node]
    assert info["category"].startswith("WanCast/")
    assert len(info["description"]) > 40
    assert info["display_name"] and info["search_aliases"]
    slots = list(slots_of(info["input"]))
    assert [slot.name for slot in slots if not slot.about.get("tooltip")] == []
    assert len(info["output_tooltips"]) == len(info["output"]) and all(info["output_tooltips"])
    assert not any(name.startswith("_") for name in info["output_name"])
    assert [slot.name for slot in slots if slot.kind == "FLOAT" and "step" not in slot.about] == []  # else 0.1 is taken
