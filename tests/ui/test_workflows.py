"""Our workflow files on the real page: dropped, compared with their API twins, run, photographed."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path

import pytest

from devtools import client as api
from devtools.server import HostServer
from tests.host.live import ROOT, Client, Json, ask
from tests.host.recipes import NODES
from tests.ui.page import Canvas
from tests.ui.update_workflows import changes

PICTURES = ROOT / "test_out" / "ui"
RUN_TIMEOUT_S = 300.0
SHIPPED = sorted((ROOT / "workflows").glob("*.json"))
DEMO = sorted((ROOT / "demo" / "workflows").glob("*.json"))
OURS = ["/extensions/WanCast/", *NODES]


def twin_of(path: Path) -> Path:
    return path.parent / "api" / path.name


def read(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8"))


def test_there_are_workflows_to_test() -> None:
    assert DEMO
    assert SHIPPED
    for folder in (ROOT / "workflows", ROOT / "demo" / "workflows"):
        names = {path.name for path in folder.glob("*.json")}
        assert names == {path.name for path in (folder / "api").glob("*.json")}


NODE: Json = {"class_type": "A", "inputs": {"x": 1}, "_meta": {"title": "first"}}


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"1": NODE, "2": NODE},
        {"1": NODE | {"class_type": "B"}},
        {"1": NODE | {"_meta": {"title": "second"}}},
        {"1": NODE | {"inputs": {"x": 2}}},
        {"1": NODE | {"inputs": {}}},
        {"1": NODE | {"inputs": {"x": 1, "y": None}}},
    ],
    ids=["node gone", "node added", "type", "title", "value", "input gone", "input added"],
)
def test_the_comparison_sees_the_difference(other: Json) -> None:
    assert changes({"1": NODE}, other)
    assert changes({"1": NODE}, {"1": dict(NODE)}) == []


def test_one_demo_workflow_holds_all_six_nodes() -> None:
    types = [{node["class_type"] for node in read(twin_of(path)).values()} for path in DEMO]
    six = {name for name in NODES if not name.startswith("WanCast")}
    assert len(six) == 6
    assert any(six <= found for found in types)


def test_the_page_knows_our_nodes_and_shows_no_error(canvas: Canvas) -> None:
    for node in NODES:
        canvas.page.evaluate("(type) => app.graph.add(LiteGraph.createNode(type))", node)
    canvas.settle()
    found = [node for node in canvas.nodes() if node["type"] in NODES]
    assert {node["type"] for node in found} == set(NODES)
    assert canvas.errors_about(OURS) == []


@pytest.mark.parametrize("path", [*DEMO, *SHIPPED], ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_a_dropped_workflow_gives_the_prompt_of_its_twin(canvas: Canvas, path: Path) -> None:
    canvas.drop(path.name, read(path))
    assert [node["type"] for node in canvas.nodes() if not node["known"]] == []
    assert changes(read(twin_of(path)), canvas.prompt()) == []
    assert canvas.errors_about(OURS) == []


@pytest.mark.parametrize("path", [*DEMO, *SHIPPED], ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_a_dropped_twin_is_restored(canvas: Canvas, path: Path) -> None:
    canvas.drop(path.name, read(twin_of(path)))
    assert changes(read(twin_of(path)), canvas.prompt()) == []
    assert canvas.errors_about(OURS) == []


@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.stem)
def test_a_demo_workflow_runs_on_the_page(canvas: Canvas, live_host: HostServer, path: Path) -> None:
    canvas.drop(path.name, read(path))
    assert [node["type"] for node in canvas.nodes() if node["bad"]] == []
    entry = api.wait(live_host.url, canvas.run(), RUN_TIMEOUT_S)
    assert entry["status"]["completed"]
    canvas.settle()
    assert [node["type"] for node in canvas.nodes() if node["bad"]] == []
    picture = canvas.screenshot(PICTURES / f"{path.stem}.png")
    assert picture.stat().st_size > 50_000
    assert canvas.errors_about(OURS) == []


def test_the_template_dialog_offers_every_shipped_workflow(live_host: HostServer) -> None:
    offered = Client(live_host.url).get("/workflow_templates")["WanCast"]
    assert sorted(offered) == [path.stem for path in SHIPPED]
    for path in SHIPPED:
        address = f"{live_host.url}/api/workflow_templates/WanCast/{urllib.parse.quote(path.stem)}"
        assert json.loads(ask(f"{address}.json")) == read(path)
        assert ask(f"{address}.jpg")[:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_says_which_pack_its_nodes_come_from(path: Path) -> None:
    ours = [node for node in read(path)["nodes"] if node["type"] in NODES]
    assert ours
    assert {node["properties"]["cnr_id"] for node in ours} == {"wancast"}


def test_the_page_speaks_chinese(canvas: Canvas, live_host: HostServer) -> None:
    client = Client(live_host.url)
    client.post("/settings/Comfy.Locale", "zh")
    try:
        again = Canvas.opened(canvas.page.context.browser, live_host.url)
        title = again.page.evaluate("() => LiteGraph.createNode('IdentityEncode').title")
        again.page.close()
    finally:
        client.post("/settings/Comfy.Locale", "en")
    assert not title.isascii()
