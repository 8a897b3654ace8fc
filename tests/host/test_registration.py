"""What a stock host knows of the pack after it has started, and how long that takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from devtools.server import HostServer
from tests.host.live import Client, Json
from tests.host.recipes import NODES

IMPORT_TIME = re.compile(r"([\d.]+) seconds(.*): .*[/\\]WanCast\s*$", re.MULTILINE)
IMPORT_LIMIT_S = 0.3


@pytest.fixture(scope="module")
def object_info(live_host: HostServer) -> Json:
    return Client(live_host.url).get("/object_info")


def inputs_of(info: Json) -> Iterator[tuple[str, Any, Json]]:
    """Every input of a node with its full name, its type and its options, those of a DynamicCombo's choices too."""
    pending = [("", group, info["input"][group]) for group in ("required", "optional") if group in info["input"]]
    while pending:
        prefix, _, inputs = pending.pop()
        for name, (kind, *options) in inputs.items():
            about = options[0] if options else {}
            yield f"{prefix}{name}", kind, about
            if kind == "COMFY_DYNAMICCOMBO_V3":
                for choice in about["options"]:
                    pending += [(f"{prefix}{name}.", group, part) for group, part in choice["inputs"].items()]


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
    start = log[: log.index("Starting server")]
    assert "WanCast could not be imported" not in start
    assert "Traceback" not in start
    assert not re.search(r"IMPORT FAILED", start)


def test_import_takes_less_than_three_tenths_of_a_second(live_host: HostServer, boots: list[HostServer]) -> None:
    """The best of all starts of the run, because one may share the machine; the host prints tenths."""
    assert live_host in boots
    assert min(import_seconds(host.log_path.read_text(encoding="utf-8")) for host in boots) < IMPORT_LIMIT_S


@pytest.mark.parametrize("node", NODES)
def test_the_node_is_there_and_says_what_it_is_for(object_info: Json, node: str) -> None:
    info = object_info[node]
    assert info["category"].startswith("WanCast/")
    assert len(info["description"]) > 40
    assert info["display_name"]
    assert info["search_aliases"]


@pytest.mark.parametrize("node", NODES)
def test_no_node_of_the_host_has_the_id(object_info: Json, node: str) -> None:
    """The host would skip ours silently if it had one of that name."""
    assert object_info[node]["python_module"] == "custom_nodes.WanCast"


def test_the_pack_registers_nothing_else(object_info: Json) -> None:
    ours = {node for node, info in object_info.items() if info["python_module"] == "custom_nodes.WanCast"}
    assert ours == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_every_input_and_output_has_a_tooltip(object_info: Json, node: str) -> None:
    info = object_info[node]
    assert [name for name, _, about in inputs_of(info) if not about.get("tooltip")] == []
    assert len(info["output_tooltips"]) == len(info["output"])
    assert all(info["output_tooltips"])
    assert not any(name.startswith("_") for name in info["output_name"])


@pytest.mark.parametrize("node", NODES)
def test_every_float_has_a_step(object_info: Json, node: str) -> None:
    """Without one the page rounds a value from an API file to one decimal."""
    assert [name for name, kind, about in inputs_of(object_info[node]) if kind == "FLOAT" and "step" not in about] == []
