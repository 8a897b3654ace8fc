"""Our workflow files on the real page: dropped, compared with their API twins, run, photographed."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path

import pytest

from devtools import client as api
from devtools.page import Canvas
from devtools.server import HostServer
from devtools.workflows import FOLDERS, changes
from tests.host.live import ROOT, Client, Json
from tests.host.recipes import NODES

PICTURES = ROOT / "test_out" / "ui"
RUN_TIMEOUT_S = 300.0
SHIPPED, DEMO = (sorted(folder.glob("*.json")) for folder in FOLDERS)
OURS = ["/extensions/WanCast/", *NODES]


def twin_of(path: Path) -> Path:
    return path.parent / "api" / path.name


def read(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_workflow_has_a_twin_and_one_of_the_demo_holds_all_six_nodes() -> None:
    for folder in FOLDERS:
        names = {path.name for path in folder.glob("*.json")}
        assert names and names == {path.name for path in (folder / "api").glob("*.json")}
    six = {name for name in NODES if not name.startswith("WanCast")}
    assert len(six) == 6
    assert any(six <= {node["class_type"] for node in read(twin_of(path)).values()} for path in DEMO)


def test_the_comparison_sees_every_difference() -> None:
    node: Json = {"class_type": "A", "inputs": {"x": 1}, "_meta": {"title": "first"}}
    others: list[Json] = [{"class_type": "B"}, {"_meta": {"title": "second"}}]
    others += [{"inputs": inputs} for inputs in ({"x": 2}, {}, {"x": 1, "y": None})]
    assert changes({"1": node}, {"1": dict(node)}) == []
    for other in [{}, {"1": node, "2": node}, *({"1": node | change} for change in others)]:
        assert changes({"1": node}, other)


def test_the_page_knows_our_nodes_and_shows_no_error(canvas: Canvas) -> None:
    for node in NODES:
        canvas.page.evaluate("(type) => { app.graph.add(LiteGraph.createNode(type)); }", node)
    canvas.settle()
    found = [node for node in canvas.nodes() if node["type"] in NODES]
    assert {node["type"] for node in found} == set(NODES)
    assert canvas.errors_about(OURS) == []


def test_dropped_workflows_and_their_dropped_twins_give_the_prompts_of_the_twins(canvas: Canvas) -> None:
    for path in (*DEMO, *SHIPPED):
        for content in (read(path), read(twin_of(path))):
            canvas.drop(path.name, content)
            assert [node["type"] for node in canvas.nodes() if not node["known"]] == [], path.name
            assert changes(read(twin_of(path)), canvas.prompt()) == [], path.name
    assert canvas.errors_about(OURS) == []


@pytest.mark.parametrize("live_host", ["own front end"], indirect=True, scope="session")
@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.stem)
def test_a_demo_workflow_opens_from_the_templates_and_runs(canvas: Canvas, live_host: HostServer, path: Path) -> None:
    canvas.open_template(path.stem, len(read(path)["nodes"]))
    assert canvas.page.get_by_role("dialog").count() == 0  # no word of missing models, pictures or nodes
    assert [node["type"] for node in canvas.nodes() if node["bad"]] == []
    entry = api.wait(live_host.url, canvas.run(), RUN_TIMEOUT_S)
    assert entry["status"]["completed"]
    canvas.settle()
    assert [node["type"] for node in canvas.nodes() if node["bad"]] == []
    picture = canvas.screenshot(PICTURES / f"{path.stem}.png")
    assert picture.stat().st_size > 50_000
    assert canvas.errors_about(OURS) == []


@pytest.mark.parametrize(("pack", "paths"), [("WanCast", SHIPPED), ("wancast_demo", DEMO)])
def test_the_template_dialog_offers_every_workflow_with_our_name_on_its_nodes(
    live_host: HostServer, pack: str, paths: list[Path]
) -> None:
    offered = Client(live_host.url).get("/workflow_templates")[pack]
    assert sorted(offered) == [path.stem for path in paths]
    for path in paths:
        address = f"{live_host.url}/api/workflow_templates/{pack}/{urllib.parse.quote(path.stem)}"
        content = json.loads(api.fetch(f"{address}.json"))
        assert content == read(path)
        assert api.fetch(f"{address}.jpg")[:3] == b"\xff\xd8\xff"
        names = {node["properties"].get("cnr_id") for node in content["nodes"] if node["type"] in NODES}
        assert names == {"wancast"}


@pytest.mark.parametrize("canvas", [{"Comfy.Locale": "zh"}], indirect=True)
def test_the_page_speaks_chinese(canvas: Canvas) -> None:
    made = canvas.page.evaluate(
        """() => {
            const node = LiteGraph.createNode("MoESampler");
            app.graph.add(node);
            const policy = node.widgets.find((widget) => widget.name === "policy");
            return [node.title, policy.options.getOptionLabel("latch"), policy.value];
        }"""
    )
    assert not made[0].isascii() and not made[1].isascii()
    assert made[1].endswith(" (latch)") and made[2] == "strict"
