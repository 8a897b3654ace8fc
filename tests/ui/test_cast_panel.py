"""The cast in the sidebar, on the canvas and in IdentityEncode's menu: on the real page, with the real library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from devtools import front_end
from devtools.page import Canvas
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import ROOT, Client, Graph, Json
from tests.ui.cast_page import PICTURES, RoutesStandIn, entry, hostile_names

OWN, NEWER = "own front end", front_end.VERSION
LOOKS = [  # each renderer with each language, and each front end with both
    pytest.param(page, {"Comfy.VueNodes.Enabled": vue, "Comfy.Locale": locale}, id=f"{renderer} {locale}")
    for page, renderer, vue, locale in [
        (OWN, "classic", False, "en"),
        (NEWER, "classic", False, "zh"),
        (NEWER, "nodes 2.0", True, "en"),
        (OWN, "nodes 2.0", True, "zh"),
    ]
]
OURS = ["/extensions/WanCast/"]
RUN_TIMEOUT_MS = 120_000
CHINESE = json.loads((ROOT / "locales" / "zh" / "main.json").read_text(encoding="utf-8"))["wancast"]
ANOTHER_TAB = """() => {
    const render = (container) => container.replaceChildren("another");
    app.extensionManager.registerSidebarTab({ id: "another", icon: "", title: "Another", type: "custom", render });
    return app.extensionManager.command.execute("Workspace.ToggleSidebarTab.another");
}"""
LIBRARY = "(await import('/extensions/WanCast/library.mjs')).library"
LISTENERS = f"""async () => {{
    const library = {LIBRARY};
    const asked = [];
    library.list = () => (asked.push(1), new Promise(() => {{}}));
    library.dispatchEvent(new Event("changed"));
    delete library.list;
    return asked.length;
}}"""
TOGGLE = "() => app.extensionManager.command.execute('Workspace.ToggleSidebarTab.wancast.cast')"
NODES = """(type) => app.canvas.graph.nodes.filter((node) => node.type === type).map((node) => ({
    id: String(node.id),
    place: [...app.canvasPosToClientPos(node.pos)],
    character: node.widgets?.find(({ name }) => name === "character")?.value,
}))"""
VIEW = """([scale, x, y]) => {
    app.canvas.ds.scale = scale;
    [app.canvas.ds.offset[0], app.canvas.ds.offset[1]] = [x, y];
    app.canvas.setDirty(true, true);
}"""
INTO_SUBGRAPH = """() => {
    const { subgraph, node } = app.graph.convertToSubgraph(new Set(app.graph.nodes));
    app.canvas.openSubgraph(subgraph, node);
    return String(node.id);
}"""
DROP_FILE = """([selector, text]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([text], "strange.json", { type: "application/json" }));
    for (const type of ["dragover", "drop"])
        document.querySelector(selector).dispatchEvent(
            new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer }));
}"""


@dataclass(frozen=True)
class Cast:
    """The tab of the cast on a page, and the words that it speaks."""

    canvas: Canvas
    locale: str = "en"

    @property
    def page(self) -> Page:
        return self.canvas.page

    @property
    def panel(self) -> Locator:
        return self.page.locator(".wancast-cast")

    @property
    def alert(self) -> Locator:
        return self.panel.locator(".wancast-alert")

    @property
    def search(self) -> Locator:
        return self.panel.get_by_role("searchbox")

    def say(self, text: str, **values: str) -> str:
        return (CHINESE[text] if self.locale == "zh" else text).format(**values)

    def card(self, name: str) -> Locator:
        return self.panel.locator(".wancast-card").filter(has=self.page.get_by_text(name, exact=True))

    def button(self, text: str) -> Locator:
        return self.panel.get_by_role("button", name=self.say(text), exact=True)

    def field(self, name: str) -> Locator:
        return self.panel.locator(f".wancast-form [name={name}]")

    def empty(self) -> None:
        """Nobody is in the library, nothing on the canvas, and the tab is open."""
        self.page.unroute_all()
        ids = [character["id"] for character in self.entries()]
        forget = f"async (ids) => {{ for (const id of ids) await {LIBRARY}.remove(id); }}"
        self.page.evaluate(forget, ids)
        self.page.evaluate("() => app.graph.clear()")
        if not self.panel.count():
            self.page.evaluate(TOGGLE)

    def entries(self) -> list[Json]:
        """The characters of the library, asked for anew."""
        return self.page.evaluate(
            f"async () => {{ await {LIBRARY}.refresh(); return (await {LIBRARY}.list()).characters; }}"
        )

    def nodes(self, type_: str) -> list[Json]:
        """The nodes of a type in the graph in view."""
        return self.page.evaluate(NODES, type_)

    def drag(self, name: str, x: int, y: int) -> None:
        self.card(name).drag_to(self.page.locator("#graph-canvas"), target_position={"x": x, "y": y})

    def save_as(self, name: str) -> Json:
        """Saves through the menu of the encoder in view; returns what the page sends to the queue."""
        (encoder,) = self.nodes("IdentityEncode")
        x, y = encoder["place"]
        self.page.mouse.click(x + 60, y - 12, button="right")
        self.page.get_by_text(self.say("Save as character"), exact=True).click()
        self.page.get_by_role("dialog").get_by_role("textbox").fill(name)
        with self.page.expect_request(lambda sent: sent.url.endswith("/prompt") and sent.method == "POST") as request:
            self.page.keyboard.press("Enter")
        return request.value.post_data_json

    def wait_for_toast(self, name: str) -> None:
        toast = self.page.get_by_text(self.say("{name} is in the cast", name=name))
        toast.first.wait_for(timeout=RUN_TIMEOUT_MS)


def save(host: HostServer, *names: str) -> None:
    """Saves one identity under several names."""
    graph = Graph()
    person = recipes.identity(graph)
    for name in names:
        graph.add("WanCastCharacterSave", identity=person, name=name, if_exists="refuse")
    Client(host.url).run(graph)


# The way of one character


@pytest.mark.parametrize(("live_host", "canvas"), LOOKS, indirect=True, scope="session")
def test_a_character_from_the_graph_to_its_end(canvas: Canvas, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    cast = Cast(canvas, canvas.page.evaluate("() => app.extensionManager.setting.get('Comfy.Locale')"))
    cast.empty()
    graph = Graph()
    recipes.identity(graph)
    graph.add("PreviewImage", images=["1", 0])
    canvas.drop("portrait.json", graph.prompt)

    # Saved from the encoder's menu: that part of the graph alone runs; a second time the same node saves.
    sent = cast.save_as("<img src=x>")
    (target,) = sent["partial_execution_targets"]
    assert sent["prompt"][target]["class_type"] == "WanCastCharacterSave"
    cast.wait_for_toast("<img src=x>")
    cast.card("<img src=x>").wait_for()
    assert cast.save_as("<img src=x>")["partial_execution_targets"] == [target]

    # Renamed, with notes, tags and a consent that has ended; found by a tag.
    cast.card("<img src=x>").click()
    texts = {"name": "Bea <b>", "notes": "one\ntwo", "tags": "lead, film", "by": "Bea", "until": "2020-01-31"}
    for field, text in texts.items():
        cast.field(field).fill(text)
    cast.button("Save").click()
    expect(cast.card("Bea <b>").locator(".wancast-warns")).to_contain_text("2020-01-31")
    (entry,) = cast.entries()
    assert entry["consent"] == {"by": "Bea", "scope": "", "until": "2020-01-31"}
    assert [entry[name] for name in ("name", "notes", "tags")] == ["Bea <b>", "one\ntwo", ["lead", "film"]]
    for query, shown in (("somebody else", 0), ("film", 1), ("", 1)):
        cast.search.fill(query)
        expect(cast.panel.locator(".wancast-card:visible")).to_have_count(shown)

    # Handed out and taken in again.
    cast.card("Bea <b>").click()
    with cast.page.expect_download() as download:
        cast.button("Export").click()
    assert download.value.suggested_filename == "wancast_Bea_b_.safetensors"
    download.value.save_as(tmp_path / "bea.safetensors")
    with cast.page.expect_file_chooser() as chooser:
        cast.button("Import").click()
    chooser.value.set_files(tmp_path / "bea.safetensors")
    cast.card("Bea <b> (2)").wait_for()
    cast.page.wait_for_function(
        "() => [...document.querySelectorAll('.wancast-cast .wancast-face')].every((face) => face.naturalWidth)"
    )
    canvas.screenshot(PICTURES / f"cast {request.node.callspec.id}.png")

    # What is no character does not come in, and it is said in the page's language.
    (tmp_path / "strange.safetensors").write_bytes(b"nothing")
    with cast.page.expect_file_chooser() as chooser:
        cast.button("Import").click()
    chooser.value.set_files(tmp_path / "strange.safetensors")
    expect(cast.alert).to_contain_text("strange.safetensors: ")
    assert cast.alert.inner_text().isascii() == (cast.locale == "en")

    # Deleted by a second press only.
    cast.button("Delete").click()
    assert len(cast.entries()) == 2
    cast.button("Delete for good").click()
    expect(cast.card("Bea <b>")).to_have_count(0)
    (left,) = cast.entries()

    # Dropped on a canvas that is moved and zoomed, where it can be undone; then inside a subgraph.
    cast.page.evaluate(VIEW, [0.6, 900, 300])
    before = [(node["id"], node["title"]) for node in canvas.nodes()]
    cast.drag(left["name"], 1300, 800)
    (node,) = cast.nodes("WanCastCharacterLoad")
    assert node["character"] == left["reference"]
    assert [abs(at - wanted) < 12 for at, wanted in zip(node["place"], (1300, 800), strict=True)] == [True, True]
    cast.page.keyboard.press("Control+z")
    cast.page.wait_for_function("() => app.graph.nodes.every(({ type }) => type !== 'WanCastCharacterLoad')")
    assert [(node["id"], node["title"]) for node in canvas.nodes()] == before
    instance = cast.page.evaluate(INTO_SUBGRAPH)
    cast.page.evaluate(VIEW, [0.8, 700, 200])
    canvas.settle()
    assert cast.save_as(left["name"])["partial_execution_targets"][0].startswith(f"{instance}:")
    cast.card(left["name"]).press("Escape")  # which elsewhere leaves a subgraph
    cast.drag(left["name"], 1300, 900)
    assert [node["character"] for node in cast.nodes("WanCastCharacterLoad")] == [left["reference"]]
    assert len(canvas.nodes()) == 1  # nothing came into the outer graph
    assert canvas.errors_about(OURS) == []


# Its details, in one tab


@pytest.fixture(scope="module")
def tab(browser: Browser, live_host: HostServer) -> Iterator[Canvas]:
    opened = Canvas.opened(browser, live_host.url)
    yield opened
    opened.page.close()


@pytest.fixture
def cast(tab: Canvas) -> Iterator[Cast]:
    """The open tab of an empty library."""
    cast = Cast(tab)
    cast.empty()
    yield cast
    assert [error for error in tab.errors_about(OURS) if error.startswith("page error")] == []


in_own_page = pytest.mark.parametrize("live_host", [OWN], indirect=True, scope="session")


@in_own_page
def test_keys_alone_do_everything(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana", "Bob", "Eve")
    eve = cast.entries()[2]
    cast.card("Eve").wait_for()
    cast.search.focus()
    steps: list[tuple[str, str]] = [("Tab", "Import"), ("Tab", "Ana"), ("ArrowRight", "Bob"), ("End", "Eve")]
    steps += [("Home", "Ana"), ("ArrowDown", "Eve"), ("Enter", "Add to canvas"), ("Enter", "Add to canvas")]
    steps += [("Tab", "Export"), ("Tab", "Delete"), ("Enter", "Keep"), ("Escape", "Delete"), ("Escape", "Eve")]
    steps += [("Enter", "Add to canvas"), ("Tab", "Export"), ("Tab", "Delete"), ("Tab", "")]
    for key, focused in steps:
        cast.page.keyboard.press(key)
        expect(cast.page.locator(":focus")).to_contain_text(focused)
    cast.page.keyboard.type("Zoe")  # over the name, which Tab has selected
    for key, focused in [("Enter", "Zoe"), ("Enter", "Add to canvas"), ("Tab", "Export"), ("Tab", "Delete")]:
        cast.page.keyboard.press(key)
        expect(cast.page.locator(":focus")).to_contain_text(focused)
    for key in ("Enter", "Tab", "Enter"):
        cast.page.keyboard.press(key)
    expect(cast.search).to_be_focused()
    assert [entry["name"] for entry in cast.entries()] == ["Ana", "Bob"]
    assert [node["character"] for node in cast.nodes("WanCastCharacterLoad")] == [eve["reference"]]


@in_own_page
def test_what_was_typed_outlives_refusals(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana", "Bob")
    (ana, _) = cast.entries()
    cast.card("Ana").click()
    cast.page.route("**/wancast/characters", lambda route: route.abort())  # so that the page does not hear of a change
    cast.page.evaluate(f"async (entry) => {{ await {LIBRARY}.edit(entry, {{ tags: ['elsewhere'] }}); }}", ana)
    expect(cast.alert).to_contain_text("The server does not answer")
    cast.page.unroute_all()
    cast.field("notes").fill("mine")
    for name, sentence in [("Ana", "was changed elsewhere"), ("bob", "a character of this name")]:
        cast.field("name").fill(name)
        cast.button("Save").click()
        expect(cast.alert).to_contain_text(sentence)
        expect(cast.field("notes")).to_have_value("mine")
        expect(cast.field("tags")).to_have_value("elsewhere")
    cast.card("Bob").click()
    expect(cast.alert).to_contain_text("Save or close Ana first")
    cast.field("name").fill("Ann")
    cast.button("Save").click()
    cast.card("Ann").wait_for()
    ann = cast.entries()[0]
    assert [ann["name"], ann["notes"], ann["tags"]] == ["Ann", "mine", ["elsewhere"]]
    cast.card("Ann").click()
    cast.field("notes").fill("lost")
    cast.page.evaluate(f"async (id) => {{ await {LIBRARY}.remove(id); }}", ann["id"])
    expect(cast.alert).to_contain_text("no longer in the library")
    expect(cast.field("notes")).to_have_value("lost")
    cast.field("notes").press("Escape")
    expect(cast.search).to_be_focused()
    cast.card("Bob").click()
    cast.field("notes").fill("not wanted")
    cast.button("Delete").click()
    cast.button("Delete for good").click()
    expect(cast.panel.locator(".wancast-details, .wancast-card")).to_have_count(0)


@in_own_page
def test_damaged_files_are_listed_can_go_and_do_not_come_in(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana")
    damaged = live_host.base_dir / "user" / "__wancast" / "characters" / f"{'f' * 32}.safetensors"
    damaged.write_bytes(b"nothing")
    assert len(cast.entries()) == 1
    fault = cast.panel.locator(".wancast-fault")
    expect(fault).to_contain_text("it ends after 7 bytes")
    for name in ("Delete", "Delete for good"):
        fault.get_by_role("button", name=name).click()
    expect(fault).to_have_count(0)
    assert not damaged.exists()
    workflow: Any = {"1": {"class_type": "PreviewAny", "inputs": {}}}
    cast.page.evaluate(DROP_FILE, [".wancast-cast", json.dumps(workflow)])
    expect(cast.alert).to_contain_text("strange.json: ")
    assert len(cast.entries()) == 1 and cast.canvas.nodes() == []


@in_own_page
def test_the_tab_opens_and_closes_again_and_again(cast: Cast, live_host: HostServer) -> None:
    save(live_host, "Ana")
    for open_tabs in (0, 1, 0, 1):
        cast.page.evaluate(TOGGLE)
        expect(cast.panel).to_have_count(open_tabs)
    cast.page.evaluate(ANOTHER_TAB)  # which takes the panel's place in the page
    cast.page.evaluate(TOGGLE)
    expect(cast.card("Ana")).to_be_visible()
    assert cast.page.evaluate(LISTENERS) == 1
    save(live_host, "Bob")
    assert len(cast.entries()) == 2
    expect(cast.panel.locator(".wancast-card")).to_have_count(2)


@in_own_page
def test_hostile_texts_stay_text(cast: Cast) -> None:
    names = hostile_names()
    consents = [{"by": name, "scope": name, "until": "2020-01-31"} for name in names]
    characters = [
        entry(number, name, notes=name, tags=[], consent=consent, space=name, sex=name, created=name)
        for number, (name, consent) in enumerate(zip(names, consents, strict=True), 1)
    ]
    routes = RoutesStandIn.on(cast.canvas, characters)
    routes.faults = [{"id": "f" * 32, "message": name} for name in names[:20]]
    cast.page.evaluate("() => { globalThis.hits = 0; globalThis.hit = () => hits++; }")
    cast.entries()
    expect(cast.panel.locator(".wancast-name")).to_have_count(len(names))
    assert cast.panel.locator(".wancast-name").all_text_contents() == names
    assert cast.panel.locator(".wancast-fault p").all_text_contents() == names[:20]
    routes.status = 400
    for place in range(0, 20, 2):
        cast.panel.locator(".wancast-card").nth(place).click()
        for field in ("name", "notes", "by", "scope"):
            assert cast.field(field).input_value() == names[place]
        details = cast.panel.locator(".wancast-details")
        assert details.get_attribute("aria-label") == names[place]
        details.get_by_role("button", name="Delete").click()
        assert names[place] in (details.get_by_role("alert").text_content() or "")
        details.get_by_role("button", name="Delete for good").click()
        expect(cast.alert).to_contain_text("it <b>broke</b>")
    kinds = set(cast.panel.locator("*").evaluate_all("(all) => all.map(({ localName }) => localName)"))
    assert " ".join(sorted(kinds)) == "button div form h2 h3 img input label p section span textarea"
    assert cast.page.evaluate("() => hits") == 0


@in_own_page
def test_a_refused_run_is_not_announced_by_a_later_one(cast: Cast) -> None:
    cast.page.evaluate("() => app.graph.add(LiteGraph.createNode('IdentityEncode'))")
    cast.page.evaluate(VIEW, [1, 700, 300])
    cast.canvas.settle()
    with cast.page.expect_response(lambda answer: answer.url.endswith("/prompt")) as response:
        (target,) = cast.save_as("Eve")["partial_execution_targets"]
    assert response.value.status == 400  # it has no pictures
    cast.canvas.settle()
    for event, detail in [("execution_start", {}), ("executing", target), ("execution_success", {})]:
        cast.page.evaluate("([event, detail]) => app.api.dispatchCustomEvent(event, detail)", [event, detail])
    cast.canvas.settle()
    expect(cast.page.get_by_text("Eve is in the cast")).to_have_count(0)
