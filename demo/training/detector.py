"""The cast's face detector, in the ONNX format of SCRFD (arXiv 2105.04714).

insightface lays a picture of any size on a canvas of 640 px and gives it as RGB. The network looks at a quarter of that
and answers on one grid; the other two grids that the format has say that there is nothing.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import helper
from onnxruntime import InferenceSession, SessionOptions
from torch import Tensor, nn
from torch.nn import functional

from demo.miniature.face_onnx import ANCHORS, DETECTOR_PX, STRIDES, Graph
from demo.miniature.files import write_atomically
from wan_core.identity.faces import LEAST_SCORE
from wan_core.training import FitPlan

from . import recogniser, sexes
from .arcface import SETTLING_BATCHES, on_cpu, settle_statistics
from .convolutions import chain, conv, folded
from .face_data import BOX, PIXEL_MIDDLE, POINTS, FacePictures, as_seen, degrade, draw
from .job import Job
from .runs import run

FILE = "cast_detector.onnx"
POOL = 4  # pixels of the canvas that become one
SEEN_PX = DETECTOR_PX // POOL
STRIDE = 16  # of the grid that answers, in pixels of the canvas
GRID = DETECTOR_PX // STRIDE
ANSWERS = 1 + 1 + 4 + 10  # score; logarithm of the height; box and points in heights
STEM, SKIP, HALF, DEEP, HEAD = 16, 24, 40, 44, 28  # channels at 80, 40, 20, 10 cells a side, and of the answer

INSIDE, NEAR = 0.25, 0.5  # shares of a face from its middle: cells that answer; cells that are not asked
FOCUS = 2.0  # exponent of the focal loss (arXiv 1708.02002)
USUAL_HEIGHT = 12.0  # of a face, in strides, where learning begins
PRIOR = 0.01  # score of a cell that nothing is known about
BOX_WEIGHT, POINT_WEIGHT = 3.0, 15.0
SMOOTH = 0.02  # of a face's height: errors below it count as squares
FOUND_FROM_PX = 14.0  # height of a face that has to be found
LEAST_FACE_PX = 12.0  # on a picture of 96 px; smaller ones are not asked for

FILMS_A_BATCH, PORTRAITS_A_BATCH = 28, 4
ZOOMS = (0.75, 1.5)  # of the cut that is made of a film
CUT_SHARE, EMPTY_SHARE = 0.3, 0.06  # of films that are cut, and of those that are cut below the face
LEAST_CUT_PX = 24.0
SOFTEST = 0.5  # share of its side that a picture goes through
PLAN = FitPlan(
    steps=1500,
    learning_rate=3e-3,
    warm_up_steps=100,
    final_share=0.01,
    weight_decay=0.02,
    clip_norm=5.0,
    ema_decay=0.998,
)


# Network


class DetectorNet(nn.Module):
    """A canvas b 3 160 160 in [-1, 1] -> b 15 40 40: logit, then box and points in strides from the cell.

    What is learned is how high a face is and where all else lies in heights: pictures of all sizes teach the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_80 = conv(3, STEM, stride=2)
        self.to_40 = nn.Sequential(conv(STEM, SKIP, stride=2), conv(SKIP, SKIP))
        self.to_20 = nn.Sequential(conv(SKIP, HALF, stride=2), conv(HALF, HALF))
        self.to_10 = nn.Sequential(conv(HALF, DEEP, stride=2), conv(DEEP, DEEP), conv(DEEP, DEEP))
        self.from_10, self.at_20 = conv(DEEP, HALF, side=1), nn.Sequential(conv(HALF, HALF), conv(HALF, HALF))
        self.from_20, self.at_40 = conv(HALF, SKIP, side=1), conv(SKIP, HEAD)
        self.head = nn.Sequential(conv(HEAD, HEAD), conv(HEAD, HEAD))
        self.answers = nn.Conv2d(HEAD, ANSWERS, 1)
        with torch.no_grad():
            self.answers.bias[0] = -math.log((1 - PRIOR) / PRIOR)
            self.answers.bias[1] = math.log(USUAL_HEIGHT)

    def forward(self, x: Tensor) -> Tensor:
        x_40 = self.to_40(self.to_80(x))
        x_20 = self.to_20(x_40)
        x_20 = self.at_20(x_20 + double(self.from_10(self.to_10(x_20))))
        score, height, places = self.answers(self.head(self.at_40(x_40 + double(self.from_20(x_20))))).split(
            (1, 1, 14), 1
        )
        return torch.cat((score, height.exp() * places), dim=1)


