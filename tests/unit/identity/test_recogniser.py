from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.unit.identity.some_inputs import ir_params, noise, refused
from wan_core.identity.ir_network import IrBackbone
from wan_core.identity.onnx_graph import OnnxParams
from wan_core.identity.recogniser import Recogniser, embed, ir_recogniser, iresnet_recogniser
from wan_core.identity.recogniser_file import EMBEDDED, OUTSIDE, normalisation_of, require_embedding, require_recogniser
from wan_core.identity.record import Space


@pytest.fixture(scope="module")
def network() -> IrBackbone:
    torch.manual_seed(0)
    return IrBackbone(ir_params((4, 8), (1, 1), squeezed_by=2, stem=4), operations=nn).eval()


def crops(count: int) -> Tensor:
    return noise(count, 112, 112, 3, seed=5)


@pytest.mark.parametrize(("is_tface", "order"), [(False, (2, 1, 0)), (True, (0, 1, 2))])
@torch.no_grad()
def test_an_ir_network_sees_the_channels_of_its_layout_from_minus_one_to_one(is_tface: bool, order: list[int]) -> None:
    network = IrBackbone(ir_params((4, 8), (1, 1), squeezed_by=0, stem=4, is_tface=is_tface), operations=nn).eval()
    rgb = crops(1)
    seen = torch.stack([rgb[..., channel] for channel in order], dim=1)  # 1 3 112 112
    with ir_recogniser(network.state_dict(), name="a", sha256="b") as recogniser:
        found = embed(recogniser, rgb).unit[0]
    torch.testing.assert_close(found, torch.nn.functional.normalize(network(seen * 2 - 1)[0], dim=0))


def test_the_network_runs_where_the_host_puts_it(network: IrBackbone) -> None:
    loaded: list[nn.Module] = []

    def on_device(built: nn.Module) -> AbstractContextManager[torch.device]:
        loaded.append(built)
        return nullcontext(torch.device("meta"))

    on_meta = ir_recogniser(network.state_dict(), name="", sha256="", on_device=on_device)
    with on_meta as recogniser, pytest.raises(RuntimeError, match="meta"):
        recogniser.embed_face(crops(1)[0])
    assert isinstance(loaded[0], IrBackbone)


def test_an_iresnet_sees_rgb_less_its_mean_through_its_std() -> None:
    seen, rgb = [], crops(1)

    def run(blob: Tensor) -> Tensor:
        seen.append(blob)
        return torch.ones(1, 512)

    for normalisation, mean, std in ((OUTSIDE, 127.5, 127.5), (EMBEDDED, 0.0, 1.0)):
        recogniser = iresnet_recogniser(run, normalisation, name="b.onnx", sha256="cd")
        embed(recogniser, rgb)
        torch.testing.assert_close(seen[-1], (rgb[0].permute(2, 0, 1)[None] * 255 - mean) / std)
        assert seen[-1].is_contiguous()
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


def test_a_dead_network_is_refused() -> None:
    for value, length in ((0.0, "0"), (float("nan"), "nan")):
        dead = Recogniser(lambda crop, value=value: torch.full((512,), value), Space("dead", "", "IR"), "IR")
        with refused("encoder", f"an embedding of length {length} from 'dead' for face 1", "finite embeddings"):
            embed(dead, crops(1))


# What an ONNX file must be, and how it wants its pictures

R50 = OnnxParams(
    inputs=((None, 3, 112, 112),),
    outputs=((1, 512),),
    first_nodes=("Conv_0", "PRelu_1", "BatchNorm_2"),
    input_types=("float32",),
    output_types=("float32",),
)


def test_the_first_nodes_say_whether_the_graph_normalises() -> None:
    for nodes in (("Sub_0", "Mul_1", "Conv_2"), ("_minusscalar0", "_mulscalar0", "conv0")):
        assert normalisation_of(replace(R50, first_nodes=nodes)) == EMBEDDED
    for nodes in (("Conv_0", "BatchNormalization_1"), ("Sub_0", "Conv_1"), ("Mul_0", "Conv_1"), ()):
        assert normalisation_of(replace(R50, first_nodes=nodes)) == OUTSIDE


def test_the_role_of_a_network() -> None:
    sizes = {112: "recognition", 96: "genderage", 192: "landmarks", 100: "unknown", 224: "recognition"}
    for size, role in sizes.items():
        assert replace(R50, inputs=((1, 3, size, size),)).role == role
    assert replace(R50, inputs=((None, 3, None, None),), outputs=((None, 1),) * 9).role == "detection"
    for inputs in (((1, 3, 112, 128),), ((1, 3, 128, 128), (1, 512)), (), ((None, None),)):
        assert replace(R50, inputs=inputs).role == "unknown"


WANTED = "a recogniser that makes 512 numbers of one face of 112 x 112 px"


def test_what_is_no_recogniser_is_refused_in_one_sentence() -> None:
    for changes, found in (
        ({"inputs": ((1, 3, 96, 96),)}, ", a network for genderage (it takes 1 x 3 x 96 x 96 and has 1 outputs)"),
        ({"outputs": ((1, 1),) * 9}, ", a network for detection (it takes any x 3 x 112 x 112 and has 9 outputs)"),
        ({"inputs": ()}, ", a network for unknown (it takes nothing and has 1 outputs)"),
        ({"inputs": ((None, 3, 224, 224),)}, ", which takes any x 3 x 224 x 224"),
        ({"inputs": ((None, 1, 112, 112),)}, ", which takes any x 1 x 112 x 112"),
        ({"outputs": ((1, 512), (1, 512))}, " with 2 outputs"),
        ({"outputs": ((1, 256),)}, ", whose output is 1 x 256"),
        ({"outputs": ((1, 1024),)}, ", whose output is 1 x 1024"),
        ({"input_types": ("float16",)}, ", which takes pictures as float16"),
        ({"output_types": ("int64",)}, ", whose output is of int64"),
    ):
        with refused("encoder", f"'x.onnx'{found}", WANTED):
            require_recogniser(replace(R50, **changes), "x.onnx")


def test_a_recogniser_may_leave_its_output_open_but_must_answer_with_512_numbers() -> None:
    for output in ((1, 512), (None, 512), (None, None)):
        require_recogniser(replace(R50, outputs=(output,)), "x.onnx")
    require_embedding((1, 512), "x.onnx")
    for shape in ((1, 256), (512,), (2, 512), (1, 512, 1)):
        with refused("encoder", f"'x.onnx', which gave numbers of shape {' x '.join(map(str, shape))}", WANTED):
            require_embedding(shape, "x.onnx")
