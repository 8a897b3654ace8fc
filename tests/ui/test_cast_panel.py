"""The cast in the sidebar, on the canvas and in IdentityEncode's menu: on the real page, with the real library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from devtools.page import Canvas
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import ROOT, Client, Graph, Json

PICTURES = ROOT / "test_out" / "ui"
OURS = ["/extensions/WanCast/"]
RUN_TIMEOUT_MS = 120_000
CHINESE = json.loads((ROOT / "locales" / "zh" / "main.json").read_text(encoding="utf-8"))["wancast"]
LOOKS = [
    pytest.param({"Comfy.VueNodes.Enabled": vue, "Comfy.Locale": locale}, id=f"{renderer} {locale}")
    for (renderer, vue), locale in product([("classic", False), ("nodes 2.0", True)], ["en", "zh"])
]
BOTH_RENDERERS = [look for look in LOOKS if look.id.endswith("en")]
CLIENT = "(await import('/extensions/WanCast/library.mjs')).library"
VIEW = "([scale, x, y]) => { Object.assign(app.canvas.ds, { scale }); app.canvas.ds.offset.set([x, y]); }"
IN_SUBGRAPH = """() => {
    const { subgraph, node } = app.graph.convertToSubgraph(new Set(app.graph.nodes));
    app.canvas.openSubgraph(subgraph, node);
    return String(node.id);
}"""


@dataclass
class Cast:
    """The tab of the cast, and the words that it speaks."""

    canvas: Canvas
    locale: str

    @property
    def page(self) -> Page:
        return self.canvas.page

    @cached_property
    def panel(self) -> Locator:
        return self.page.locator(".wancast-cast")

    def say(self, text: str, **values: Any) -> str:
        """A text of the page in its language."""
        return (CHINESE[text] if self.locale == "zh" else text).format(**values)

    def open(self) -> None:
        self.page.evaluate("() => app.extensionManager.command.execute('Workspace.ToggleSidebarTab.wancast.cast')")
        self.panel.wait_for()

    def card(self, name: str) -> Locator:
        return self.panel.locator(".wancast-card").filter(has=self.page.get_by_text(name, exact=True))

    def press(self, text: str, **values: Any) -> None:
        self.panel.get_by_role("button", name=self.say(text, **values), exact=True).click()

    def field(self, name: str) -> Locator:
        return self.panel.locator(f".wancast-form [name={name}]")

    def expect_focus(self, text: str) -> None:
        expect(self.page.locator(":focus")).to_contain_text(text)

    def entries(self) -> list[Json]:
        """What the library has, as its client on the page lists it anew."""
        listed = self.page.evaluate(f"async () => {{ await {CLIENT}.refresh(); return {CLIENT}.list(); }}")
        return listed["characters"]

    def load_nodes(self) -> list[Json]:
        return [node for node in self.canvas.nodes() if node["type"] == "WanCastCharacterLoad"]

    def save_as(self, name: str, encoder: str) -> Json:
        """Saves through the menu of the encoder's node; returns what the page sends to the queue."""
        if self.page.evaluate("() => LiteGraph.vueNodesMode"):
            self.page.locator(f"[data-node-id='{encoder}']").click(button="right", position={"x": 80, "y": 15})
        else:
            place = "(id) => app.canvasPosToClientPos(app.canvas.graph.getNodeById(id).pos).map((at) => at + 12)"
            x, y = self.page.evaluate(place.replace("at + 12", "at"), encoder)
            self.page.mouse.click(x + 60, y - 12, button="right")
        self.page.get_by_text(self.say("Save as character"), exact=True).first.click()
        self.page.get_by_role("dialog").get_by_role("textbox").fill(name)
        with self.page.expect_request(
            lambda request: request.url.endswith("/prompt") and bool(request.post_data)
        ) as sent:
            self.page.keyboard.press("Enter")
        return json.loads(sent.value.post_data or "")

    def wait_for_toast(self, name: str) -> None:
        self.page.get_by_text(self.say("{name} is in the cast", name=name)).first.wait_for(timeout=RUN_TIMEOUT_MS)


@pytest.fixture
def cast(request: pytest.FixtureRequest, canvas: Canvas) -> Iterator[Cast]:
    """The page with nobody in the library; afterwards the page has not failed anywhere."""
    canvas.page.evaluate(
        f"async () => {{ for (const {{ id }} of (await {CLIENT}.list()).characters) await {CLIENT}.remove(id); }}"
    )
    yield Cast(canvas, canvas.page.evaluate("() => app.extensionManager.setting.get('Comfy.Locale')"))
    assert [error for error in canvas.errors_about(OURS) if "Failed to load resource" not in error] == []


def encoded() -> Graph:
    graph = Graph()
    recipes.identity(graph)
    return graph


def save(host: HostServer, *names: str) -> None:
    """Saves one identity under several names."""
    graph = Graph()
    person = recipes.identity(graph)
    for name in names:
        graph.add("WanCastCharacterSave", identity=person, name=name, if_exists="refuse")
    Client(host.url).run(graph)


