"""How the miniature's recognisers are taught: ArcFace (arXiv 1801.07698) over the people of drawn pictures."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from wan_core.identity.record import IDENTITY_D
from wan_core.training import FitPlan

from .face_data import FacePictures, degrade, mirrored, verification
from .job import Job
from .runs import run

MARGIN, SCALE = 0.35, 28.0  # radians added to the angle to one's own centre; factor of the cosines
SETTLING_BATCHES = 40  # that the statistics of batch normalisation are measured on
VALIDATED_AT_ONCE = 64

Embed = Callable[[nn.Module, Tensor], Tensor]  # a network, crops n 3 112 112 from 0 to 1 -> unit vectors n 512


# Layers


class ThinningConv2d(nn.Conv2d):
    """A convolution that thins its input before a kernel of one pixel: the same numbers, and bf16 can be trusted.

    Seen with torch 2.11 on a Zen 5: the bf16 gradient of the strided convolution, channels last, corrupts memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size != (1, 1):
            return super().forward(x)
        rows, columns = self.stride
        return functional.conv2d(x[..., ::rows, ::columns], self.weight, self.bias)


class TrainingLayers:
    """The layers of ``torch.nn``, but for the convolution."""

    Linear, BatchNorm2d, Conv2d = nn.Linear, nn.BatchNorm2d, ThinningConv2d


class ArcFace(nn.Module):
    """A recogniser with the centres of those whom it learns to tell apart."""

    def __init__(self, network: nn.Module, embed: Embed, identities: int, embedding_d: int) -> None:
        super().__init__()
        self.network, self.embed = network, embed
        self.centres = nn.Parameter(torch.randn(identities, embedding_d) / math.sqrt(embedding_d))

    def forward(self, crops: Tensor, identities: Tensor) -> Tensor:
        """The loss of crops n 3 112 112 of these people."""
        embeddings = self.embed(self.network, crops)
        with torch.autocast(crops.device.type, enabled=False):  # angles need more digits than bf16 has
            cosines = embeddings.float() @ functional.normalize(self.centres, dim=-1).T  # n identities
            own = cosines.gather(1, identities[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
            harder = torch.cos((torch.acos(own) + MARGIN).clamp(max=math.pi))
            return functional.cross_entropy(SCALE * cosines.scatter(1, identities[:, None], harder), identities)


# Teaching


def teach(
    job: Job,
    network: nn.Module,
    embed: Embed,
    plan: FitPlan,
    pictures: Sequence[tuple[FacePictures, int]],
    *,
    mirrored_share: float = 0.0,
) -> None:
    """Trains a recogniser on pictures, of each series so many faces a batch, and leaves it ready for use.

    ``mirrored_share`` of the faces are seen the other way round.
    """
    faces = [series.faces() for series, _ in pictures]
    people = torch.cat([found[:, 2] for found in faces]).unique()

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        crops, identities = [], []
        for (series, count), found in zip(pictures, faces, strict=True):
            drawn = found[torch.randint(len(found), (count,), generator=generator)]
            crops.append(series.crops(drawn, generator))
            identities.append(torch.searchsorted(people, drawn[:, 2].contiguous()))
        turned = mirrored(torch.cat(crops), mirrored_share, generator)
        seen = degrade(turned, generator).contiguous(memory_format=torch.channels_last)
        return seen.to(job.device), torch.cat(identities).to(job.device)

    head = ArcFace(network, embed, len(people), IDENTITY_D).to(job.device, memory_format=torch.channels_last)
    run(job, head, lambda step, generator: head(*batch(on_cpu(generator))), plan)
    own = torch.Generator().manual_seed(job.seed)
    settle_statistics(network, (embed(network, batch(own)[0]) for _ in range(SETTLING_BATCHES)))


def on_cpu(generator: torch.Generator) -> torch.Generator:
    """A generator of the CPU that goes on from one of any device."""
    seed = torch.randint(2**31, (), generator=generator, device=generator.device)
    return torch.Generator().manual_seed(int(seed))


def settle_statistics(network: nn.Module, passes: Iterator[Tensor]) -> None:
    """Measures the statistics of batch normalisation anew in these passes, and leaves the network ready for use.

    Averaged weights have other statistics than the average of statistics.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    with torch.no_grad():
        network.train()
        for _ in passes:
            pass
        network.eval()


def validate(name: str, embed: Callable[[Tensor], Tensor], pictures: FacePictures) -> None:
    """Says how well what embeds crops on the CPU tells apart people whom it was not taught."""
    faces = pictures.faces()
    with torch.no_grad():
        parts = [embed(pictures.crops(part)) for part in faces.split(VALIDATED_AT_ONCE)]
    sys.stdout.write(f"{name}: {verification(torch.cat(parts), faces[:, 2])}, on {len(faces)} faces\n")