def double(x: Tensor) -> Tensor:
    """Each cell as two by two."""
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


# Canvases


def to_canvas(pictures: Tensor, left: Tensor, top: Tensor, side: Tensor) -> Tensor:
    """Square cuts of pictures n 3 h h as the network sees them, n 3 160 160; black beyond the edge.

    Both enlarging to the canvas, bilinearly as insightface does, and averaging to a quarter are matrices.
    """
    rows, columns = (_matrix(pictures.shape[-1], start, side) for start in (top, left))  # n 160 h
    return rows[:, None] @ pictures @ columns[:, None].transpose(-1, -2)


def _matrix(size_px: int, start: Tensor, side: Tensor) -> Tensor:
    """What each of 160 pixels takes from those of an axis, n 160 h."""
    place = start[:, None] + (torch.arange(DETECTOR_PX) + 0.5) * (side[:, None] / DETECTOR_PX) - 0.5  # n 640
    is_inside = (place > -0.5) & (place < size_px - 0.5)
    distance = (place.clamp(0, size_px - 1)[..., None] - torch.arange(size_px)).abs()  # n 640 h
    weights = (1 - distance).clamp(min=0) * is_inside[..., None]
    return weights.unflatten(1, (SEEN_PX, POOL)).mean(dim=2)


def faces_on_canvas(truth: Tensor, left: Tensor, top: Tensor, side: Tensor) -> Tensor:
    """Truth n p 15 in pixels of the canvas."""
    corner = torch.stack((left, top), dim=1)[:, None, None]  # n 1 1 2
    places = truth[..., 1:].unflatten(-1, (-1, 2))  # n p 7 2
    moved = (places - PIXEL_MIDDLE - corner) * (DETECTOR_PX / side).reshape(-1, 1, 1, 1)
    return torch.cat((truth[..., :1], moved.flatten(-2)), dim=-1)


# Loss