@pytest.mark.parametrize("canvas", LOOKS, indirect=True)
def test_a_character_from_the_graph_to_its_end(cast: Cast, tmp_path: Path) -> None:
    page, panel = cast.page, cast.panel
    cast.open()
    expect(panel).to_contain_text(
        cast.say(
            "Nobody is here yet. Choose Save as character in the menu of an Identity Encode node, or import a file."
        )
    )
    cast.canvas.drop(
        "portrait.json", encoded().prompt | {"9": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    )

    # Saved from the encoder's menu: that part of the graph alone runs; a second time the same node saves.
    sent = cast.save_as("Ana", "2")
    (target,) = sent["partial_execution_targets"]
    assert sent["prompt"][target]["class_type"] == "WanCastCharacterSave"
    assert sent["prompt"][target]["inputs"]["identity"] == ["2", 0]
    cast.wait_for_toast("Ana")
    cast.card("Ana").wait_for()
    assert cast.save_as("Ana", "2")["partial_execution_targets"] == [target]

    # Renamed, with notes, tags and a consent that has ended; found by a tag.
    cast.card("Ana").click()
    for field, text in {
        "name": "Bea <b>",
        "notes": "one\ntwo",
        "tags": "lead, film",
        "by": "Bea",
        "until": "2020-01-31",
    }.items():
        cast.field(field).fill(text)
    cast.press("Save")
    expect(cast.card("Bea <b>")).to_contain_text("2020-01-31")
    expect(cast.card("Bea <b>").locator(".wancast-warns")).to_be_visible()
    (entry,) = cast.entries()
    told = {"name": "Bea <b>", "notes": "one\ntwo", "tags": ["lead", "film"]}
    assert {name: entry[name] for name in told} == told
    assert entry["consent"] == {"by": "Bea", "scope": "", "until": "2020-01-31"}
    for query, shown in (("film", 1), ("somebody else", 0), ("", 1)):
        panel.get_by_role("searchbox").fill(query)
        expect(panel.locator(".wancast-card:visible")).to_have_count(shown)

    # Handed out and taken in again.
    cast.card("Bea <b>").click()
    with page.expect_download() as download:
        cast.press("Export")
    assert download.value.suggested_filename == "wancast_Bea_b_.safetensors"
    download.value.save_as(tmp_path / "bea.safetensors")
    with page.expect_file_chooser() as chooser:
        cast.press("Import")
    chooser.value.set_files(tmp_path / "bea.safetensors")
    cast.card("Bea <b> (2)").wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.wancast-cast .wancast-face')].every((face) => face.naturalWidth)"
    )
    cast.canvas.screenshot(PICTURES / f"cast {cast.locale} {page.evaluate('() => LiteGraph.vueNodesMode')}.png")

    # Deleted by a second press only.
    cast.press("Delete")
    assert len(cast.entries()) == 2
    cast.press("Delete for good")
    expect(cast.card("Bea <b>")).to_have_count(0)
    (left,) = cast.entries()

    # Dropped on a canvas that is moved and zoomed.
    page.evaluate(VIEW, [0.6, 120, -40])
    cast.card(left["name"]).drag_to(page.locator("#graph-canvas"), target_position={"x": 1300, "y": 700})
    (node,) = cast.load_nodes()
    assert node["widgets"]["character"] == left["reference"]
    x, y = page.evaluate("(id) => [...app.canvasPosToClientPos(app.graph.getNodeById(id).pos)]", node["id"])
    assert abs(x - 1300) < 2 and abs(y - 700) < 20  # the title bar lies under the pointer
    page.keyboard.press("Control+z")
    page.wait_for_function("() => !app.graph.nodes.some((node) => node.type === 'WanCastCharacterLoad')")


