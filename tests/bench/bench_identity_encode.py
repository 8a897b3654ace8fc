"""Time to encode a face on the CPU, without finding it: alignment, both crops for the adapters, and the recogniser.

Usage: python dev.py bench identity_encode. The recogniser is an IR-SE50 of the published size with random weights.
"""

from __future__ import annotations

import statistics
import sys
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.identity.some_inputs import ir_params  # noqa: E402
from wan_core.identity.align import TEMPLATE, align_face, cut_reference  # noqa: E402
from wan_core.identity.faces import face_of_points  # noqa: E402
from wan_core.identity.ir_network import IrBackbone, IrParams, build_ir_backbone  # noqa: E402
from wan_core.identity.portrait import cut_portrait  # noqa: E402
from wan_core.identity.recogniser import embed, ir_recogniser  # noqa: E402

# The sizes of facexlib's recognition_arcface_ir_se50.pth.
PARAMS = ir_params((64, 128, 256, 512), (3, 4, 14, 3), squeezed_by=16, stem=64)
GOAL_MS = 50.0
PICTURE_PX = (720, 1280)


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds for one face, each the median of several."""

    align_ms: float  # 112 px crop
    pictures_ms: float  # Lynx's reference crop and Stand-In's portrait
    embed_ms: float
    least_ms: float  # the network's products alone, at the rate of this CPU's fastest convolution

    @property
    def total_ms(self) -> float:
        """All of it."""
        return self.align_ms + self.pictures_ms + self.embed_ms


def random_weights(params: IrParams) -> dict[str, Tensor]:
    """Weights that keep the size of what goes through them."""
    draw = torch.Generator().manual_seed(0)
    weights = {}
    for key, empty in IrBackbone(params, operations=nn, device="meta").state_dict().items():
        if empty.ndim < 2:
            weights[key] = torch.ones(empty.shape, dtype=empty.dtype)
        else:
            weights[key] = torch.randn(empty.shape, generator=draw) / empty[0].numel() ** 0.5
    return weights


def median_ms(job: Callable[[], object], loops: int) -> float:
    """The median time of a job, after one run that does not count."""
    job()
    return statistics.median(timeit.repeat(job, number=1, repeat=loops)) * 1000


@torch.inference_mode()
def encode_cost(loops: int = 10) -> Cost:
    """What one face of a 720p picture costs."""
    weights = random_weights(PARAMS)
    network, _ = build_ir_backbone(weights, operations=nn)
    picture = torch.rand(*PICTURE_PX, 3, generator=torch.Generator().manual_seed(1))
    points = tuple(point * 2 + complex(500, 250) for point in TEMPLATE)
    face, crop = face_of_points(points), align_face(picture, points).crop

    def pictures() -> None:
        cut_reference(picture, points)
        cut_portrait(picture, face.box)

    with ir_recogniser(weights, name="random", sha256="") as recogniser:
        return Cost(
            align_ms=median_ms(lambda: align_face(picture, points), loops),
            pictures_ms=median_ms(pictures, loops),
            embed_ms=median_ms(lambda: embed(recogniser, crop[None]), loops),
            least_ms=gigaflops(lambda: network(crop[None].movedim(-1, 1))) / convolution_rate(loops) * 1000,
        )


def gigaflops(job: Callable[[], object]) -> float:
    """The floating-point operations of a job, in billions; a product and its addition are two."""
    with FlopCounterMode(display=False) as counter:
        job()
    return counter.get_total_flops() / 1e9


def convolution_rate(loops: int) -> float:
    """Billions of floating-point operations a second in a 3 x 3 convolution of the recogniser, eight faces at once."""
    faces, convolution = torch.rand(8, 256, 14, 14), nn.Conv2d(256, 256, 3, padding=1, bias=False)
    return gigaflops(lambda: convolution(faces)) / median_ms(lambda: convolution(faces), loops) * 1000


def report(cost: Cost) -> str:
    """The figures in one line."""
    verdict = "met" if cost.total_ms <= GOAL_MS else "missed"
    return (
        f"encode a face on the CPU ({torch.get_num_threads()} threads): {cost.total_ms:.1f} ms = {cost.align_ms:.1f} "
        f"alignment + {cost.pictures_ms:.1f} crops for the adapters + {cost.embed_ms:.1f} IR-SE50; "
        f"goal {GOAL_MS:.0f} ms: {verdict}; at the rate of this CPU's fastest convolution IR-SE50 alone takes "
        f"{cost.least_ms:.1f} ms"
    )


if __name__ == "__main__":
    sys.stdout.write(report(encode_cost()) + "\n")
