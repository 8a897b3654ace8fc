"""A small network that reads from a film what the prompt said, taught by films of the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from demo import world
from tests.bench.cast.jobs import Archive, Arrays, Company
from tests.bench.cast.studio import Studio

WORDS = {
    "action": world.ACTIONS,
    "scene": world.SCENES,
    "style": world.STYLES,
    "colour": world.COLOURS,
    "garment": world.GARMENTS,
    "light": world.LIGHTS,
}
EVERY = 2  # frames
SEEN_FRAMES = range(0, world.FRAMES, EVERY)
LESSON_SEED = 8_000_000  # of the first shot that is read in training
LESSONS, FILMS_A_LESSON = 40, 100
HELD_OUT = 10  # one lesson in so many
BATCH, EPOCHS, RATE = 64, 14, 2e-3


@dataclass(frozen=True, slots=True)
class Lesson:
    """Films of the world as the reader sees them, with what they show: "seen" n c h w uint8, "words" n k."""

    number: int
    weights: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        return f"lessons/{self.number}"

    def run(self, studio: Studio, archive: Archive) -> Arrays:
        indices = range(self.number * FILMS_A_LESSON, (self.number + 1) * FILMS_A_LESSON)
        shots = [world.shot(LESSON_SEED + index) for index in indices]
        frames = [
            world.film((world.person("train", index),), shot, len(SEEN_FRAMES), every=EVERY).frames
            for index, shot in zip(indices, shots, strict=True)
        ]
        return {"seen": as_seen(torch.stack(frames)).numpy(), "words": np.array([words_of(shot) for shot in shots])}


def words_of(shot: world.Shot) -> list[int]:
    """The number of each word of a shot."""
    return [choices.index(getattr(shot, name)) for name, choices in WORDS.items()]


def as_seen(frames: Tensor) -> Tensor:
    """Frames b f h w 3 uint8 at half their size, as channels: b c h w uint8."""
    channels = frames.permute(0, 1, 4, 2, 3).flatten(1, 2).float()
    return functional.avg_pool2d(channels, 2).round().to(torch.uint8)


class Reader(nn.Module):
    """b c h w in [0, 1] -> logits of each kind of word."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3 * len(SEEN_FRAMES), 64, 128, 192, 256)
        layers = [
            layer
            for before, after in zip(widths[:-1], widths[1:], strict=True)
            for layer in (nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
        ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.heads = nn.ModuleList(nn.Linear(widths[-1], len(choices)) for choices in WORDS.values())

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.body(x)
        return [head(features) for head in self.heads]

    @torch.inference_mode()
    def read(self, seen: Tensor) -> np.ndarray:
        """The number of each word: b k."""
        return torch.stack([logits.argmax(dim=1) for logits in self(seen.float() / 255)], dim=1).numpy()

    def agrees(self, films: np.ndarray, shot: world.Shot) -> np.ndarray:
        """The share of films, b f h w 3 uint8, in which each word is read as the shot says it: k."""
        return (self.read(as_seen(torch.from_numpy(films[:, SEEN_FRAMES]))) == words_of(shot)).mean(axis=0)


def worn(x: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures a little softer, noisier and of another brightness, as networks make them."""
    softer = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    share, gain = (torch.rand(len(x), 1, 1, 1, generator=generator) for _ in range(2))
    noise = torch.randn(x.shape, generator=generator)
    return (x + share * (softer - x)) * (0.9 + 0.2 * gain) + 0.03 * noise


def taught_reader(company: Company) -> tuple[Reader, np.ndarray]:
    """A reader, taught anew in about a minute, and the share of each word that it reads rightly in other films."""
    lessons = company.read([Lesson(number) for number in range(LESSONS)])
    seen, words = (torch.from_numpy(np.concatenate([one[what] for one in lessons])) for what in ("seen", "words"))
    held_out = len(seen) // HELD_OUT
    torch.manual_seed(0)
    reader = Reader()
    teach(reader, seen[held_out:], words[held_out:])
    return reader, (reader.read(seen[:held_out]) == words[:held_out].numpy()).mean(axis=0)


def teach(reader: Reader, seen: Tensor, words: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(reader.parameters(), lr=RATE, weight_decay=0.01)
    steps = len(seen) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(seen), generator=generator)[: steps * BATCH].split(BATCH):
            logits = reader(worn(seen[batch].float() / 255, generator))
            optimiser.zero_grad()
            sum(functional.cross_entropy(one, words[batch, kind]) for kind, one in enumerate(logits)).backward()
            optimiser.step()
            schedule.step()
    reader.eval()
