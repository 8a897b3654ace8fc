"""Stand-In's terms, Lynx's keys and values: against the published formulas, one matrix product at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from demo.miniature import adapters
from tests.unit.adapters.adapter_files import FULL, LITE, REF, STAND_IN, load, selected, weights
from wan_core.adapters.adapter_files import load_adapter
from wan_core.adapters.lynx import KEY_EPS, rms_normalise

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("layer", ["q", "k", "v"])
def test_a_stand_in_term_is_up_of_down_without_a_scale(layer: str, block: int) -> None:
    file, x = weights(adapters.stand_in), noise(2, 5, 96)
    down, up = (file[f"blocks.{block}.self_attn.{layer}_loras.{part}.weight"] for part in ("down", "up"))
    found = load(selected(STAND_IN)).network.stand_in.layers[str(block)](x)["qkv".index(layer)]
    torch.testing.assert_close(found, torch.einsum("bnd,rd,er->bne", x, down, up), **TOLERANCE)


KIND_BLOCKS = [("lite", 0), ("lite", 2), *((kind, block) for kind in ("full", "ref") for block in range(4))]


@pytest.mark.parametrize(("kind", "block"), KIND_BLOCKS)
def test_keys_and_values_are_two_products_of_the_tokens_and_behind_them_the_registers(kind: str, block: int) -> None:
    tables, number = {"lite": LITE, "full": FULL, "ref": REF}[kind], block // 2 if kind == "lite" else block
    network, suffix = load(selected(tables)).network, "ref" if kind == "ref" else "ip"
    part, file = getattr(network, suffix), weights(tables[f"{suffix}_layers"])
    x = noise(2, 9, 80 if kind == "lite" else 96)
    seen = torch.cat((x, file[f"{number}.registers"].expand(2, -1, -1)), dim=1) if kind == "full" else x
    for name, found in zip("kv", part.layers[str(block)](x), strict=True):
        weight, bias = file[f"{number}.to_{name}_{suffix}.weight"], file.get(f"{number}.to_{name}_{suffix}.bias", 0.0)
        torch.testing.assert_close(found, seen @ weight.T + bias, **TOLERANCE)


def test_normalised_keys_are_divided_by_their_root_mean_square() -> None:
    k = noise(2, 5, 96) * 7
    wanted = torch.stack([row / (row.square().sum() / 96 + 1e-5) ** 0.5 for row in k.flatten(0, 1)])
    torch.testing.assert_close(rms_normalise(k, KEY_EPS).flatten(0, 1), wanted, **TOLERANCE)


class Cast:
    """Layers that compute in the type of their input, whatever their weights are stored in, as the host's do."""

    class Linear(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.weight.to(x), None if self.bias is None else self.bias.to(x))

    class LayerNorm(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.layer_norm(x, self.normalized_shape, self.weight.to(x), self.bias.to(x), self.eps)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("asked", [torch.float32, torch.bfloat16])
def test_parts_compute_in_the_type_of_their_input_whatever_they_are_stored_in(
    stored: torch.dtype, asked: torch.dtype
) -> None:
    files = selected(FULL, lambda state_dict: {key: tensor.to(stored) for key, tensor in state_dict.items()})
    network = load_adapter(files, content_sha256="", operations=Cast, make_patcher=id).network
    exact = {key: t.to(stored).float() for table in FULL.values() for key, t in weights(table).items()}
    x = noise(1, 3, 96).to(asked)
    k, _ = network.ip.layers["2"](x)
    seen = torch.cat((x.float(), exact["2.registers"]), dim=1)
    near = TOLERANCE if asked is torch.float32 else {"atol": 0.1, "rtol": 0.05}
    torch.testing.assert_close(k.float(), seen @ exact["2.to_k_ip.weight"].T + exact["2.to_k_ip.bias"], **near)
    tokens = network.resampler(noise(2, 1, 512))
    assert (k.dtype, tokens.dtype) == (asked, torch.float32)
    assert tokens.isfinite().all()