def test_keys_alone_do_everything(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana", "Bob", "Eve")
    cast.open()
    cast.card("Eve").wait_for()
    keys = cast.page.keyboard
    cast.panel.get_by_role("searchbox").focus()
    for key in ("Tab", "Tab"):  # past Import
        keys.press(key)
    cast.expect_focus("Ana")
    for key, name in (("ArrowRight", "Bob"), ("End", "Eve"), ("Home", "Ana"), ("ArrowDown", "Eve")):
        keys.press(key)
        cast.expect_focus(name)
    keys.press("Enter")
    cast.expect_focus("Add to canvas")
    keys.press("Enter")
    (node,) = cast.load_nodes()
    assert node["widgets"]["character"] == cast.entries()[2]["reference"]
    for key, focused in (("Tab", "Export"), ("Tab", "Delete"), ("Enter", "Keep"), ("Escape", "Delete")):
        keys.press(key)
        cast.expect_focus(focused)
    keys.press("Tab")
    keys.type("Zoe")  # the name was selected
    keys.press("Enter")
    cast.expect_focus("Zoe")
    keys.press("Enter")
    keys.press("Escape")
    cast.expect_focus("Zoe")
    for key in ("Enter", "Tab", "Tab", "Enter", "Tab", "Enter"):
        keys.press(key)
    expect(cast.panel.get_by_role("searchbox")).to_be_focused()
    assert [entry["name"] for entry in cast.entries()] == ["Ana", "Bob"]
    assert len(cast.load_nodes()) == 1


def test_what_was_typed_outlives_a_refusal(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana", "Bob")
    cast.open()
    cast.card("Ana").click()
    ana = cast.entries()[0]
    edit = f"async (entry) => {CLIENT}.edit(entry, {{ tags: ['elsewhere'] }})"
    cast.page.route("**/wancast/characters", lambda route: route.abort())  # the page does not hear of it
    cast.page.evaluate(edit, ana)
    cast.page.unroute("**/wancast/characters")
    alert = cast.panel.get_by_role("alert")
    cast.field("notes").fill("mine")
    for name, code in (("Ana", "This character was changed elsewhere"), ("bob", "There is a character of this name")):
        cast.field("name").fill(name)
        cast.press("Save")
        expect(alert).to_contain_text(code)
        expect(cast.field("notes")).to_have_value("mine")
        expect(cast.field("tags")).to_have_value("elsewhere")
    cast.card("Bob").click()
    expect(alert).to_contain_text("Save or close Ana first")
    cast.field("name").fill("Ann")
    cast.press("Save")
    cast.card("Ann").wait_for()
    assert [(entry["notes"], entry["tags"]) for entry in cast.entries()][0] == ("mine", ["elsewhere"])
    cast.page.route("**/wancast/characters/*", lambda route: route.abort())
    cast.card("Bob").click()
    cast.press("Delete")
    cast.press("Delete for good")
    expect(alert).to_contain_text("The server does not answer")


def test_a_damaged_file_is_listed_and_can_go(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana")
    folder = Path(live_host.base_dir) / "user" / "__wancast" / "characters"
    damaged = folder / f"{'f' * 32}.safetensors"
    damaged.write_bytes(b"nothing")
    cast.open()
    cast.card("Ana").wait_for()
    fault = cast.panel.locator(".wancast-fault")
    expect(fault).to_contain_text(damaged.stem)
    fault.get_by_role("button", name="Delete").click()
    fault.get_by_role("button", name="Delete for good").click()
    expect(fault).to_have_count(0)
    assert not damaged.exists()
    assert len(cast.entries()) == 1


def test_files_dropped_on_the_panel_stay_off_the_canvas(cast: Cast, live_host: HostServer) -> None:
    cast.open()
    before = cast.canvas.nodes()
    drop = """(text) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([text], "strange.json", { type: "application/json" }));
        const panel = document.querySelector(".wancast-cast");
        for (const type of ["dragover", "drop"])
            panel.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer }));
    }"""
    cast.page.evaluate(drop, json.dumps(encoded().prompt))
    expect(cast.panel.get_by_role("alert")).to_contain_text("strange.json: ")
    assert cast.canvas.nodes() == before and cast.entries() == []


@pytest.mark.parametrize("canvas", BOTH_RENDERERS, indirect=True)
def test_a_subgraph_takes_cards_and_saves_characters(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana")
    cast.canvas.drop("portrait.json", encoded().prompt)
    instance = cast.page.evaluate(IN_SUBGRAPH)
    cast.open()
    (encoder,) = cast.page.evaluate(
        "() => app.canvas.graph.nodes.filter(({ type }) => type === 'IdentityEncode').map(({ id }) => String(id))"
    )
    cast.page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    cast.canvas.settle()
    (target,) = cast.save_as("Bob", encoder)["partial_execution_targets"]
    assert target.startswith(f"{instance}:")
    cast.wait_for_toast("Bob")
    cast.card("Bob").drag_to(cast.page.locator("#graph-canvas"), target_position={"x": 1300, "y": 900})
    assert cast.load_nodes() == []  # not in the outer graph
    inner = "() => app.canvas.graph.nodes.filter(({ type }) => type === 'WanCastCharacterLoad').map(({ widgets }) => widgets[0].value)"
    assert cast.page.evaluate(inner) == [entry["reference"] for entry in cast.entries() if entry["name"] == "Bob"]


def test_the_tab_opens_and_closes_again_and_again(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana")
    for _ in range(3):
        cast.open()
        expect(cast.panel.locator(".wancast-card")).to_have_count(1)
        cast.page.evaluate("() => app.extensionManager.command.execute('Workspace.ToggleSidebarTab.wancast.cast')")
        expect(cast.panel).to_have_count(0)
    cast.open()
    save(live_host, "Bob")  # by another tab, which this page does not hear of
    assert len(cast.entries()) == 2
    expect(cast.panel).to_have_count(1)
    expect(cast.panel.locator(".wancast-card")).to_have_count(2)
