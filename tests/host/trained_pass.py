"""Asks the host's own class, in this process, whether a training computes what ID Lock does: figures as JSON.

Usage: python -m tests.host.trained_pass EXPERT
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from devtools.host_modules import host_module
from wan_core.adapters import AdapterFile, LockSettings, TargetParams, load_adapter, make_lock
from wan_core.adapters.adapter import AdapterNetwork
from wan_core.adapters.inject import INJECTION, IdentityInjection
from wan_core.adapters.kv_cache import KvCache
from wan_core.adapters.passes import RUN, LockedRun, RunFacts
from wan_core.training.lite import LiteSize, lite_adapter, lite_file
from wan_core.training.locked_pass import FrozenExpert, locked_velocity

STEP = 0.01  # of a finite difference
DRAW = torch.Generator().manual_seed(1)


def by_id_lock(wan: Any, network: AdapterNetwork, z: Tensor, x: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """One row with the wrapper that the node hangs into a model, of the file that the training would write."""
    tensors, metadata = lite_file(network.state_dict(), space_sha256="ab", dtype=torch.float32)
    files = {"ip_layers": AdapterFile("trained", tensors, metadata)}
    adapter = load_adapter(files, content_sha256="", operations=nn, make_patcher=lambda network: None)
    space = SimpleNamespace(name="r", sha256="ab", family="IR-SE")
    person = SimpleNamespace(embeddings=z, reference_crop=None, portrait=None, space=space, content_sha256="")
    model = TargetParams("comfy.ldm.wan.model.WanModel", wan.dim, len(wan.blocks), 64, None)
    lock = make_lock(LockSettings(1.0, 0.0, 1.0, "all"), person, adapter, model).lock
    facts = RunFacts(frozenset(), lambda: 0, lambda percent: 1 - percent, tuple(x.shape[2:]))
    injection = IdentityInjection((lock,), KvCache(1 << 20, 1 << 20), "IDLock")
    options = {RUN: LockedRun(facts), "sigmas": sigma, "uuids": ["p"]}
    return wan(x, sigma * 1000, text, None, None, options | {"wrappers": {"diffusion_model": {INJECTION: [injection]}}})


def figures(file: str) -> dict[str, float]:
    """Largest differences between the two, with and without blocks that are computed twice."""
    model = host_module("comfy.sd").load_diffusion_model(file, disable_dynamic=True)
    host_module("comfy.model_management").load_models_gpu([model], force_full_load=True)
    wan = model.model.diffusion_model.requires_grad_(False)
    network = lite_adapter(LiteSize(4, 32, 64, 1), width_d=wan.dim, blocks=len(wan.blocks), generator=DRAW)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=DRAW)
    shapes = ((2, 16, 2, 8, 8), (2, 512, 64), (2, 1, 512), (2, 16, 2, 8, 8))
    x, text, z, weights = (torch.randn(shape, generator=DRAW) for shape in shapes)
    z, sigma = nn.functional.normalize(z, dim=-1), torch.tensor([0.3, 0.7])

    def score(*, has_checkpoints: bool) -> tuple[Tensor, list[Tensor]]:
        expert = FrozenExpert(wan, torch.float32, has_checkpoints=has_checkpoints)
        velocity = locked_velocity(expert, network, z, x, sigma, text)
        return velocity, list(torch.autograd.grad((velocity * weights).sum(), list(network.parameters())))

    velocity, gradients = score(has_checkpoints=False)
    again, twice = score(has_checkpoints=True)
    rows = [slice(0, 1), slice(1, 2)]
    locked = torch.cat([by_id_lock(wan, network, z[r][0], x[r], sigma[r], text[r]) for r in rows]).detach()
    plain = wan(x, sigma * 1000, text, None, None, {})
    values = dict(network.named_parameters())["ip.layers.2.to_v_ip.weight"]
    place = [name for name, _ in network.named_parameters()].index("ip.layers.2.to_v_ip.weight")
    way, sums = torch.randn(values.shape, generator=DRAW), []
    for step in (STEP, -2 * STEP):
        values.data += step * way
        sums.append(float((score(has_checkpoints=False)[0] * weights).sum()))
    slope = (sums[0] - sums[1]) / (2 * STEP)
    return {
        "from_lock": float((velocity - locked).abs().max()),
        "from_plain": float((velocity - plain).abs().max()),
        "from_checkpoints": float((velocity - again).abs().max()),
        "gradients": max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(gradients, twice, strict=True)),
        "slope": abs(float((gradients[place] * way).sum()) / slope - 1),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures(sys.argv[1])))
