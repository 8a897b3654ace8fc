from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wan_core.errors import InputError
from wan_core.identity.encode import agreement, embed, merge
from wan_core.identity.encoder import IrBackbone, IrShape, IrUnit

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> IrBackbone:
    torch.manual_seed(0)
    return IrBackbone(IrShape(4, (IrUnit(4, 4, 2, 2), IrUnit(4, 8, 2, 2)), 512), operations=nn).eval()


def crops(count: int = 2) -> Tensor:
    return torch.rand(count, 112, 112, 3, generator=torch.Generator().manual_seed(5))


def at_degrees(*degrees: float) -> Tensor:
    """Unit vectors (k 512) in one plane."""
    angles = torch.deg2rad(torch.tensor(degrees))
    vectors = torch.zeros(len(degrees), 512)
    vectors[:, 0], vectors[:, 1] = angles.cos(), angles.sin()
    return vectors


@torch.no_grad()
def test_the_network_sees_bgr_from_minus_one_to_one(network: IrBackbone) -> None:
    rgb = crops(1)
    bgr = torch.stack((rgb[..., 2], rgb[..., 1], rgb[..., 0]), dim=1)  # 1 3 112 112
    expected = network((bgr - 0.5) / 0.5)[0]
    found = embed(network, rgb, CPU)
    torch.testing.assert_close(found.unit[0], expected / expected.square().sum().sqrt())
    assert found.norms[0] == pytest.approx(expected.square().sum().sqrt().item())


@torch.no_grad()
def test_swapped_channels_change_the_vector(network: IrBackbone) -> None:
    straight, swapped = embed(network, crops(1), CPU).unit[0], embed(network, crops(1).flip(-1), CPU).unit[0]
    assert torch.dot(straight, swapped) < 0.999


@torch.no_grad()
def test_vectors_are_fp32_of_length_one_and_do_not_depend_on_the_batch(network: IrBackbone) -> None:
    faces, seen = crops(3), []
    before = faces.clone()
    both = embed(network, faces, CPU, on_face=seen.append).unit
    assert both.dtype == torch.float32
    torch.testing.assert_close(both.norm(dim=-1), torch.ones(3))
    assert torch.equal(both[1:2], embed(network, faces[1:2], CPU).unit)
    assert torch.equal(faces, before)
    assert seen == [1, 2, 3]


@torch.no_grad()
def test_a_dead_network_is_refused() -> None:
    with pytest.raises(InputError, match="encoder: found an embedding of length 0 for image 1"):
        embed(lambda x: torch.zeros(1, 512), crops(1), CPU)
    with pytest.raises(InputError, match="length nan for image 1"):
        embed(lambda x: torch.full((1, 512), float("nan")), crops(1), CPU)


def test_agreement_is_the_cosine_to_the_mean_of_the_others() -> None:
    assert agreement(at_degrees(30)) == [1.0]
    assert agreement(at_degrees(0, 60)) == pytest.approx([0.5, 0.5], abs=1e-6)
    # the others of 0 degrees are 20 and 40: their mean points to 30
    expected = [torch.cos(torch.deg2rad(torch.tensor(angle))).item() for angle in (30.0, 0.0, 30.0)]
    assert agreement(at_degrees(0, 20, 40)) == pytest.approx(expected, abs=1e-6)


def test_the_merged_vector_bisects_two() -> None:
    torch.testing.assert_close(merge(at_degrees(10, 50)), at_degrees(30)[0])
    torch.testing.assert_close(merge(at_degrees(10)), at_degrees(10)[0])


def test_references_of_two_persons_are_refused_by_number() -> None:
    with pytest.raises(InputError, match=r"different persons: image 3 \(cos 0\.09\); wanted a cos of 0\.35 or more"):
        merge(at_degrees(0, 10, 90))
    with pytest.raises(InputError, match=r"image 1 \(cos 0\.17\), image 2 \(cos 0\.17\)"):
        merge(at_degrees(0, 80))
