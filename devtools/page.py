"""ComfyUI's own page in a headless Chromium: opened, filled by dropped files, read and photographed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, sync_playwright

from .client import Json, fetch
from .places import find_browser

READY_TIMEOUT_MS = 90_000
SETTLE_TIMEOUT_MS = 30_000
VIEW_WIDTH_PX = 1920
VIEW_HEIGHT_PX = 1080
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the page asks for news and models elsewhere
]
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.Persist": False,
    "Comfy.Locale": "en",
    "Comfy.Minimap.Visible": False,
    "Comfy.VueNodes.Enabled": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # text at every zoom, so that a picture of a whole workflow can be read
}
BARS_PX = (100, 100, 60)  # the bars that cover the canvas: left, top, and a margin on the other sides
NO_BARS_PX = (40, 40, 40)

DROP = """([name, text]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], name, { type: "application/json" }));
    const place = { clientX: innerWidth / 2, clientY: innerHeight / 2, bubbles: true, cancelable: true };
    const canvas = document.querySelector("#graph-canvas");
    for (const type of ["dragenter", "dragover", "drop"])
        canvas.dispatchEvent(new DragEvent(type, { ...place, dataTransfer: transfer }));
}"""

NODES = """() => app.graph.nodes.map((node) => ({
    id: String(node.id), type: node.type, title: node.title, mode: node.mode,
    known: node.type in LiteGraph.registered_node_types, bad: Boolean(node.has_errors),
    widgets: Object.fromEntries((node.widgets ?? []).map((widget) => [widget.name, widget.value])),
}))"""

FIT = """([left_bar, top_bar, other]) => {
    const boxes = app.graph.nodes.map((node) => node.getBounding());
    const left = Math.min(...boxes.map((b) => b[0])), top = Math.min(...boxes.map((b) => b[1]));
    const right = Math.max(...boxes.map((b) => b[0] + b[2])), bottom = Math.max(...boxes.map((b) => b[1] + b[3]));
    const element = app.canvas.canvas.getBoundingClientRect();
    const width = element.width - left_bar - other, height = element.height - top_bar - other;
    const scale = Math.min(1, width / (right - left), height / (bottom - top));
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset[0] = (left_bar + width / 2) / scale - (left + right) / 2;
    app.canvas.ds.offset[1] = (top_bar + height / 2) / scale - (top + bottom) / 2;
    app.canvas.show_info = false;
    app.canvas.setDirty(true, true);
}"""

PICTURES_SHOWN = """() => {
    app.canvas.setDirty(true, true);
    return app.graph.nodes.every((node) => {
        const wanted = node.type.endsWith("Image") && app.nodeOutputs?.[node.id]?.images?.length;
        return (!wanted || node.imgs?.length > 0) && (node.imgs ?? []).every((image) => image.complete);
    });
}"""

FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100))))"

ONLY_CANVAS = """
    body * { visibility: hidden !important; }
    #graph-canvas, .dom-widget, .dom-widget * { visibility: visible !important; }
"""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless Chromium with a fresh profile; raises NoBrowserError."""
    executable = find_browser()
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=FLAGS) as browser,
    ):
        yield browser


@dataclass
class Canvas:
    """One tab with the host's page, ready for work."""

    page: Page
    errors: list[str] = field(default_factory=list)  # console errors as "text (address)", and errors that nobody caught

    @classmethod
    def opened(cls, browser: Browser, url: str, **settings: Any) -> Canvas:
        """Opens the page and returns when the canvas takes files."""
        for name, value in (SETTINGS | settings).items():
            fetch(f"{url}/settings/{name}", json.dumps(value).encode(), "application/json")
        page = browser.new_page(viewport={"width": VIEW_WIDTH_PX, "height": VIEW_HEIGHT_PX})
        canvas = cls(page)
        page.on("console", canvas.note_console)
        page.on("pageerror", canvas.note_page_error)
        page.goto(url, wait_until="domcontentloaded", timeout=READY_TIMEOUT_MS)
        page.wait_for_function(
            "() => window.app?.extensionManager && app.graph && app.canvas && LiteGraph.registered_node_types.KSampler",
            timeout=READY_TIMEOUT_MS,
        )
        page.wait_for_selector("#graph-canvas", timeout=READY_TIMEOUT_MS)
        page.wait_for_function("() => !document.querySelector('#splash-loader')", timeout=READY_TIMEOUT_MS)
        canvas.settle()
        return canvas

    def note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def note_page_error(self, error: Error) -> None:
        self.errors.append(f"page error: {error}\n{error.stack}")

    def errors_about(self, words: list[str]) -> list[str]:
        """The errors that name one of the words, and every error that nobody caught."""
        return [e for e in self.errors if e.startswith("page error") or any(word in e for word in words)]

    def settle(self) -> None:
        """Waits until the page has drawn what it knows."""
        self.page.evaluate(FRAMES)

    def drop(self, name: str, content: Json) -> None:
        """Drops a JSON file on the empty canvas and waits until the canvas holds its nodes."""
        self.page.evaluate("() => app.graph.clear()")
        nodes = content["nodes"] if isinstance(content.get("nodes"), list) else content
        self.page.evaluate(DROP, [name, json.dumps(content)])
        self.page.wait_for_function(f"() => app.graph.nodes.length === {len(nodes)}", timeout=SETTLE_TIMEOUT_MS)
        self.settle()

    def open_template(self, name: str, nodes: int) -> None:
        """Opens a workflow from the template dialog, as a user does, and waits until the canvas holds its nodes."""
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        self.page.get_by_placeholder("Search").last.fill(name)
        self.page.get_by_test_id(f"template-workflow-{name}").click()
        self.page.wait_for_function(f"() => app.graph.nodes.length === {nodes}", timeout=SETTLE_TIMEOUT_MS)
        self.settle()

    def nodes(self) -> list[Json]:
        """The nodes on the canvas with the values of their widgets."""
        return self.page.evaluate(NODES)

    def prompt(self) -> Json:
        """The API prompt that the page would send."""
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def run(self) -> str:
        """Queues what is on the canvas, as the Run button does, and returns the id of the prompt."""
        with self.page.expect_response(lambda r: r.url.endswith("/prompt") and r.request.method == "POST") as info:
            self.page.evaluate("() => app.queuePrompt(0)")
        answer: dict[str, Any] = info.value.json()
        if "prompt_id" not in answer:
            raise AssertionError(f"the host refused the prompt of the page: {answer}")
        return answer["prompt_id"]

    def screenshot(self, path: Path, *, only_canvas: bool = False) -> Path:
        """A picture of the whole workflow, fitted into the window; with ``only_canvas`` without bars and panels."""
        for _ in range(2):  # a slow page may still move the view itself after the first time
            self.page.evaluate(FIT, NO_BARS_PX if only_canvas else BARS_PX)
            self.settle()  # the canvas fetches the pictures of the nodes that it draws
        self.page.wait_for_function(PICTURES_SHOWN, timeout=SETTLE_TIMEOUT_MS)
        self.settle()
        path.parent.mkdir(parents=True, exist_ok=True)
        style = ONLY_CANVAS if only_canvas else None
        self.page.screenshot(path=path, style=style, animations="disabled", timeout=SETTLE_TIMEOUT_MS)
        return path
