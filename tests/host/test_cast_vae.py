"""The cast's autoencoder behind the stock nodes is the one that was trained."""

from __future__ import annotations

import numpy as np
import safetensors.torch
import torch

from demo.trained import WEIGHTS
from demo.training import vae
from demo.training.vae_network import ClipAutoencoder
from tests.host.live import Client, Graph


def test_stock_nodes_encode_and_decode_with_it_as_its_training_does(client: Client) -> None:
    weights = safetensors.torch.load_file(WEIGHTS / vae.FILE)
    network = ClipAutoencoder(vae.WIDTH).requires_grad_(False)
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    graph = Graph()
    loaded = graph.add("VAELoader", vae_name=vae.FILE)[0]
    pictures = graph.make(tensor=[9, 48, 64, 3], fill="unit")
    latent = graph.add("VAEEncode", pixels=pictures, vae=loaded)[0]
    decoded = graph.add("VAEDecode", samples=latent, vae=loaded)[0]
    given, encoded, shown = (saved.array for saved in client.values(graph, [pictures, latent, decoded]))
    clip = torch.from_numpy(given).movedim(-1, 0)[None] * 2 - 1  # 1 3 f h w
    latents = network.encode(clip)
    np.testing.assert_allclose(encoded, latents.numpy(), rtol=0, atol=1e-4)
    frames = (network.decode(latents)[0].movedim(0, -1) / 2 + 0.5).clamp(0, 1)
    np.testing.assert_allclose(shown, frames.numpy(), rtol=0, atol=1e-4)
