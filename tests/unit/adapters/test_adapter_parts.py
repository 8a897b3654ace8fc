"""Stand-In's terms, Lynx's keys and values: against the published formulas, one matrix product at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from demo.miniature import adapters
from tests.unit.adapters.adapter_files import FULL, LITE, REF, STAND_IN, load, selected, weights
from wan_core.adapters.files import load_adapter
from wan_core.adapters.lynx import KEY_EPS, rms_normalise

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


class Cast:
    """Layers that compute in the type of their input, whatever their weights are stored in, as the host's do."""

    class Linear(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.weight.to(x), None if self.bias is None else self.bias.to(x))

    class LayerNorm(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.layer_norm(x, self.normalized_shape, self.weight.to(x), self.bias.to(x), self.eps)


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("layer", ["q", "k", "v"])
def test_a_stand_in_term_is_up_of_down_without_a_scale(layer: str, block: int) -> None:
    file, x = weights(adapters.stand_in), noise(2, 5, 96)
    down, up = (file[f"blocks.{block}.self_attn.{layer}_loras.{part}.weight"] for part in ("down", "up"))
    found = load(selected(STAND_IN)).network.stand_in.layers[str(block)](x)["qkv".index(layer)]
    torch.testing.assert_close(found, torch.einsum("bnd,rd,er->bne", x, down, up), **TOLERANCE)


@pytest.mark.parametrize("block", [0, 2])
def test_lite_keys_and_values_are_two_products(block: int) -> None:
    file, tokens = weights(adapters.lite_ip_layers), noise(2, 16, 80)
    ip = load(selected(LITE)).network.ip
    k, v = ip.layers[str(block)](tokens)
    torch.testing.assert_close(k, tokens @ file[f"{block // 2}.to_k_ip.weight"].T, **TOLERANCE)
    torch.testing.assert_close(v, tokens @ file[f"{block // 2}.to_v_ip.weight"].T, **TOLERANCE)
    assert not ip.is_full


@pytest.mark.parametrize("block", range(4))
def test_full_keys_and_values_are_those_of_the_tokens_and_behind_them_the_registers(block: int) -> None:
    file, tokens = weights(adapters.full_ip_layers), noise(3, 16, 96)
    ip = load(selected(FULL)).network.ip
    for name, found in zip(("to_k_ip", "to_v_ip"), ip.layers[str(block)](tokens), strict=True):
        weight, bias = file[f"{block}.{name}.weight"], file[f"{block}.{name}.bias"]
        assert found.shape == (3, 16 + 8, 96)
        torch.testing.assert_close(found[:, :16], tokens @ weight.T + bias, **TOLERANCE)
        for row in found[:, 16:]:
            torch.testing.assert_close(row, file[f"{block}.registers"][0] @ weight.T + bias, **TOLERANCE)
    assert ip.is_full


@pytest.mark.parametrize("block", range(4))
def test_reference_keys_and_values_are_two_products_with_bias(block: int) -> None:
    file, features = weights(adapters.ref_layers), noise(2, 9, 96)
    for name, found in zip(("k", "v"), load(selected(REF)).network.ref.layers[str(block)](features), strict=True):
        weight, bias = file[f"{block}.to_{name}_ref.weight"], file[f"{block}.to_{name}_ref.bias"]
        torch.testing.assert_close(found, features @ weight.T + bias, **TOLERANCE)


def test_normalised_keys_are_divided_by_their_root_mean_square() -> None:
    k = noise(2, 5, 96) * 7
    wanted = torch.stack([row / (row.square().sum() / 96 + 1e-5) ** 0.5 for row in k.flatten(0, 1)])
    torch.testing.assert_close(rms_normalise(k, KEY_EPS).flatten(0, 1), wanted, **TOLERANCE)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("asked", [torch.float32, torch.bfloat16])
def test_parts_compute_in_the_type_of_their_input_whatever_they_are_stored_in(
    stored: torch.dtype, asked: torch.dtype
) -> None:
    tables = FULL | REF | STAND_IN
    files = selected(tables, lambda state_dict: {key: tensor.to(stored) for key, tensor in state_dict.items()})
    network = load_adapter(files, content_sha256="", operations=Cast, make_patcher=id).network
    exact = {key: t.to(stored).float() for table in tables.values() for key, t in weights(table).items()}
    near = TOLERANCE if asked is torch.float32 else {"atol": 0.1, "rtol": 0.05}
    x = noise(1, 3, 96).to(asked)
    delta = network.stand_in.layers["1"](x)[2]
    k, _ = network.ip.layers["2"](x)
    _, v = network.ref.layers["3"](x)
    assert {delta.dtype, k.dtype, v.dtype} == {asked}
    low_rank = "blocks.1.self_attn.v_loras.{}.weight"
    wanted = x.float() @ exact[low_rank.format("down")].T @ exact[low_rank.format("up")].T
    torch.testing.assert_close(delta.float(), wanted, **near)
    both = torch.cat((x.float(), exact["2.registers"]), dim=1)
    torch.testing.assert_close(k.float(), both @ exact["2.to_k_ip.weight"].T + exact["2.to_k_ip.bias"], **near)
    torch.testing.assert_close(v.float(), x.float() @ exact["3.to_v_ref.weight"].T + exact["3.to_v_ref.bias"], **near)
    tokens = network.resampler(noise(2, 1, 512))
    assert tokens.dtype == torch.float32
    assert tokens.isfinite().all()
