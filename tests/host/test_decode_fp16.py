"""A VAE in fp16 whose numbers grow too large: everything is decoded again in fp32, and that is said."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import numpy as np
import pytest

from devtools import client as api
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, Node, prepare_base

GOOD, LARGE = [1, 16, 3, 4, 6], [1, 16, 2, 4, 6]
FRAMES = 17
FIRST_BAD_FRAME = 9  # of the fourth latent frame
TENFOLDS = 5  # beyond the largest number in fp16, 65504
NOTE = f"note: frame {FIRST_BAD_FRAME} was not finite in fp16, so everything was decoded again in fp32"
LEVEL = 1 / 255


@pytest.fixture(scope="module")
def half_host(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path, host_dir: Path, boots: list[HostServer]
) -> Iterator[HostServer]:
    base = prepare_base(tmp_path_factory.mktemp("half"), models_dir)
    with HostServer(sys.executable, host_dir, base, extra_args=["--fp16-vae"]) as server:
        boots.append(server)
        yield server


def overflowing(graph: Graph) -> recipes.Link:
    """A latent whose last frames are too large for fp16."""
    large = graph.make(latent=LARGE)
    for _ in range(TENFOLDS):
        large = graph.add("LatentMultiply", samples=large, multiplier=10.0)[0]
    return graph.add("LatentConcat", samples1=graph.make(latent=GOOD), samples2=large, dim="t")[0]


def test_the_overflow_is_real_and_an_fp32_host_has_none(half_host: HostServer, client: Client) -> None:
    for each, is_finite in ((Client(half_host.url), False), (client, True)):
        graph = Graph()
        inputs = {"samples": overflowing(graph), "vae": recipes.vae21(graph)}
        images = each.value(graph, graph.add("VAEDecode", **inputs)[0]).array
        assert np.isfinite(images).all() == is_finite


@pytest.mark.parametrize("tiling", ["auto", "whole frame", "tiles"])
def test_the_images_are_those_of_an_fp32_host(half_host: HostServer, client: Client, tiling: str) -> None:
    tiles = {"tiling__rows": 1, "tiling__columns": 2} if tiling == "tiles" else {}
    found = []
    for each in (Client(half_host.url), client):
        graph = Graph()
        node, _ = recipes.decoded(graph, samples=overflowing(graph), tiling=tiling, **tiles)
        saves = [graph.save([node, slot]) for slot in (0, 1)]
        run = each.run(graph)
        found.append((run.saved(saves[0]).array, run.saved(saves[1]).tree[""].splitlines()))
    (images, report), (expected, plain) = found
    assert NOTE in report and NOTE not in plain
    assert images.shape == expected.shape == (FRAMES, 32, 48, 3)
    assert np.abs(images - expected).max() < 2 * LEVEL  # the weights are rounded to fp16


def test_the_film_holds_every_frame_once(half_host: HostServer, client: Client) -> None:
    """Frames of the good part were in the first file already, which is gone."""
    folder, found = uuid4().hex, []
    for each in (Client(half_host.url), client):
        graph = Graph()
        inputs: dict[str, Any] = {"samples": overflowing(graph), "codec": "ffv1", "filename_prefix": f"{folder}/shot"}
        node = Node(recipes.decoded_to_video(graph, **inputs)[0])
        report = graph.save(node[3])
        run = each.run(graph)
        (shown,) = run.output(node)["images"]
        with av.open(io.BytesIO(api.view(each.url, shown))) as container:
            frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        found.append((np.stack(frames), run.saved(report).tree[""].splitlines()))
    (frames, report), (expected, plain) = found
    assert NOTE in report and NOTE not in plain
    assert frames.shape == expected.shape == (FRAMES, 32, 48, 3)
    assert np.abs(frames - expected).max() <= 2
    assert expected.std() > 5
    assert [path.name for path in (half_host.base_dir / "output" / folder).iterdir()] == ["shot_00001_.mkv"]


def test_the_vae_computes_in_fp16_as_before_afterwards(half_host: HostServer) -> None:
    client, graph = Client(half_host.url), Graph()
    loaded = recipes.vae21(graph)
    spoilt = graph.hash(recipes.decoded(graph, samples=overflowing(graph), vae=loaded))
    inputs = {"samples": graph.make(latent=GOOD), "vae": loaded}
    ours = graph.save(recipes.decoded(graph, **inputs, tiling="whole frame"))
    stock = graph.save(graph.add("VAEDecode", **inputs)[0])
    run = client.run(graph)
    assert run.digest(spoilt)
    assert run.saved(ours) == run.saved(stock)
    assert switched_on(client, loaded, graph, use="good") == 0


def switched_on(client: Client, loaded: recipes.Link, graph: Graph, *, use: str) -> int:
    """How many layers of the VAE, which the host has in its cache, are left switched to cast their weights."""
    probe = graph.add("WanCastProbeSwitches", vae=loaded, after=graph.make(value=use))
    run = client.run(graph)
    assert loaded[0] in run.cached_nodes()
    assert run.output(probe)["layers"][0] > 60
    return run.output(probe)["on"][0]


def test_what_fp32_can_not_decode_either_is_an_error(half_host: HostServer) -> None:
    client, graph, folder = Client(half_host.url), Graph(), uuid4().hex
    loaded = recipes.vae21(graph)
    faulty = graph.add("WanCastProbeFaultyVae", vae=loaded, fault="nan", from_call=1, pause_s=0.0)[0]
    node, _ = recipes.decoded_to_video(graph, vae=faulty, filename_prefix=f"{folder}/shot")
    assert "vae: found NaN or infinite pixels in frame 0 (counted from 0)" in client.fails(graph).message
    assert list((half_host.base_dir / "output" / folder).iterdir()) == []
    del graph.prompt[node]
    assert switched_on(client, loaded, graph, use="bad") == 0