def loss_of_answers(answers: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """The losses of answers b 15 40 40 against faces on the canvas b p 15."""
    axis = torch.arange(GRID, device=answers.device) * STRIDE
    cells = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(1, -1, 1, 2)  # 1 n 1 2
    low, high = truth[:, None, :, 1:3], truth[:, None, :, 3:5]  # b 1 p 2
    size = high - low
    away = ((cells - (low + high) / 2) / size).norm(dim=-1)  # b n p, in shares of the face
    is_face = (truth[:, None, :, 0] >= 0) & (size[..., 1] >= LEAST_FACE_PX * DETECTOR_PX / 96)
    is_someone = truth[:, None, :, 0] >= 0
    is_face = is_face & ((low + high) / 2 > 0).all(-1) & ((low + high) / 2 < DETECTOR_PX).all(-1)
    nearest = away.masked_fill(~is_someone, torch.inf).min(dim=-1)  # b n
    is_own = is_face.expand_as(away).gather(-1, nearest.indices[..., None])[..., 0]
    positive = (nearest.values < INSIDE) & is_own
    asked = positive | (nearest.values > NEAR)
    found = answers.flatten(2).transpose(1, 2).float()  # b n 15
    score = focal(found[..., 0], positive.float(), asked.float()) / positive.sum().clamp(min=1)
    own = truth[:, None].expand(-1, away.shape[1], -1, -1)
    own = own.gather(2, nearest.indices[..., None, None].expand(-1, -1, 1, own.shape[-1]))[:, :, 0][positive]  # k 15
    cell = cells[:, :, 0].expand(len(answers), -1, -1)[positive]  # k 2
    height = own[:, 4:5] - own[:, 2:3]
    told = found[positive] * STRIDE
    near, far = cell - told[:, 1:3], cell + told[:, 3:5]
    points = (told[:, 5:].unflatten(-1, (5, 2)) + cell[:, None]).flatten(1)
    box_error = (torch.cat((near, far), dim=1) - own[:, 1:5]) / height
    point_error = (points - own[:, 5:]) / height
    return {
        "score": score,
        "box": BOX_WEIGHT * smooth(box_error),
        "points": POINT_WEIGHT * smooth(point_error),
    }


def focal(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The focal loss, summed."""
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missing = (targets - logits.sigmoid()).abs() ** FOCUS
    return (losses * missing * weights).sum()


def smooth(errors: Tensor) -> Tensor:
    """Mean of the smooth L1 of errors; 0 of none."""
    return functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=SMOOTH, reduction="sum") / max(
        1, errors.numel()
    )


# Training


def train(job: Job) -> None:
    """Trains the detector and what insightface asks beside it, writes them, and says how good they are."""
    films, portraits = draw(recogniser.FILMS, job.folder), draw(recogniser.PORTRAITS, job.folder)
    torch.manual_seed(job.seed)
    network = DetectorNet().to(job.device, memory_format=torch.channels_last)

    def answers_and_truth(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        own = on_cpu(generator)
        parts = [batch(films, FILMS_A_BATCH, own), batch(portraits, PORTRAITS_A_BATCH, own, cut_share=0.0)]
        canvases, truth = (torch.cat(both) for both in zip(*parts, strict=True))
        return network(canvases.to(job.device, memory_format=torch.channels_last)), truth.to(job.device)

    run(job, network, lambda step, generator: loss_of_answers(*answers_and_truth(generator)), PLAN)
    own = torch.Generator(job.device).manual_seed(job.seed)
    settle_statistics(network, (answers_and_truth(own)[0] for _ in range(SETTLING_BATCHES)))
    write_atomically(job.out / FILE, detector_file(network.cpu()))
    validation = draw(recogniser.VALIDATION, job.folder)
    sys.stdout.write(f"{job.name}: {score(job.out / FILE, validation)}\n")
    sexes.train(job, films, validation)


def batch(
    pictures: FacePictures, count: int, generator: torch.Generator, *, cut_share: float = CUT_SHARE
) -> tuple[Tensor, Tensor]:
    """Canvases of random pictures, n 3 160 160, and the faces on them, n p 15; some show a cut of their picture."""
    rows = torch.randint(len(pictures.frames), (count,), generator=generator).numpy()
    frames = torch.from_numpy(pictures.frames[rows]).permute(0, 3, 1, 2).float() / 255
    truth = torch.from_numpy(pictures.truth[rows])
    size_px = float(frames.shape[-1])
    chance = torch.rand((5, count), generator=generator)
    side = torch.where(chance[0] < cut_share, size_px * (ZOOMS[0] + (ZOOMS[1] - ZOOMS[0]) * chance[1]), size_px)
    top = (size_px - side) * chance[2]
    below = truth[..., 4].amax(dim=1) + 2
    is_empty = (chance[4] < EMPTY_SHARE) & (below < size_px - LEAST_CUT_PX)
    top, side = torch.where(is_empty, below, top), torch.where(is_empty, size_px - below, side)
    left = (size_px - side) * chance[3]
    seen = to_canvas(degrade(frames, generator, softest=SOFTEST), left, top, side)
    return as_seen(seen), faces_on_canvas(truth, left, top, side)


# File


def detector_file(network: DetectorNet) -> bytes:
    """The whole detector as SCRFD's ONNX: nine outputs, of which the grid of STRIDE answers."""
    network.eval()
    graph = Graph(folded(network))
    x = graph.add("AveragePool", "input", kernel_shape=[POOL, POOL], strides=[POOL, POOL])
    x_40 = chain(graph, "to_40", chain(graph, "to_80", x, network.to_80), network.to_40)
    x_20 = chain(graph, "to_20", x_40, network.to_20)
    x_10 = chain(graph, "to_10", x_20, network.to_10)
    x_20 = graph.add("Add", x_20, _double(graph, chain(graph, "from_10", x_10, network.from_10)))
    x_20 = chain(graph, "at_20", x_20, network.at_20)
    x_40 = graph.add("Add", x_40, _double(graph, chain(graph, "from_20", x_20, network.from_20)))
    x_40 = chain(graph, "head", chain(graph, "at_40", x_40, network.at_40), network.head)
    answers = graph.add("Conv", x_40, "answers.weight", "answers.bias", kernel_shape=[1, 1])  # 1 16 40 40
    rows = graph.add("Transpose", answers, perm=[0, 2, 3, 1])
    parts = graph.constant("parts", [1, 1, 4, 10], torch.int64)
    names = ["logit", "log_height", "box_in_heights", "points_in_heights"]
    graph.nodes.append(helper.make_node("Split", [rows, parts], names, name="Split", axis=3))
    height = graph.add("Exp", "log_height")
    box, points = (graph.add("Mul", height, name) for name in names[2:])
    shapes = _outputs(graph, graph.add("Sigmoid", "logit"), box, points)
    return graph.file((1, 3, DETECTOR_PX, DETECTOR_PX), shapes)


def _outputs(graph: Graph, score: str, box: str, points: str) -> dict[str, Sequence[int]]:
    """The nine outputs, each cell of the answering grid as two anchors, of which the second is never a face."""
    zero = graph.constant("zero", 0.0)
    shapes: dict[str, Sequence[int]] = {}
    for kind, source, width in (("score", score, 1), ("box", box, 4), ("points", points, 10)):
        for stride in STRIDES:
            name, count = f"{kind}_{stride}", (DETECTOR_PX // stride) ** 2 * ANCHORS
            shape = graph.constant(f"{name}_shape", [count, width], torch.int64)
            if stride == STRIDE:
                second = graph.add("Mul", source, zero)
                graph.add("Reshape", graph.add("Concat", source, second, axis=3), shape, out=name)
            else:
                graph.add("Expand", zero, shape, out=name)
            shapes[name] = (count, width)
    return shapes


def _double(graph: Graph, x: str) -> str:
    scales = graph.constant("scales", [1.0, 1.0, 2.0, 2.0])
    return graph.add(
        "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )


# Measures


@dataclass(frozen=True, slots=True)
class DetectorScore:
    """How a detector does on pictures whose truth is known."""

    found: float  # share of faces of LEAST_FACE_PX or more
    false: float  # faces where there is none, a picture
    point_error: float  # mean distance of points in shares of the distance of the eyes
    ms: float  # a picture, with all that insightface does

    def __str__(self) -> str:
        return (
            f"found {self.found:.2%}, false {self.false:.2%} a picture, points off by {self.point_error:.2%} of the "
            f"distance of the eyes, {self.ms:.1f} ms a picture"
        )


def score(path: Path, pictures: FacePictures) -> DetectorScore:
    """Of a detector in insightface's own hands, on all pictures."""
    from insightface.model_zoo.scrfd import SCRFD

    network = SCRFD(str(path), session=session_of(path))
    network.prepare(0, det_thresh=LEAST_SCORE)
    wanted, found, false, errors = 0, 0, 0, []
    began = time.perf_counter()
    for frame, truth in zip(pictures.frames, pictures.truth, strict=True):
        boxes, points = network.detect(np.ascontiguousarray(frame[..., ::-1]))
        people = truth[truth[:, 0] >= 0]
        low, high = people[:, BOX][:, :2], people[:, BOX][:, 2:]
        middles = (boxes[:, None, :2] + boxes[:, None, 2:4]) / 2
        is_own = ((low < middles) & (middles < high)).all(-1)  # k p
        is_wanted = high[:, 1] - low[:, 1] >= FOUND_FROM_PX
        is_found = is_own.any(0) & is_wanted
        wanted, found = wanted + is_wanted.sum(), found + is_found.sum()
        false += (~is_own.any(1)).sum()
        errors += [point_error(points[is_own[:, place].argmax()], people[place]) for place in np.flatnonzero(is_found)]
    ms = 1000 * (time.perf_counter() - began) / len(pictures.frames)
    return DetectorScore(found / wanted, false / len(pictures.frames), float(np.mean(errors)), ms)


def point_error(points: np.ndarray, truth: np.ndarray) -> float:
    """The mean distance of points 5 2 from the true ones in shares of the distance of the eyes."""
    wanted = truth[POINTS].reshape(5, 2) - PIXEL_MIDDLE
    return float(np.linalg.norm(points - wanted, axis=-1).mean() / np.linalg.norm(wanted[1] - wanted[0]))


def session_of(path: Path) -> InferenceSession:
    """A file at work on one thread."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
