"""Who is a woman and who a man: the small network that insightface asks beside a detector; everybody is as old."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional

from demo import world
from demo.miniature.face_onnx import AGE_YEARS, Graph
from demo.miniature.files import write_atomically
from wan_core.training import MUON, FitPlan

from .arcface import SETTLING_BATCHES, on_cpu, settle_statistics
from .convolutions import chain, conv, folded
from .face_data import BOX, PIXEL_MIDDLE, FacePictures, as_seen, degrade
from .job import Job
from .runs import run

FILE = "cast_genderage.onnx"
SEEN_PX = 96
MARGIN = 1.5  # side of the square that is seen, in longer sides of the face's box
WIDTHS = (12, 20, 32, 48)  # of convolutions that halve the picture
JITTER_SHARE = 0.05  # of a box, by which a detector misses it
BATCH = 64
PLAN = FitPlan(
    steps=600,
    learning_rate=2e-2,
    warm_up_steps=20,
    final_share=0.01,
    weight_decay=0.02,
    clip_norm=5.0,
    ema_decay=0.99,
    optimiser=MUON,
)


class SexNet(nn.Module):
    """Faces b 3 96 96 in [-1, 1] -> b 2: the logits of a woman and of a man."""

    def __init__(self) -> None:
        super().__init__()
        widths = zip((3, *WIDTHS), WIDTHS, strict=False)
        self.body = nn.Sequential(*(conv(inputs, outputs, stride=2) for inputs, outputs in widths))
        self.answer = nn.Linear(WIDTHS[-1], 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.body(x).mean(dim=(2, 3)))


def train(job: Job, pictures: FacePictures, validation: FacePictures) -> None:
    """Trains the network on the first pictures, writes it, and says how often it is right about the second ones."""
    torch.manual_seed(job.seed)
    network, faces = SexNet().to(job.device, memory_format=torch.channels_last), pictures.faces()
    are_men = is_man("train", faces[:, 2])

    def answers_and_truth(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        own = on_cpu(generator)
        chosen = torch.randint(len(faces), (BATCH,), generator=own)
        seen = degrade(boxed(pictures, faces[chosen], own), own)
        return network(as_seen(seen).to(job.device, memory_format=torch.channels_last)), are_men[chosen].to(job.device)

    run(
        job, network, lambda step, generator: functional.cross_entropy(*answers_and_truth(generator)), PLAN, stage="sex"
    )
    own = torch.Generator(job.device).manual_seed(job.seed)
    settle_statistics(network, (answers_and_truth(own)[0] for _ in range(SETTLING_BATCHES)))
    write_atomically(job.out / FILE, file(network.cpu()))
    unseen = validation.faces()
    with torch.no_grad():
        answers = torch.cat([network(as_seen(boxed(validation, part))).argmax(-1) for part in unseen.split(BATCH)])
    right = (answers == is_man("validation", unseen[:, 2])).float().mean()
    sys.stdout.write(f"{FILE}: right about {right:.1%} of {len(unseen)} faces\n")


def is_man(split: world.Split, people: Tensor) -> Tensor:
    """1 for each man, 0 for each woman."""
    known = {index: int(world.person(split, index).sex == "man") for index in people.unique().tolist()}
    return torch.tensor([known[index] for index in people.tolist()])


def boxed(pictures: FacePictures, faces: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The squares around the boxes of faces k 3 as insightface cuts them, k 3 96 96 from 0 to 1."""
    rows, places = faces[:, 0].numpy(), faces[:, 1].numpy()
    frames = torch.from_numpy(pictures.frames[rows]).permute(0, 3, 1, 2).float() / 255
    low, high = torch.from_numpy(pictures.truth[rows, places][:, BOX]).sub(PIXEL_MIDDLE).split(2, dim=1)  # k 2
    middle, side = (low + high) / 2, (high - low).amax(dim=1, keepdim=True)
    if generator is not None:
        middle = middle + side * JITTER_SHARE * torch.randn(middle.shape, generator=generator)
        side = side * (1 + JITTER_SHARE * torch.randn(side.shape, generator=generator))
    axis = (torch.arange(SEEN_PX) - SEEN_PX / 2) * (MARGIN / SEEN_PX)
    square = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)  # 96 96 2
    place = middle[:, None, None] + side[:, None, None] * square
    return functional.grid_sample(frames, (2 * place + 1) / frames.shape[-1] - 1, align_corners=False)


def file(network: SexNet) -> bytes:
    """The network as insightface's genderage: woman, man, age in hundreds of years."""
    network.eval()
    weights = folded(network)
    nobody, age = torch.zeros(1, WIDTHS[-1]), torch.tensor([AGE_YEARS / 100])
    weights["answer.weight"] = torch.cat((weights["answer.weight"].float(), nobody))
    weights["answer.bias"] = torch.cat((weights["answer.bias"].float(), age))
    graph = Graph(weights)
    x = graph.add("Flatten", graph.add("GlobalAveragePool", chain(graph, "body", "input", network.body)))
    graph.add("Gemm", x, "answer.weight", "answer.bias", transB=1, out="answer_out")
    return graph.file(("None", 3, SEEN_PX, SEEN_PX), {"answer_out": ("None", 3)})
