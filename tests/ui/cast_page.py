"""What the tests of the cast on the page share: a stand-in of the routes, and what a Load node shows and holds."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Route

from devtools.page import Canvas
from tests.host.live import ROOT, Json

PICTURES = ROOT / "test_out" / "ui"
CHARACTERS = "/wancast/characters"
RENDERERS = ["classic", "nodes 2.0"]

LOAD_NODE = """([type, reference, at]) => {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    node.pos = [at, 0];
    node.widgets.find(({ name }) => name === "character").setValue(reference, { node, canvas: app.canvas });
}"""


def entry(number: int, name: str, **changes: object) -> Json:
    """What the routes would say of a character."""
    return {
        "id": f"{number:032x}",
        "reference": f"{number:032x}@{number * 7919:012x}",
        "name": name,
        "notes": "",
        "tags": ["lead"] if number % 3 == 0 else [],
        "consent": {
            "by": name if number % 4 else "",
            "scope": "",
            "until": (None, "2020-01-01", "2999-12-31")[number % 3],
        },
        "created": "2026-01-02T03:04:05Z",
        "revision": 1,
        "space": "ir_se50",
        "sex": None,
        "age_years": None,
        "references": 1,
        "has_voice": number % 2 == 0,
        "bytes": 100_000,
        **changes,
    }


@dataclass
class RoutesStandIn:
    """Answers for the routes with what a test says that the library holds, and remembers what was asked."""

    characters: list[Json]
    faults: list[Json] = field(default_factory=list)
    status: int = 200
    asked: list[str] = field(default_factory=list)  # "GET /ID/thumbnail"

    @classmethod
    def on(cls, canvas: Canvas, characters: Iterable[Json]) -> RoutesStandIn:
        stand_in = cls(list(characters))
        canvas.page.route(lambda url: CHARACTERS in urlsplit(url).path, stand_in.answer)
        list_again(canvas)
        stand_in.asked.clear()
        return stand_in

    def answer(self, route: Route) -> None:
        assert route.request.headers["x-wancast"] == "1"
        place = urlsplit(route.request.url).path.split(CHARACTERS)[1]
        self.asked.append(f"{route.request.method} {place}")
        if place.endswith("/thumbnail"):
            route.fulfill(body=face(int(place.split("/")[1], 16)), content_type="image/webp")
        elif self.status != 200:
            error = {"error": {"code": "broken", "message": "it <b>broke</b>"}}
            route.fulfill(status=self.status, json=error)
        else:
            route.fulfill(json={"characters": self.characters, "faults": self.faults})

    @property
    def thumbnails(self) -> int:
        return sum(one.endswith("/thumbnail") for one in self.asked)


def face(number: int) -> bytes:
    """A picture that is another one for every number, upright for every second."""
    with Image.open(ROOT / "tests" / "data" / "portrait.png") as portrait:
        picture = portrait.convert("HSV").resize((192, 256) if number % 2 else (256, 192))
    hue = picture.getchannel("H").point(lambda value: (value + 37 * number) % 256)
    content = io.BytesIO()
    Image.merge("HSV", (hue, *picture.split()[1:])).convert("RGB").save(content, "WEBP")
    return content.getvalue()


def hostile_names() -> list[str]:
    """Three hundred names that attack a page: markup, code, templates, direction, length, and what breaks strings."""
    seeds = [
        "<img src=x onerror=hit(1)>",
        "<script>hit(1)</script>",
        '"><svg onload=hit(1)>',
        "' autofocus onfocus='hit(1)",
        "javascript:hit(1)",
        "{{constructor.constructor('hit(1)')()}}",
        "${hit(1)}",
        "{name} {shown} {count}",
        "@:linked | plural %{n}",
        "<iframe srcdoc='<script>parent.hit(1)</script>'>",
        "</div></body><h1>",
        "&lt;b&gt;&amp;#60;",
        "\u202egnp.exe\u2066",
        "\u05de\u05d9\u05e8\u05d9 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family",
        "Z\u0335\u0322\u0321a\u0336\u0328l\u0337g\u0338o",
        "a\\b\"c'd`e$&$1",
        "../../../etc/passwd",
        "x" * 4096,
        "__proto__",
    ]
    return [
        f"{seed}{number}" if number >= len(seeds) else seed for number in range(300) for seed in [seeds[number % 20]]
    ]


def start_over(canvas: Canvas, renderer: str) -> None:
    """Empties the canvas of a tab that tests share, and draws it in the other way if it has to."""
    canvas.page.unroute_all()
    canvas.page.evaluate(
        """async (isVue) => {
            app.graph.clear();
            await app.extensionManager.setting.set("Comfy.VueNodes.Enabled", isVue);
        }""",
        renderer == "nodes 2.0",
    )
    canvas.settle()


def list_again(canvas: Canvas) -> None:
    """Lets the page ask again for the characters that it knows already."""
    canvas.page.evaluate("async () => (await import('/extensions/WanCast/library.mjs')).library.refresh()")


def add_load_node(canvas: Canvas, reference: str = "", *, at: int = 0) -> None:
    """Puts a Load node with the reference on the canvas, and waits until it lists characters or says why not."""
    canvas.page.evaluate(LOAD_NODE, ["WanCastCharacterLoad", reference, at])
    canvas.page.wait_for_function("() => [...document.querySelectorAll('.wancast-status')].every((e) => e.textContent)")
    canvas.settle()


def references(canvas: Canvas) -> list[str]:
    """What the Load nodes of the graph would send, which is nothing else."""
    nodes = [node for node in canvas.prompt().values() if node["class_type"] == "WanCastCharacterLoad"]
    assert all(node["inputs"].keys() == {"character"} for node in nodes)
    return [node["inputs"]["character"] for node in nodes]
