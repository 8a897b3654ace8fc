from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from demo.miniature import face_onnx
from tests.unit.identity.some_inputs import noise, refused
from wan_core.identity.iresnet import (
    CPU,
    CUDA,
    EMBEDDED,
    OUTSIDE,
    OnnxParams,
    choose_providers,
    normalisation_of,
    require_embedding,
    require_recogniser,
)
from wan_core.identity.recogniser import embed, iresnet_recogniser

R50 = OnnxParams(inputs=((None, 3, 112, 112),), outputs=((1, 512),), first_nodes=("Conv_0", "PRelu_1", "BatchNorm_2"))


# The miniature of the live tests is an iResNet


class Block(nn.Module):
    """insightface's IBasicBlock."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 2, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x)))))
        return self.bn3(y) + self.downsample(x)


class IResNet(nn.Module):
    """insightface's IResNet with one block in each stage."""

    def __init__(self) -> None:
        super().__init__()
        widths = (face_onnx.STEM, *face_onnx.STAGES)
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        for index in range(1, 5):
            setattr(self, f"layer{index}", nn.Sequential(Block(widths[index - 1], widths[index])))
        self.bn2 = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1] * 49, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.bn2(x).flatten(1)))


@torch.no_grad()
@pytest.mark.parametrize("normalises", [False, True])
def test_an_onnx_recogniser_gives_what_the_same_network_gives_in_pytorch(normalises: bool) -> None:
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    network = IResNet().eval()
    missing, unexpected = network.load_state_dict(
        {key: value.flatten() if "prelu" in key else value for key, value in face_onnx.weights("mini").items()},
        strict=False,
    )
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    content = face_onnx.recogniser("mini", normalises=normalises)
    session = onnxruntime.InferenceSession(content, providers=[CPU])
    nodes = tuple(node.name for node in onnx.load_from_string(content).graph.node[:8])
    normalisation = normalisation_of(replace(R50, first_nodes=nodes))
    assert normalisation == (EMBEDDED if normalises else OUTSIDE)

    crops = noise(2, 112, 112, 3, seed=4)

    def run(blob: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"input": blob.numpy()})[0])

    found = embed(iresnet_recogniser(run, normalisation, name="", sha256=""), crops)
    pixels = crops.permute(0, 3, 1, 2) * 255  # RGB
    expected = network((pixels - 127.5) / (128 if normalises else 127.5))
    torch.testing.assert_close(found.unit, functional.normalize(expected, dim=1), atol=2e-5, rtol=0)


# How it wants its pictures


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (("Conv_0", "BatchNormalization_1"), OUTSIDE),
        (("Sub_0", "Mul_1", "Conv_2"), EMBEDDED),
        (("_minusscalar0", "_mulscalar0", "conv0"), EMBEDDED),
        (("Sub_0", "Conv_1"), OUTSIDE),
        (("Mul_0", "Conv_1"), OUTSIDE),
        ((), OUTSIDE),
    ],
)
def test_the_first_nodes_say_whether_the_graph_normalises(nodes: tuple[str, ...], expected: object) -> None:
    assert normalisation_of(replace(R50, first_nodes=nodes)) == expected


# What it must be


@pytest.mark.parametrize(
    ("params", "role"),
    [
        (R50, "recognition"),
        (replace(R50, inputs=((None, 3, None, None),), outputs=((None, 1),) * 9), "detection"),
        (replace(R50, inputs=((1, 3, 96, 96),)), "genderage"),
        (replace(R50, inputs=((1, 3, 192, 192),)), "landmarks"),
        (replace(R50, inputs=((1, 3, 100, 112),)), "unknown"),
        (replace(R50, inputs=((1, 3, 128, 128), (1, 512))), "unknown"),
        (replace(R50, inputs=()), "unknown"),
        (replace(R50, inputs=((None, None),)), "unknown"),
    ],
)
def test_the_role_of_a_network(params: OnnxParams, role: str) -> None:
    assert params.role == role


WANTED = "a recogniser that makes 512 numbers of one face of 112 x 112 px"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"inputs": ((1, 3, 96, 96),)}, ", a network for genderage (it takes 1 x 3 x 96 x 96 and has 1 outputs)"),
        (
            {"outputs": ((None, 1),) * 9},
            ", a network for detection (it takes any x 3 x 112 x 112 and has 9 outputs)",
        ),
        ({"inputs": ()}, ", a network for unknown (it takes nothing and has 1 outputs)"),
        ({"inputs": ((None, 3, 224, 224),)}, ", which takes any x 3 x 224 x 224"),
        ({"inputs": ((None, 1, 112, 112),)}, ", which takes any x 1 x 112 x 112"),
        ({"outputs": ((1, 512), (1, 512))}, " with 2 outputs"),
        ({"outputs": ((1, 256),)}, ", whose output is 1 x 256"),
        ({"outputs": ((1, 1024),)}, ", whose output is 1 x 1024"),
    ],
)
def test_what_is_no_recogniser_is_refused_in_one_sentence(changes: dict[str, Any], found: str) -> None:
    with refused("encoder", f"'x.onnx'{found}", WANTED):
        require_recogniser(replace(R50, **changes), "x.onnx")


@pytest.mark.parametrize("shape", [(1, 512), (None, 512), (None, None)])
def test_a_recogniser_may_leave_its_output_open(shape: tuple[int | None, ...]) -> None:
    require_recogniser(replace(R50, outputs=(shape,)), "x.onnx")


@pytest.mark.parametrize("shape", [(1, 256), (512,), (2, 512), (1, 512, 1)])
def test_an_answer_of_another_length_is_refused(shape: tuple[int, ...]) -> None:
    require_embedding((1, 512), "x.onnx")
    with refused("encoder", f"'x.onnx', which gave numbers of shape {' x '.join(map(str, shape))}", WANTED):
        require_embedding(shape, "x.onnx")


# Where it runs


def test_onnxruntime_runs_where_the_host_does_and_says_when_it_cannot() -> None:
    assert choose_providers("cpu", [CUDA, CPU]) == ([CPU], None)
    assert choose_providers("mps", [CPU]) == ([CPU], None)
    assert choose_providers("cuda", [CUDA, CPU]) == ([CUDA, CPU], None)
    assert choose_providers("cuda", [CUDA, CPU], is_amd=True) == ([CPU], None)  # that build is for another maker's
    providers, note = choose_providers("cuda", ["AzureExecutionProvider", CPU])
    assert (providers, note.code) == ([CPU], "no_cuda_provider")
    assert note.text.startswith("onnxruntime has no CUDA provider")
    assert note.text.endswith("pip install --force-reinstall --no-deps onnxruntime-gpu")
