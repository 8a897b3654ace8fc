from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wan_core.errors import InputError
from wan_core.identity.encode import embed, ir_recogniser, iresnet_recogniser
from wan_core.identity.encoder import IrBackbone, IrShape, IrUnit
from wan_core.identity.iresnet import EMBEDDED, OUTSIDE

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> IrBackbone:
    torch.manual_seed(0)
    return IrBackbone(IrShape(4, (IrUnit(4, 4, 2, 2), IrUnit(4, 8, 2, 2)), 512), operations=nn).eval()


def crops(count: int = 2) -> Tensor:
    return torch.rand(count, 112, 112, 3, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def test_the_network_sees_bgr_from_minus_one_to_one(network: IrBackbone) -> None:
    rgb = crops(1)
    bgr = torch.stack((rgb[..., 2], rgb[..., 1], rgb[..., 0]), dim=1)  # 1 3 112 112
    expected = network((bgr - 0.5) / 0.5)[0]
    found = embed(ir_recogniser(network, CPU), rgb)
    torch.testing.assert_close(found.unit[0], expected / expected.square().sum().sqrt())
    assert found.norms[0] == pytest.approx(expected.square().sum().sqrt().item())


@torch.no_grad()
def test_swapped_channels_change_the_vector(network: IrBackbone) -> None:
    recognise = ir_recogniser(network, CPU)
    straight, swapped = embed(recognise, crops(1)).unit[0], embed(recognise, crops(1).flip(-1)).unit[0]
    assert torch.dot(straight, swapped) < 0.999


@pytest.mark.parametrize(("normalisation", "mean", "std"), [(OUTSIDE, 127.5, 127.5), (EMBEDDED, 0.0, 1.0)])
def test_an_iresnet_sees_rgb_less_its_mean_through_its_std(normalisation: object, mean: float, std: float) -> None:
    seen: list[Tensor] = []

    def run(blob: Tensor) -> Tensor:
        seen.append(blob)
        return torch.ones(1, 512)

    rgb = crops(1)
    embed(iresnet_recogniser(run, normalisation), rgb)
    expected = (rgb[0].permute(2, 0, 1)[None] * 255 - mean) / std
    torch.testing.assert_close(seen[0], expected)
    assert seen[0].is_contiguous()


@torch.no_grad()
def test_vectors_are_fp32_of_length_one_and_do_not_depend_on_the_batch(network: IrBackbone) -> None:
    faces, seen = crops(3), []
    before, recognise = faces.clone(), ir_recogniser(network, CPU)
    both = embed(recognise, faces, on_face=seen.append).unit
    assert both.dtype == torch.float32
    torch.testing.assert_close(both.norm(dim=-1), torch.ones(3))
    assert torch.equal(both[1:2], embed(recognise, faces[1:2]).unit)
    assert torch.equal(faces, before)
    assert seen == [1, 2, 3]


def test_a_dead_network_is_refused() -> None:
    with pytest.raises(InputError, match="encoder: found an embedding of length 0 for face 1"):
        embed(lambda crop: torch.zeros(512), crops(1))
    with pytest.raises(InputError, match="length nan for face 1"):
        embed(lambda crop: torch.full((512,), float("nan")), crops(1))
