from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tests.unit.lipsync.samples import random_weights
from wan_core.errors import InputError
from wan_core.lipsync import SyncNet, build_syncnet
from wan_core.lipsync.network import PUBLIC_PARAMS, SyncNetParams, detect


def test_full_size_net_has_the_public_keys_and_parameters() -> None:
    network = SyncNet(PUBLIC_PARAMS, operations=nn, device=torch.device("meta"))
    assert len(network.state_dict()) == 102
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_631_616


@pytest.mark.parametrize("first", [1, 4])
@pytest.mark.parametrize("last", [2, 8])
@pytest.mark.parametrize(("hidden", "embedding"), [(3, 32), (16, 1)])
def test_any_widths_survive_save_detect_and_rebuild(
    tmp_path: Path, first: int, last: int, hidden: int, embedding: int
) -> None:
    params = SyncNetParams((first, 2, 3, 2, 3, last), (last, 3, 2, 3, 2, first), hidden, hidden + 1, embedding)
    save_file(random_weights(params), tmp_path / "net.safetensors")
    state_dict = load_file(tmp_path / "net.safetensors")
    assert detect(state_dict, file_name="net") == params
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state_dict.items()}
    for weights in (state_dict, halves):
        network = build_syncnet(weights, file_name="net", operations=nn)
        assert all(torch.equal(value, weights[key].to(value)) for key, value in network.state_dict().items())
        assert {value.dtype for value in network.parameters()} == {torch.float32} and not network.training


def normalised(weights: dict[str, Tensor], layer: str, x: Tensor) -> Tensor:
    mean, variance = weights[f"{layer}.running_mean"], weights[f"{layer}.running_var"]
    return F.relu(F.batch_norm(x, mean, variance, weights[f"{layer}.weight"], weights[f"{layer}.bias"], eps=1e-5))


def fully_connected(weights: dict[str, Tensor], net: str, x: Tensor) -> Tensor:
    x = F.linear(x.flatten(1), weights[f"{net}.0.weight"], weights[f"{net}.0.bias"])
    return F.linear(normalised(weights, f"{net}.1", x), weights[f"{net}.3.weight"], weights[f"{net}.3.bias"])


def heard(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The audio tower of SyncNet v2, one operation after the other: n 1 13 20 -> n d."""

    def conv(x: Tensor, index: int, padding: int = 1) -> Tensor:
        layer = f"netcnnaud.{index}"
        x = F.conv2d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], padding=padding)
        return normalised(weights, f"netcnnaud.{index + 1}", x)

    x = F.max_pool2d(conv(x, 0), kernel_size=1, stride=1)  # n c 13 20
    x = F.max_pool2d(conv(x, 4), kernel_size=3, stride=(1, 2))  # n c 11 9
    x = F.max_pool2d(conv(conv(conv(x, 8), 11), 14), kernel_size=3, stride=2)  # n c 5 4
    return fully_connected(weights, "netfcaud", conv(x, 18, padding=0))


def seen(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The lip tower of SyncNet v2, one operation after the other: n 3 5 224 224 -> n d."""

    def conv(x: Tensor, index: int, stride: int = 1, padding: int = 1) -> Tensor:
        layer, across = f"netcnnlip.{index}", {"stride": (1, stride, stride), "padding": (0, padding, padding)}
        x = F.conv3d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], **across)
        return normalised(weights, f"netcnnlip.{index + 1}", x)

    def pool(x: Tensor, padding: int = 0) -> Tensor:
        return F.max_pool3d(x, kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, padding, padding))

    x = pool(conv(x, 0, stride=2, padding=0))  # n c 1 54 54
    x = pool(conv(x, 4, stride=2), padding=1)  # n c 1 13 13
    x = pool(conv(conv(conv(x, 8), 11), 14))  # n c 1 6 6
    return fully_connected(weights, "netfclip", conv(x, 18, padding=0))


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1])
def test_both_towers_equal_syncnet_v2_written_out(seed: int) -> None:
    params = SyncNetParams((6, 7, 8, 9, 10, 11), (6, 7, 8, 9, 10, 11), 12, 13, 14)
    weights = {key: value.double() for key, value in random_weights(params, seed).items()}
    network = build_syncnet(random_weights(params, seed), file_name="net", operations=nn).double()
    generator = torch.Generator().manual_seed(seed)
    cepstra = torch.randn(4, 1, 13, 20, generator=generator, dtype=torch.float64) * 10
    frames = torch.rand(1, 3, 7, 224, 224, generator=generator, dtype=torch.float64) * 255
    windows = torch.cat([frames[:, :, start : start + 5] for start in range(3)])  # n 3 5 224 224
    sounds, lips = heard(weights, cepstra), seen(weights, windows)  # n d, n d
    assert sounds.std(dim=0).min() > 0.01 and lips.std(dim=0).min() > 0.01  # no part of the towers is dead
    assert torch.allclose(network.hear(cepstra), sounds, rtol=0, atol=1e-9)
    assert torch.allclose(network.watch(frames), lips, rtol=0, atol=1e-9)
    alone = torch.cat([network.watch(window[None]) for window in windows])
    assert torch.allclose(alone, lips, rtol=0, atol=1e-9)


FIRST = "(first: 'netcnnaud.0.bias')"
NO_LIPS = {key: value for key, value in random_weights().items() if not key.startswith("netfclip")}


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ({"weight": torch.zeros(3)}, f"102 of 102 keys missing {FIRST} and 1 unknown keys (first: 'weight')"),
        ({}, f"102 of 102 keys missing {FIRST}"),
        (NO_LIPS, "9 of 102 keys missing (first: 'netfclip.0.bias')"),
        (
            random_weights() | {"netcnnaud.0.bias": torch.zeros(2, dtype=torch.int8)},
            "netcnnaud.0.bias of type int8",
        ),
        (random_weights() | {"step": torch.zeros(())}, "1 unknown keys (first: 'step')"),
        *(
            (random_weights() | {key: torch.zeros(shape)}, f"{key} of shape {shape} instead of {wanted}")
            for key, shape, wanted in (
                ("netcnnaud.0.weight", [2, 1, 5, 5], [2, 1, 3, 3]),
                ("netfcaud.0.weight", [], [1, 7]),
                ("netcnnlip.4.bias", [99], [4]),
            )
        ),
    ],
)
def test_a_file_that_is_not_syncnet_is_refused_by_its_keys(weights: dict[str, Tensor], found: str) -> None:
    with pytest.raises(InputError) as error:
        build_syncnet(weights, file_name="f.pt", operations=nn)
    fix = "Pick that file; models/syncnet is where it belongs."
    assert str(error.value) == f"weights: found 'f.pt' with {found}; wanted the weights of SyncNet v2. {fix}"
