"""The host's own class: a training computes in it what ID Lock does, and its gradients are slopes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from demo.miniature.wan import config
from demo.training.fp8 import scaled_fp8
from devtools.host_modules import host_module
from devtools.kept_fit import write_tensors
from wan_core.adapters import AdapterFile, LockSettings, TargetParams, load_adapter, make_lock
from wan_core.adapters.adapter import AdapterNetwork
from wan_core.adapters.inject import INJECTION, IdentityInjection
from wan_core.adapters.kv_cache import KvCache
from wan_core.adapters.passes import RUN, LockedRun, RunFacts
from wan_core.training.lite import LiteSize, lite_adapter, lite_file
from wan_core.training.locked_pass import FrozenExpert, locked_velocity

ROUNDING = 2e-5  # of a velocity of size 2
STEP = 0.02  # of a finite difference, along the gradient
SIGMA = torch.tensor([0.3, 0.7, 0.5])


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, WEIGHTS = draw(3, 16, 2, 8, 8, seed=1), draw(3, 16, 2, 8, 8, seed=4)
TEXT, Z = draw(3, 512, 64, seed=2), nn.functional.normalize(draw(3, 1, 512, seed=3), dim=-1)
DROPPED = 2  # the row whose vector is zero: it gets what a negative prompt gets
Z[DROPPED] = 0


@pytest.fixture(scope="module", params=["fp32", "scaled fp8"])
def wan(request: pytest.FixtureRequest, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The miniature low-noise expert."""
    file = models_dir / "diffusion_models" / "mini_t2v_low.safetensors"
    if request.param == "scaled fp8":
        weights, file = safetensors.torch.load_file(file), tmp_path_factory.mktemp("fp8") / "low.safetensors"
        write_tensors(file, scaled_fp8(weights), config(speech=False))
    model = host_module("comfy.sd").load_diffusion_model(str(file), disable_dynamic=True)
    host_module("comfy.model_management").load_models_gpu([model], force_full_load=True)
    return model.model.diffusion_model.requires_grad_(False)


@pytest.fixture
def network(wan: Any) -> AdapterNetwork:
    size, generator = LiteSize(4, 32, 64, 1), torch.Generator().manual_seed(0)
    made = lite_adapter(size, width_d=wan.dim, blocks=len(wan.blocks), generator=generator)
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return made


def by_id_lock(wan: Any, network: AdapterNetwork, row: int) -> Tensor:
    """One row with the wrapper that the node hangs into a model, of the file that the training would write."""
    tensors, metadata = lite_file(network.state_dict(), space_sha256="ab", dtype=torch.float32)
    files = {"ip_layers": AdapterFile("trained", tensors, metadata)}
    adapter = load_adapter(files, content_sha256="", operations=nn, make_patcher=lambda network: None)
    space = SimpleNamespace(name="r", sha256="ab", family="IR-SE")
    person = SimpleNamespace(
        embeddings=Z[row % DROPPED], reference_crop=None, portrait=None, space=space, content_sha256=""
    )
    model = TargetParams("comfy.ldm.wan.model.WanModel", wan.dim, len(wan.blocks), 64, None)
    lock = make_lock(LockSettings(1.0, 0.0, 1.0, "all"), person, adapter, model).lock
    facts = RunFacts(frozenset("p" if row == DROPPED else ()), lambda: 0, lambda percent: 1 - percent, (2, 8, 8))
    injection = IdentityInjection((lock,), KvCache(1 << 20, 1 << 20), "IDLock")
    x, sigma, text = (part[row : row + 1] for part in (X, SIGMA, TEXT))
    options = {RUN: LockedRun(facts), "sigmas": sigma, "uuids": ["p"]}
    options |= {"wrappers": {"diffusion_model": {INJECTION: [injection]}}}
    return wan(x, sigma * 1000, text, None, None, options).detach()


def trained(wan: Any, network: AdapterNetwork, *, has_checkpoints: bool) -> Tensor:
    expert = FrozenExpert(wan, torch.float32, has_checkpoints=has_checkpoints)
    return locked_velocity(expert, network, Z, X, SIGMA, TEXT)


@pytest.mark.parametrize("has_checkpoints", [False, True])
def test_a_training_computes_what_id_lock_does(wan: Any, network: AdapterNetwork, has_checkpoints: bool) -> None:
    found = trained(wan, network, has_checkpoints=has_checkpoints).detach()
    plain = wan(X, SIGMA * 1000, TEXT, None, None, {})
    assert (found - torch.cat([by_id_lock(wan, network, row) for row in range(3)])).abs().max() < ROUNDING
    assert (found - plain).abs().max() > 0.1


@pytest.mark.parametrize("has_checkpoints", [False, True])
def test_gradients_are_slopes(wan: Any, network: AdapterNetwork, has_checkpoints: bool) -> None:
    def score() -> Tensor:
        return (trained(wan, network, has_checkpoints=has_checkpoints) * WEIGHTS).sum()

    score().backward()
    for name in ("ip.layers.0.to_v_ip.weight", "ip.layers.2.to_k_ip.weight", "resampler.proj_out.weight"):
        parameter = network.get_parameter(name)
        length = parameter.grad.norm()
        sums = []
        for step in (STEP, -2 * STEP):
            parameter.data += step * parameter.grad / length
            sums.append(score().item())
        parameter.data += STEP * parameter.grad / length
        assert length.item() == pytest.approx((sums[0] - sums[1]) / (2 * STEP), rel=0.02)
