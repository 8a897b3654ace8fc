"""What a run leaves on the page."""

from __future__ import annotations

import pytest

from devtools import client as api
from devtools.page import Canvas
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Graph

RUN_TIMEOUT_S = 120.0
VIDEOS = "[...document.querySelectorAll('video')].map((video) => video.currentSrc || video.src)"
BLOBS = "[...document.querySelectorAll('img, video')].filter((element) => element.src.startsWith('blob:')).length"
IN_ENGLISH = ["WanCast Decode To Video\n", ": found a batch of 2 clips; wanted one clip"]
IN_CHINESE = ["WanCast", "\uff1a\u5b9e\u9645\u4e3a a batch of 2 clips\uff1b\u9700\u8981 one clip"]


@pytest.mark.parametrize("canvas", [{}, {"Comfy.VueNodes.Enabled": True}], ids=["classic", "nodes 2.0"], indirect=True)
def test_decode_to_video_plays_its_film_after_a_run(canvas: Canvas, live_host: HostServer) -> None:
    graph = Graph()
    slow = graph.add("WanCastProbeFaultyVae", vae=recipes.vae22(graph), fault="none", from_call=1, pause_s=0.2)[0]
    recipes.decoded_to_video(graph, samples=graph.make(latent=[1, 48, 11, 5, 7]), vae=slow)  # previews come
    canvas.drop("film.json", graph.prompt)
    entry = api.wait(live_host.url, canvas.run(), RUN_TIMEOUT_S)
    (film,) = next(output["images"] for output in entry["outputs"].values())
    canvas.page.wait_for_function(f"() => {VIDEOS}.some((source) => source.includes('{film['filename']}'))")
    assert canvas.page.evaluate(BLOBS) == 0


@pytest.mark.parametrize(
    ("canvas", "words"),
    [({}, IN_ENGLISH), ({"Comfy.Locale": "zh"}, IN_CHINESE)],
    ids=["en", "zh"],
    indirect=["canvas"],
)
def test_an_error_of_a_node_is_read_on_the_page(canvas: Canvas, live_host: HostServer, words: list[str]) -> None:
    graph = Graph()
    recipes.decoded_to_video(graph, samples=graph.make(latent=[2, 16, 3, 8, 8]))
    canvas.drop("film.json", graph.prompt)
    with pytest.raises(api.PromptFailed) as failure:
        api.wait(live_host.url, canvas.run(), RUN_TIMEOUT_S)
    assert "WanCast.InputError" in str(failure.value.entry)
    canvas.settle()
    text = canvas.page.evaluate("() => document.body.innerText")
    assert [word for word in words if word not in text] == []
    canvas.page.evaluate("() => app.api.dispatchCustomEvent('execution_start', { prompt_id: '', timestamp: 0 })")
    canvas.page.wait_for_function("(words) => !document.body.innerText.includes(words)", arg=words[-1])
