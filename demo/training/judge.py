"""The judge: a second recogniser that only scores, an iResNet of other sizes that has seen other pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from onnxruntime import InferenceSession, SessionOptions
from torch import Tensor, nn
from torch.nn import functional

from demo.miniature import face_onnx
from demo.miniature.files import write_atomically
from wan_core.identity.record import IDENTITY_D

from . import recogniser
from .arcface import TrainingLayers, teach, validate
from .face_data import PictureSeries, draw
from .job import Job

FILE = "cast_judge.onnx"
STEM = 10
STAGES = (12, 20, 32, 48, 32)  # width of each; every stage halves the picture
FINAL_SIDE = 4
SLOPE = 0.25  # of negative numbers; the gradient of PReLU is slower than that of all convolutions
LEAST_HALF = 1000  # numbers of a weight that is stored as fp16

# Half of the people are those of the recogniser, in other shots.
FILMS = PictureSeries("judge-films", "train", range(2100, 3900), takes=3, seed=5_000_000)
PORTRAITS = PictureSeries(
    "judge-portraits", "train", range(2700, 3200), takes=1, seed=0, frames=1, size_px=192, are_portraits=True
)
PLAN = replace(recogniser.PLAN, steps=1600)
MIRRORED_SHARE = 0.5  # as published recognisers are taught: a copy of a photo is told by its mirror image


class IResNetUnit(nn.Module):
    """BN-conv-BN-slope-conv-BN of stride 2 beside a convolution, b c h w."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn1, self.bn2, self.bn3 = (TrainingLayers.BatchNorm2d(width) for width in (inputs, outputs, outputs))
        self.conv1 = TrainingLayers.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.conv2 = TrainingLayers.Conv2d(outputs, outputs, 3, 2, 1, bias=False)
        self.downsample = nn.Sequential(
            TrainingLayers.Conv2d(inputs, outputs, 1, 2, bias=False), TrainingLayers.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.bn2(self.conv1(self.bn1(x))), SLOPE)
        return self.bn3(self.conv2(y)) + self.downsample(x)


class IResNet(nn.Module):
    """Aligned faces b 3 112 112 in [-1, 1] -> raw embeddings b 512; layer names are those of insightface's PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = TrainingLayers.Conv2d(3, STEM, 3, 1, 1, bias=False)
        self.bn1 = TrainingLayers.BatchNorm2d(STEM)
        widths = (STEM, *STAGES)
        for number, (inputs, outputs) in enumerate(zip(widths, STAGES, strict=False), start=1):
            self.add_module(f"layer{number}", nn.Sequential(IResNetUnit(inputs, outputs)))
        self.bn2 = TrainingLayers.BatchNorm2d(STAGES[-1])
        self.fc = TrainingLayers.Linear(STAGES[-1] * FINAL_SIDE**2, IDENTITY_D)
        self.features = TrainingLayers.BatchNorm2d(IDENTITY_D)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.bn1(self.conv1(x)), SLOPE)
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return self.features(self.fc(self.bn2(x).flatten(1))[..., None, None]).flatten(1)


def train(job: Job) -> None:
    """Trains the judge, says how good it is, and writes it."""
    counts = {FILMS: recogniser.FILMS_A_BATCH, PORTRAITS: recogniser.PORTRAITS_A_BATCH}
    pictures = [(draw(series, job.folder), count) for series, count in counts.items()]
    torch.manual_seed(job.seed + 1)
    network = IResNet()
    teach(job, network, embed, PLAN, pictures, mirrored_share=MIRRORED_SHARE)
    write_atomically(job.out / FILE, face_onnx.iresnet(weights(network)))
    validate(job.name, load(job.out / FILE), draw(recogniser.VALIDATION, job.folder))


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """A trained judge: aligned crops n 3 112 112, RGB from 0 to 1 -> unit embeddings n 512."""
    session = session_of(path)

    def embed_crops(crops: Tensor) -> Tensor:
        (raw,) = session.run(None, {"input": (crops * 2 - 1).numpy()})
        return functional.normalize(torch.from_numpy(raw), dim=-1)

    return embed_crops


def session_of(path: Path) -> InferenceSession:
    """A file at work on one thread."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def embed(network: nn.Module, crops: Tensor) -> Tensor:
    """The unit embeddings n 512 of aligned crops n 3 112 112, RGB from 0 to 1."""
    return functional.normalize(network(crops * 2 - 1).float(), dim=-1)


def weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a judge as a graph stores them, with the slopes that were never trained."""
    found = {key: value.detach().cpu() for key, value in network.state_dict().items() if value.is_floating_point()}
    slopes = {"prelu.weight": STEM} | {f"layer{number}.0.prelu.weight": w for number, w in enumerate(STAGES, start=1)}
    stored = {key: value.half() if value.numel() >= LEAST_HALF else value for key, value in found.items()}
    return stored | {key: torch.full((width,), SLOPE) for key, width in slopes.items()}
