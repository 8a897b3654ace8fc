"""The streaming decoder on CUDA against the stock one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.test_decode import EVERY_VAE, stock

LARGEST = {"float32": 2e-5, "float16": 2**-8, "bfloat16": 2**-5}  # difference of pixels from 0 to 1
LATENTS, GRID = (1, 2, 9), (5, 31)
TILES = {"tiling": "tiles", "tiling__rows": 1, "tiling__columns": 2}


@EVERY_VAE
def test_pictures_are_those_of_the_stock_decoder(
    client: Client, dtype_of: Callable[[str], str], vae: Any, channels: int
) -> None:
    """whole frames are VAEDecode's bit for bit, other plans differ by the rounding of the computed type"""
    graph = Graph()
    loaded, saves = vae(graph), []
    for latents in LATENTS:
        inputs = {"samples": graph.make(latent=[1, channels, latents, *GRID]), "vae": loaded}
        plans = ({"tiling": "whole frame"}, {"tiling": "auto"}, TILES)
        ours = [recipes.decoded(graph, **inputs, **plan) for plan in plans]
        saves.append([graph.save(images) for images in (stock(graph, **inputs), *ours)])
    run = client.run(graph)
    limit = LARGEST[dtype_of("VAE load device")]
    for latents, nodes in zip(LATENTS, saves, strict=True):
        expected, whole, *others = map(run.saved, nodes)
        assert expected.array.shape[0] == 4 * latents - 3
        assert whole == expected
        assert max(np.abs(other.array - expected.array).max() for other in others) <= limit
