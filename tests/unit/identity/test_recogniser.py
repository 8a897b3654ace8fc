from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from tests.unit.identity.some_inputs import noise, refused
from wan_core.identity.ir_network import IrBackbone, IrParams, IrUnitParams
from wan_core.identity.iresnet import EMBEDDED, OUTSIDE, Normalisation
from wan_core.identity.recogniser import Recogniser, embed, ir_recogniser, iresnet_recogniser
from wan_core.identity.record import Space


@pytest.fixture(scope="module")
def network() -> IrBackbone:
    torch.manual_seed(0)
    return IrBackbone(IrParams(4, (IrUnitParams(4, 4, 2, 2), IrUnitParams(4, 8, 2, 2)), 512), operations=nn).eval()


def crops(count: int) -> Tensor:
    return noise(count, 112, 112, 3, seed=5)


@torch.no_grad()
def test_a_network_of_the_ir_family_sees_bgr_from_minus_one_to_one(network: IrBackbone) -> None:
    rgb = crops(1)
    bgr = torch.stack((rgb[..., 2], rgb[..., 1], rgb[..., 0]), dim=1)  # 1 3 112 112
    expected = network((bgr - 0.5) / 0.5)[0]
    with ir_recogniser(network.state_dict(), name="a.pth", sha256="ab" * 32) as recogniser:
        found = embed(recogniser, rgb)
    assert (recogniser.space, recogniser.label) == (Space("a.pth", "ab" * 32, "IR-SE"), "IR-SE, 2 units")
    torch.testing.assert_close(found.unit[0], expected / expected.square().sum().sqrt())
    assert found.norms[0] == pytest.approx(expected.square().sum().sqrt().item())


def test_the_network_is_where_the_host_puts_it_while_the_block_runs(network: IrBackbone) -> None:
    steps: list[str] = []

    @contextmanager
    def on_device(built: nn.Module) -> Iterator[torch.device]:
        steps.append("loaded" if isinstance(built, IrBackbone) and not built.training else "another")
        yield torch.device("meta")
        steps.append("left")

    with ir_recogniser(network.state_dict(), name="a", sha256="b", on_device=on_device) as recogniser:
        with pytest.raises(RuntimeError, match="meta"):
            recogniser.embed_face(crops(1)[0])
        assert steps == ["loaded"]
    assert steps == ["loaded", "left"]


@pytest.mark.parametrize(("normalisation", "mean", "std"), [(OUTSIDE, 127.5, 127.5), (EMBEDDED, 0.0, 1.0)])
def test_an_iresnet_sees_rgb_less_its_mean_through_its_std(
    normalisation: Normalisation, mean: float, std: float
) -> None:
    seen: list[Tensor] = []

    def run(blob: Tensor) -> Tensor:
        seen.append(blob)
        return torch.ones(1, 512)

    rgb = crops(1)
    recogniser = iresnet_recogniser(run, normalisation, name="b.onnx", sha256="cd")
    embed(recogniser, rgb)
    torch.testing.assert_close(seen[0], (rgb[0].permute(2, 0, 1)[None] * 255 - mean) / std)
    assert seen[0].is_contiguous()
    assert (recogniser.space, recogniser.label) == (Space("b.onnx", "cd", "iResNet"), "iResNet, ONNX")


@torch.no_grad()
def test_vectors_are_fp32_of_length_one_and_do_not_depend_on_the_batch(network: IrBackbone) -> None:
    faces, told = crops(3), []
    before = faces.clone()
    with ir_recogniser(network.state_dict(), name="a", sha256="b") as recogniser:
        both = embed(recogniser, faces, on_face=told.append).unit
        assert torch.equal(both[1:2], embed(recogniser, faces[1:2]).unit)
    assert both.dtype == torch.float32
    torch.testing.assert_close(both.norm(dim=-1), torch.ones(3))
    assert torch.equal(faces, before)
    assert told == [1, 2, 3]


@pytest.mark.parametrize(("answer", "length"), [(torch.zeros, "0"), (lambda size: torch.zeros(size) / 0, "nan")])
def test_a_dead_network_is_refused(answer: Callable[[int], Tensor], length: str) -> None:
    dead = Recogniser(lambda crop: answer(512), Space("dead", "", "IR"), "IR")
    with refused("encoder", f"an embedding of length {length} for face 1", "finite embeddings"):
        embed(dead, crops(1))
