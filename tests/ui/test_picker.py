"""The picker in the Load node: found and picked by keyboard, marked, kept, told in words, and safe from names."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from devtools import client as api
from devtools.page import Canvas
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Graph, Json
from tests.ui.cast_page import (
    PICTURES,
    RENDERERS,
    RoutesStandIn,
    add_load_node,
    entry,
    hostile_names,
    list_again,
    references,
    start_over,
)

CAST = ["Anna", "Ben", "Cora of the very long name", "\u674e\u96f7", "Dan", "Eve", "Finn", "Anna Maria", "Gil", "Hana"]
RUN_TIMEOUT_S = 120.0
SHOW_REPORT = """() => {
    const node = LiteGraph.createNode("PreviewAny");
    app.graph.add(node);
    const load = app.graph.nodes.find(({ type }) => type === "WanCastCharacterLoad");
    load.connect(load.outputs.length - 1, node, 0);
}"""
SEEN = """(list) => {
    const { offsetTop: top, offsetHeight: height } = list.querySelector(".wancast-active");
    return top >= list.scrollTop && top + height <= list.scrollTop + list.clientHeight;
}"""
SET_VALUE = """(value) => {
    const [node] = app.graph.nodes;
    node.widgets[0].setValue(value, { node, canvas: app.canvas });
}"""
COMPOSED_ENTER = """(filter) => filter.dispatchEvent(
    new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true }))"""
KINDS = "(elements) => [...new Set(elements.map(({ localName }) => localName))]"
OWN = "own front end"
in_english = pytest.mark.parametrize("tab", ["en"], indirect=True)
in_chinese_too = pytest.mark.parametrize("tab", ["en", "zh"], indirect=True)
in_own_page = pytest.mark.parametrize("live_host", [OWN], indirect=True, scope="session")


@pytest.fixture(scope="module")
def tab(request: pytest.FixtureRequest, browser: Browser, live_host: HostServer) -> Iterator[Canvas]:
    """A tab in one language for the tests of this file."""
    opened = Canvas.opened(browser, live_host.url, **{"Comfy.Locale": request.param})
    yield opened
    opened.page.close()


@pytest.fixture(params=RENDERERS)
def canvas(request: pytest.FixtureRequest, tab: Canvas) -> Iterator[Canvas]:
    """The tab with an empty canvas, drawn in each way."""
    start_over(tab, request.param)
    yield tab
    assert tab.errors_about(["/extensions/WanCast/"]) == []


def cast() -> list[Json]:
    return [entry(number, name) for number, name in enumerate(CAST, 1)]


def status(canvas: Canvas) -> str:
    return canvas.page.locator(".wancast-status").inner_text()


def active(canvas: Canvas) -> str | None:
    """The name of the card that the keys have reached, by what a screen reader is told."""
    return canvas.page.evaluate(
        """() => document.getElementById(document.activeElement.getAttribute("aria-activedescendant"))
            ?.querySelector(".wancast-name").textContent"""
    )


@in_chinese_too
def test_what_a_run_saves_is_found_and_picked_by_keyboard_alone_and_loaded(
    canvas: Canvas, live_host: HostServer, request: pytest.FixtureRequest
) -> None:
    token = uuid.uuid4().hex[:8]
    graph = Graph()
    graph.add("WanCastCharacterLoad", character="")
    identity = recipes.identity(graph)
    for name in ("Anna", "Anna Maria", "Ben"):
        graph.add("WanCastCharacterSave", identity=identity, name=f"{name} {token}", if_exists="refuse")
    canvas.drop("cast.json", graph.prompt)
    api.wait(live_host.url, canvas.run(), RUN_TIMEOUT_S)
    shown = canvas.page.locator("[role=option]:visible").filter(has_text=token)
    shown.nth(2).wait_for()
    keys = canvas.page.keyboard
    canvas.page.get_by_role("combobox").and_(canvas.page.locator(".wancast-filter")).focus()
    keys.type(f"ann {token}")
    assert shown.count() == 2 and active(canvas) == f"Anna {token}"
    keys.press("ArrowDown")
    keys.press("ArrowRight")
    assert active(canvas) == f"Anna Maria {token}"
    keys.press("Enter")
    assert canvas.page.locator("[aria-selected=true] .wancast-name").all_text_contents() == [f"Anna Maria {token}"]
    assert f"Anna Maria {token}" in status(canvas)
    assert status(canvas).isascii() == (request.node.callspec.params["tab"] == "en")
    canvas.page.locator(".wancast-picker").screenshot(path=PICTURES / f"picker {request.node.callspec.id}.png")
    canvas.page.evaluate(SHOW_REPORT)
    entry_of_run = api.wait(live_host.url, canvas.run(), RUN_TIMEOUT_S)
    (reports,) = [output["text"] for output in entry_of_run["outputs"].values() if "text" in output]
    assert f"Anna Maria {token}" in reports[0]


@in_own_page
@in_english
def test_keys_move_in_the_grid_and_stay_in_it(canvas: Canvas, request: pytest.FixtureRequest) -> None:
    RoutesStandIn.on(canvas, cast())
    add_load_node(canvas, entry(5, "")["reference"])
    canvas.screenshot(PICTURES / f"picker grid {request.node.callspec.id}.png")
    before = canvas.page.evaluate("() => app.graph.nodes.map((node) => [...node.pos])")
    canvas.page.evaluate("() => app.canvas.selectNode(app.graph.nodes[0])")
    canvas.page.locator(".wancast-cards").focus()
    reached = [active(canvas)]
    for key in ("Home", "ArrowLeft", "ArrowUp", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp", "End"):
        canvas.page.keyboard.press(key)
        reached.append(active(canvas))
    assert canvas.page.locator(".wancast-cards").evaluate(SEEN)
    columns = canvas.page.evaluate(
        "() => getComputedStyle(document.querySelector('.wancast-cards')).gridTemplateColumns.split(' ').length"
    )
    heights = canvas.page.locator("[role=option]").evaluate_all("(cards) => cards.map((card) => card.offsetHeight)")
    assert len(set(heights)) == 1  # though portraits are tall and wide
    assert columns == 3  # of ten cards, which makes the last row one of a single card
    expected = [5, 1, 1, 1, 4, 7, 10, 10, 7, 10]
    assert reached == [CAST[number - 1] for number in expected]
    canvas.page.locator(".wancast-filter").evaluate(COMPOSED_ENTER)
    assert references(canvas) == [entry(5, "")["reference"]]  # Enter took a word of the input method, and picked nobody
    for key in ("Delete", "Backspace", "Delete"):
        canvas.page.keyboard.press(key)
    canvas.settle()
    assert canvas.page.evaluate("() => app.graph.nodes.map((node) => [...node.pos])") == before


STATES = [  # characters, faults, HTTP status, the node's reference, words of the status, whether it warns
    ([], [], 200, "", "No characters yet", False),
    ([], [], 200, "f" * 32, "not in the library", True),
    (cast(), [], 200, "", "10 of 10 characters", False),
    (cast(), [], 200, "../../etc/passwd", "not in the library", True),
    (cast(), [], 200, f"{2:032x}", "Ben is picked; 10 of 10", False),
    (cast(), [], 200, f"{2:032x}@{0:012x}", "Ben has changed since it was picked", True),
    (cast(), [{"id": "9" * 32, "message": "damaged"}], 200, "", "Damaged character files: 1", True),
    ([], [], 500, "", "cannot be listed: it <b>broke</b>", True),
]

LINK = """() => {
    const [load] = app.graph.nodes;
    const text = LiteGraph.createNode("PrimitiveString");
    app.graph.add(text);
    text.connect(0, load, load.inputs.findIndex(({ name }) => name === "character"));
}"""


@in_own_page
@in_english
@pytest.mark.parametrize("canvas", ["classic"], indirect=True)
def test_the_status_tells_what_is_wrong_and_the_value_stays(canvas: Canvas) -> None:
    routes = RoutesStandIn.on(canvas, [])
    colours: dict[bool, set[str]] = {False: set(), True: set()}
    for characters, faults, http_status, reference, words, warns in STATES:
        routes.characters, routes.faults, routes.status = characters, faults, http_status
        canvas.page.evaluate("() => app.graph.clear()")
        list_again(canvas)
        add_load_node(canvas, reference)
        shown = canvas.page.locator(".wancast-status")
        expect(shown).to_contain_text(words)
        colours[warns].add(shown.evaluate("(status) => getComputedStyle(status).color"))
        assert references(canvas) == [reference]
    canvas.page.evaluate(LINK)
    expect(canvas.page.locator(".wancast-picker[inert] .wancast-status")).to_contain_text("The connected node says")
    assert [len(found) for found in colours.values()] == [1, 1] and colours[False] != colours[True]


@in_own_page
@in_english
@pytest.mark.parametrize("canvas", ["classic"], indirect=True)
@pytest.mark.parametrize("news", ["a node", "a value", "the tab is seen"])
def test_what_others_saved_is_there_when_it_is_looked_for(canvas: Canvas, news: str) -> None:
    routes = RoutesStandIn.on(canvas, cast()[:1])
    add_load_node(canvas)
    routes.characters = cast()[:2]
    reference = routes.characters[1]["reference"]
    if news == "a node":
        canvas.page.evaluate("() => app.graph.clear()")
        add_load_node(canvas, reference)
    elif news == "a value":
        canvas.page.evaluate(SET_VALUE, reference)
    else:
        canvas.page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    shown = "2 of 2" if news == "the tab is seen" else "Ben is picked"
    expect(canvas.page.locator(".wancast-status")).to_contain_text(shown)


@in_own_page
@in_english
def test_another_list_moves_neither_the_keys_nor_the_view(canvas: Canvas) -> None:
    people = [entry(number, f"P{number:03}") for number in range(2, 90)]
    routes = RoutesStandIn.on(canvas, people[1:])
    add_load_node(canvas)
    cards = canvas.page.locator(".wancast-cards")
    canvas.page.locator(".wancast-filter").fill("P")
    cards.press("End")
    assert active(canvas) == "P089"
    scrolled = cards.evaluate("(list) => list.scrollTop -= 40")
    for characters in (people, people[:-2]):  # one more, and without the one that the keys had reached
        routes.characters = characters
        list_again(canvas)
        assert cards.evaluate("(list) => list.scrollTop") == scrolled
        assert active(canvas) == ("P089" if characters == people else None)
    canvas.page.keyboard.press("Enter")
    assert references(canvas) == [""]


RACE = """async () => {  // an edit while a list that was asked for before it is still on its way
    const { library } = await import("/extensions/WanCast/library.mjs");
    const { fetchApi } = app.api;
    const answers = [];
    const asked = () => new Promise((done) => answers.push((body) => done(new Response(JSON.stringify(body)))));
    await library.list();
    app.api.fetchApi = asked;
    const refreshed = library.refresh();
    const edited = library.edit({ id: "0", revision: 1 }, {});
    answers[1]({});
    await edited;
    const listed = library.list();
    answers[2]({ characters: ["new"] });
    answers[0]({ characters: ["old"] });
    await Promise.all([refreshed, listed]);
    app.api.fetchApi = fetchApi;
    return (await library.list()).characters;
}"""


@in_own_page
@in_english
@pytest.mark.parametrize("canvas", ["classic"], indirect=True)
def test_a_list_from_before_an_edit_does_not_come_back(canvas: Canvas) -> None:
    assert canvas.page.evaluate(RACE) == ["new"]
    list_again(canvas)


@in_own_page
@in_english
def test_hostile_names_are_text_and_run_nothing(canvas: Canvas) -> None:
    characters = [entry(i, name, tags=[name]) for i, name in enumerate(hostile_names(), 1)]
    for character in characters:
        character["consent"] = {"by": character["name"], "scope": character["name"], "until": character["name"]}
    RoutesStandIn.on(canvas, characters)
    dialogs: list[str] = []
    canvas.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    canvas.page.evaluate("() => { globalThis.hits = 0; globalThis.hit = () => hits++; }")
    add_load_node(canvas)
    shown = canvas.page.locator(".wancast-name")
    assert shown.all_text_contents() == [character["name"] for character in characters]
    assert set(canvas.page.locator(".wancast-card *").evaluate_all(KINDS)) == {"div", "img", "span"}
    assert shown.first.evaluate("(name) => name.offsetHeight") == shown.last.evaluate("(name) => name.offsetHeight")
    for number in (0, 2, 7, 12, 18):
        canvas.page.locator(".wancast-filter").fill(characters[number]["name"])
        canvas.page.keyboard.press("Enter")
        assert references(canvas) == [characters[number]["reference"]]
        assert characters[number]["name"][:40] in canvas.page.locator(".wancast-status").text_content()
    assert canvas.page.evaluate("() => hits") == 0 and dialogs == []


@in_own_page
@in_english
def test_faces_are_fetched_when_they_are_seen_and_their_blobs_let_go(canvas: Canvas) -> None:
    routes = RoutesStandIn.on(canvas, [entry(number, f"P {number}") for number in range(1, 301)])
    add_load_node(canvas)
    loaded = "() => [...document.querySelectorAll('.wancast-face')].filter((face) => face.naturalWidth).length"
    canvas.page.wait_for_function(f"(count) => ({loaded})() >= count", arg=6)
    first = routes.thumbnails
    assert 6 <= first <= 12
    canvas.page.locator(".wancast-cards").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
    canvas.page.wait_for_function(f"(count) => ({loaded})() > count", arg=first)
    canvas.settle()
    assert routes.thumbnails <= 2 * first + 3
    fetched = "(faces) => Promise.allSettled(faces.map(({ src }) => fetch(src)))"
    answers = canvas.page.locator(".wancast-face[src]").evaluate_all(fetched)
    assert {answer["status"] for answer in answers} == {"rejected"}


@in_own_page
@in_english
def test_a_run_that_saved_a_character_shows_it_and_keeps_the_faces(canvas: Canvas) -> None:
    routes = RoutesStandIn.on(canvas, cast()[:2])
    for at in (0, 500):
        add_load_node(canvas, at=at)
    canvas.page.wait_for_function("() => document.querySelectorAll('.wancast-face[src]').length === 4")
    list_again(canvas)  # and what the nodes asked for is answered
    routes.characters = cast()[:3]
    routes.asked.clear()
    canvas.page.evaluate("() => app.api.dispatchCustomEvent('execution_success', { prompt_id: '', timestamp: 0 })")
    canvas.page.wait_for_function("() => document.querySelectorAll('.wancast-face[src]').length === 6")
    assert sorted(routes.asked) == ["GET ", *2 * [f"GET /{3:032x}/thumbnail"]]  # one list for all nodes


@in_english
def test_what_is_picked_survives_undo_copies_subgraphs_and_a_saved_file(canvas: Canvas) -> None:
    characters = cast()
    first, second = (characters[number]["reference"] for number in (1, 4))
    RoutesStandIn.on(canvas, characters)
    add_load_node(canvas)
    for name in (CAST[1], CAST[4]):
        canvas.page.locator(".wancast-filter").fill(name)
        canvas.page.keyboard.press("Enter")
    assert references(canvas) == [second]
    canvas.page.locator(".wancast-cards").press("Control+z")
    canvas.page.wait_for_function("(one) => app.graph.nodes[0]?.widgets[0].value === one", arg=first)
    canvas.page.evaluate(
        """async () => {
            app.canvas.selectNode(app.graph.nodes[0]);
            app.canvas.copyToClipboard();
            app.canvas.pasteFromClipboard();
            app.graph.convertToSubgraph(new Set([app.graph.nodes[0]]));
        }"""
    )
    assert references(canvas) == [first, first]
    saved = json.loads(canvas.page.evaluate("() => JSON.stringify(app.graph.serialize())"))
    assert [node["widgets_values"] for node in saved["nodes"] if node["type"] == "WanCastCharacterLoad"] == [[first]]
    canvas.drop("saved.json", saved)
    assert references(canvas) == [first, first]
