"""The live loader takes the file that a training writes, and ID Lock acts with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from demo.miniature import wan
from devtools.kept_fit import write_tensors
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph
from wan_core.training.lite import LiteSize, lite_adapter, lite_file


def test_the_file_of_a_training_loads_and_acts(client: Client, live_host: HostServer, models_dir: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    network = lite_adapter(LiteSize(4, 32, 64, 1), width_d=wan.WIDTH, blocks=wan.BLOCKS, generator=draw)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=draw)
    space = hashlib.sha256((models_dir / "face_recognition" / recipes.ENCODER).read_bytes()).hexdigest()
    file = lite_file(network.state_dict(), space_sha256=space, dtype=torch.float16)
    write_tensors(live_host.base_dir / "models" / "wan_id_adapters" / "trained.safetensors", *file)
    graph = Graph()
    plain = recipes.model(graph, recipes.LOW)
    adapter = recipes.adapter(graph, ip_layers="trained.safetensors", resampler="none")
    samples = [recipes.stock_sample(graph, model) for model in (plain, recipes.locked(graph, plain, adapter=adapter))]
    without, with_it = (saved.arrays["/samples"] for saved in client.values(graph, samples))
    assert np.abs(without - with_it).max() > 1e-2
