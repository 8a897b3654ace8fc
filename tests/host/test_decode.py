"""HighCompressionVAEDecode gives the pictures of the stock decoder, shows its work and leaves nothing in memory."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.test_cancel import Cancelled, cancel

VAES = {"wan2.1": (recipes.vae21, 16), "wan2.2": (recipes.vae22, 48)}
EVERY_VAE = pytest.mark.parametrize(("vae", "channels"), VAES.values(), ids=VAES)
LATENTS = (1, 2, 3, 4, 9)  # 1, 5, 9, 13 and 33 frames
TILES = {  # rows and columns, and the odd grids; a tile decodes 13 to each side, so that two do not decode everything
    (3, 29): ((1, 2),),
    (29, 3): ((2, 1), (2, 2)),
    (31, 5): ((3, 2),),
}
TILE_TOLERANCE = 2e-5  # of the standard deviation
ONE_FRAME_TOLERANCE = 1e-5
BF16_TOLERANCE = 2**-6  # four steps of bf16 near white
PREVIEW_EVENT, JPEG = 1, 1  # numbers of the host's binary messages


def stock(graph: Graph, **inputs: Any) -> recipes.Link:
    return graph.add("VAEDecode", **inputs)[0]


# The pictures


@EVERY_VAE
def test_whole_frames_equal_stock_decoding_bit_for_bit_and_auto_does_up_to_rounding(
    client: Client, vae: Any, channels: int
) -> None:
    """On a CPU auto takes one frame at a time."""
    graph = Graph()
    loaded = vae(graph)
    saves = []
    for latents in LATENTS:
        inputs = {"samples": graph.make(latent=[1, channels, latents, 3, 4]), "vae": loaded}
        ours = [recipes.decoded(graph, **inputs, tiling=tiling) for tiling in ("whole frame", "auto")]
        saves.append([graph.save(images) for images in (stock(graph, **inputs), *ours)])
    run = client.run(graph)
    for latents, (expected, whole, auto) in zip(LATENTS, saves, strict=True):
        assert run.saved(expected).array.shape[0] == 4 * latents - 3
        assert run.saved(whole) == run.saved(expected)
        assert np.abs(run.saved(auto).array - run.saved(expected).array).max() <= ONE_FRAME_TOLERANCE


@pytest.mark.parametrize(
    ("kind", "dtype", "latent"), [("2.1", "float32", [1, 16, 3, 6, 8]), ("2.2", "bfloat16", [1, 48, 2, 1, 2])]
)
def test_decoders_of_the_real_size_equal_stock_decoding_bit_for_bit(
    client: Client, kind: str, dtype: str, latent: list[int]
) -> None:
    """With random weights; the Wan2.2 decoder is in bf16, because in fp32 it has 2.2 GB of them.

    It decodes little: a processor that does not know bf16 takes long for it.
    """
    graph = Graph()
    inputs = {
        "samples": graph.make(latent=latent),
        "vae": graph.add("WanCastProbeRandomVae", kind=kind, dtype=dtype)[0],
    }
    ours = [recipes.decoded(graph, **inputs, tiling=tiling) for tiling in ("whole frame", "auto")]
    expected, whole, auto = client.values(graph, [stock(graph, **inputs), *ours])
    pictures = expected.array
    assert pictures.shape[0] == 4 * latent[2] - 3
    assert 0.05 < pictures.std() < 0.45
    assert whole == expected
    tolerance = ONE_FRAME_TOLERANCE if dtype == "float32" else BF16_TOLERANCE
    assert np.abs(auto.array - pictures).max() <= tolerance
    client.forget()


@EVERY_VAE
def test_tiles_differ_from_the_whole_frame_by_rounding_only(client: Client, vae: Any, channels: int) -> None:
    graph = Graph()
    loaded, pairs = vae(graph), {}
    for grid, cuts in TILES.items():
        inputs = {"samples": graph.make(latent=[1, channels, 2, *grid]), "vae": loaded}
        whole = graph.save(stock(graph, **inputs))
        for rows, columns in cuts:
            tiling = {"tiling": "tiles", "tiling__rows": rows, "tiling__columns": columns}
            node, _ = recipes.decoded(graph, **inputs, **tiling)
            pairs[rows, columns] = whole, graph.save([node, 0]), graph.save([node, 1])
    run = client.run(graph)
    for (rows, columns), (whole, images, report) in pairs.items():
        expected = run.saved(whole).array
        limit = TILE_TOLERANCE * expected.std()
        assert np.abs(run.saved(images).array - expected).max() <= limit, (rows, columns)
        assert run.saved(report).tree[""].startswith(f"{rows} x {columns} tiles (rows x columns)")


def test_a_batch_is_decoded_clip_by_clip(client: Client) -> None:
    graph = Graph()
    vae, batch = recipes.vae21(graph), graph.make(latent=[2, 16, 3, 5, 7])
    clips = [graph.add("LatentFromBatch", samples=batch, batch_index=i, length=1)[0] for i in range(2)]
    images = [stock(graph, samples=clip, vae=vae) for clip in clips]
    images.append(recipes.decoded(graph, samples=batch, vae=vae, tiling="whole frame"))
    *alone, both = (saved.array for saved in client.values(graph, images))
    np.testing.assert_array_equal(both, np.concatenate(alone))


def test_of_a_nested_latent_the_video_is_decoded(client: Client) -> None:
    graph = Graph()
    parts = [{"tensor": [1, 16, 2, 5, 7]}, {"tensor": [1, 8, 30], "fill": "unit"}]
    inputs = {"samples": graph.make(dict={"samples": {"nested": parts}}), "vae": recipes.vae21(graph)}
    both = stock(graph, **inputs), recipes.decoded(graph, **inputs, tiling="whole frame")
    wanted, found = client.values(graph, both)
    assert found == wanted


# What the user sees


@pytest.mark.parametrize(
    ("tiling", "words"),
    [
        ({}, "Whole frame, one frame at a time: needs "),
        ({"tiling": "auto"}, "Whole frame, one frame at a time: needs "),
        ({"tiling": "whole frame"}, "Whole frame, the host's own schedule: needs "),
        ({"tiling": "tiles", "tiling__rows": 2, "tiling__columns": 1}, "2 x 1 tiles (rows x columns), "),
    ],
    ids=["left out", "auto", "whole frame", "tiles"],
)
def test_the_report_says_the_plan(client: Client, tiling: dict[str, Any], words: str) -> None:
    graph = Graph()
    report = graph.add("PreviewAny", source=[recipes.decoded(graph, **tiling)[0], 1])
    (text,) = client.run(graph).output(report)["text"]
    assert text.startswith(words)
    assert " GiB free" in text


def decoded_in_a_loop(graph: Graph, tiling: object) -> recipes.Link:
    inputs = {"samples": graph.make(latent=[1, 16, 3, 8, 8]), "vae": recipes.vae21(graph)}
    return graph.add("WanCastProbeDecodes", **inputs, tiling=str(tiling))[0]


@pytest.mark.parametrize("build", [recipes.decoded, recipes.decoded_to_video, decoded_in_a_loop])
@pytest.mark.parametrize("tiling", ["Auto", 3])
def test_a_tiling_that_there_is_not_is_refused(client: Client, build: Any, tiling: object) -> None:
    """The host drops it and says nothing."""
    graph = Graph()
    node, _ = build(graph, tiling=tiling)
    graph.hash([node, 0])
    name = graph.prompt[node]["class_type"].replace("WanCastProbeDecodes", "HighCompressionVAEDecode")
    found = repr(str(tiling) if build is decoded_in_a_loop else tiling)
    message = f"{name}: tiling: found {found}; wanted auto, whole frame, or tiles with rows and columns. Pick one"
    assert client.fails(graph).message.startswith(message)


@pytest.mark.parametrize("build", [recipes.decoded, recipes.decoded_to_video])
def test_progress_counts_frames_and_shows_them(client: Client, build: Any) -> None:
    """At least 2.2 s of work, with a preview a second in the shape of the video."""
    graph = Graph()
    slow = graph.add("WanCastProbeFaultyVae", vae=recipes.vae22(graph), fault="none", from_call=1, pause_s=0.2)[0]
    node, _ = build(graph, samples=graph.make(latent=[1, 48, 11, 5, 7]), vae=slow, tiling="whole frame")
    graph.hash([node, 2 if build is recipes.decoded_to_video else 0])
    counted, shown, start_s = [], [], time.monotonic()
    kind = ""
    for frame in client.frames(graph):
        if isinstance(frame, bytes):
            if tuple(int.from_bytes(frame[start : start + 4], "big") for start in (0, 4)) == (PREVIEW_EVENT, JPEG):
                shown.append(Image.open(io.BytesIO(frame[8:])))
            continue
        kind, data = frame
        if kind == "progress_state" and node in data["nodes"]:
            counted.append((data["nodes"][node]["value"], data["nodes"][node]["max"]))
    assert kind == "execution_success"
    assert 2 <= len(shown) <= time.monotonic() - start_s + 1
    assert {picture.size for picture in shown} == {(512, 366)}  # 112 x 80, scaled to 512
    during = [value for value, most in counted if most == 41]
    assert during == sorted(during)
    assert during[-1] == 41
    if build is recipes.decoded:
        assert {value % 4 for value in during} <= {0, 1}  # 1 frame at first, then 4 by 4


# What stays


def live_tensors(client: Client, use: int) -> dict[str, int]:
    """The tensors in the host after a small decode, which is the same each time but for its name."""
    graph = Graph()
    after = recipes.decoded(graph, samples=graph.make(latent=[1, 16, 3, 5, 7], use=use))
    count = graph.add("WanCastProbeTensors", after=after)
    return json.loads(client.run(graph).output(count)["live"][0])


def cancel_while_decoding(client: Client, graph: Graph, node: str) -> Cancelled:
    """Interrupts the prompt at the node's first finished frames."""

    def is_decoding(event: str, data: dict[str, Any]) -> bool:
        return event == "progress_state" and data["nodes"].get(node, {}).get("value", 0) > 0

    return cancel(client, graph, node, when=is_decoding)


@pytest.mark.parametrize("tiling", [{}, {"tiling": "tiles", "tiling__rows": 2, "tiling__columns": 2}])
def test_an_interrupted_decode_stops_and_leaves_no_cache(client: Client, tiling: dict[str, Any]) -> None:
    client.forget()
    before = [live_tensors(client, use) for use in (1, 2)]
    assert before[0] == before[1]
    graph = Graph()
    node, _ = recipes.decoded(graph, samples=graph.make(latent=[1, 16, 200, 14, 14]), **tiling)
    graph.hash([node, 0])
    cancelled = cancel_while_decoding(client, graph, node)
    assert (cancelled.event, cancelled.node) == ("execution_interrupted", node)
    assert cancelled.last_step < 400  # of 797 frames
    assert live_tensors(client, 3) == before[0]
