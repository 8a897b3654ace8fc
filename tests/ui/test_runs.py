"""What a run leaves on the page, in both ways in which it draws nodes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from devtools import client as api
from devtools.page import Canvas
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Graph

RUN_TIMEOUT_S = 120.0
LONG = [1, 16, 13, 16, 16]  # some seconds of decoding, in which previews come
VIDEOS = "() => [...document.querySelectorAll('video')].map((video) => video.currentSrc || video.src)"
BLOBS = "() => [...document.querySelectorAll('img, video')].filter((element) => element.src.startsWith('blob:')).length"


@pytest.mark.parametrize("new_nodes", [False, True], ids=["classic", "nodes 2.0"])
def test_decode_to_video_plays_its_film_after_a_run(browser: Browser, live_host: HostServer, new_nodes: bool) -> None:
    canvas = Canvas.opened(browser, live_host.url, **{"Comfy.VueNodes.Enabled": new_nodes})
    graph = Graph()
    recipes.decoded_to_video(graph, samples=graph.make(latent=LONG), filename_prefix="video/on_the_page")
    canvas.drop("film.json", graph.prompt)
    entry = api.wait(live_host.url, canvas.run(), RUN_TIMEOUT_S)
    (film,) = next(output["images"] for output in entry["outputs"].values())
    canvas.page.wait_for_function(f"() => ({VIDEOS})().some((source) => source.includes('{film['filename']}'))")
    assert canvas.page.evaluate(BLOBS) == 0
    canvas.page.close()
