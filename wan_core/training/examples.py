"""What identity adapters are trained on: clips of persons, each with another clip of the same person as its reference.

A reference from the clip itself teaches an adapter to copy pose, light and expression (Lynx, arXiv 2509.15496); so it
never is. Some rows of a batch lack the identity, the text or both, for guidance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..errors import InputError, quoted


@dataclass(frozen=True, slots=True, eq=False)
class ClipExample:
    """One clip of one person, as an expert is trained on it; its repr holds nothing of the person."""

    latent: Tensor = field(repr=False)  # c t h w, in the model's scale
    text: Tensor = field(repr=False)  # n d, the embedded caption
    given: Tensor | None = field(repr=False)  # e t h w: what an image-to-video expert sees beside noise
    embedding: Tensor = field(repr=False)  # 512, unit: the person in this clip, by the recogniser of the adapter
    supervised: Tensor | None = field(repr=False)  # 512, unit: the same by the recogniser that supervises
    boxes: Tensor = field(repr=False)  # t 4 in units of the latent (x0 y0 x1 y1), NaN where there is no face
    points: Tensor = field(repr=False)  # f 5 2 in pixels of the clip, NaN where there is no face


class ClipSet(Protocol):
    """Clips by their number; what a clip is is read when it is asked for."""

    @property
    def persons(self) -> Sequence[Hashable]: ...  # whom each clip shows
    @property
    def targets(self) -> Sequence[int]: ...  # the clips that are learnt; the others are references alone
    @property
    def empty_text(self) -> Tensor: ...  # n d, the embedded empty prompt
    def clip(self, number: int) -> ClipExample: ...


def require_pairs(persons: Sequence[Hashable]) -> None:
    """Raises InputError for a person who has one clip alone, and for no clip at all."""
    lonely = [person for person, count in Counter(persons).items() if count == 1]
    if lonely or not persons:
        rest = f" and {len(lonely) - 1} more persons" if len(lonely) > 1 else ""
        raise InputError(
            "clips",
            found=f"one clip alone of {quoted(lonely[0])}{rest}" if lonely else "no clips",
            wanted="two clips or more of every person",
            fix="A reference is never the clip itself: add another clip of them, or leave them out.",
        )


class CrossClipPairs:
    """Draws clips to learn and, for each, another clip of the same person."""

    def __init__(self, persons: Sequence[Hashable], targets: Sequence[int]) -> None:
        """``targets``: the numbers of the clips to learn. Raises InputError for a person who has one clip alone."""
        require_pairs(persons)
        self.persons, self.targets = persons, targets
        self.clips_of: dict[Hashable, list[int]] = defaultdict(list)
        for number, person in enumerate(persons):
            self.clips_of[person].append(number)

    def draw(self, count: int, generator: torch.Generator) -> list[tuple[int, int]]:
        """Pairs of target and reference; every target is as likely, and so is every other clip of its person."""
        chances = torch.rand(2, count, generator=generator, device=generator.device, dtype=torch.float64).tolist()
        pairs = []
        for of_clip, of_reference in zip(*chances, strict=True):
            clip = self.targets[int(of_clip * len(self.targets))]
            own = self.clips_of[self.persons[clip]]
            step = 1 + int(of_reference * (len(own) - 1))
            pairs.append((clip, own[(own.index(clip) + step) % len(own)]))
        return pairs


@dataclass(frozen=True, slots=True)
class Dropout:
    """How often a row of a batch lacks something, each as a share of all rows."""

    identity: float = 0.1  # alone: its vector is zero, which is the null identity
    text: float = 0.1  # alone: it is the empty prompt
    both: float = 0.05

    def __post_init__(self) -> None:
        """Raises InputError for shares that leave nothing to learn."""
        if not 0 <= self.identity + self.text + self.both < 1:
            total = self.identity + self.text + self.both
            raise InputError("dropout", found=f"shares of {total:g} together", wanted="less than 1", fix="Lower them.")

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which rows lack the identity, and which the text, b each."""
        chance = torch.rand(count, generator=generator, device=generator.device)
        has_neither = chance < self.both
        lacks_identity = chance < self.both + self.identity
        lacks_text = (chance < self.both + self.identity + self.text) & ~lacks_identity
        return lacks_identity, lacks_text | has_neither


@dataclass(frozen=True, slots=True, eq=False)
class IdentityBatch:
    """Clips with their references, on one device."""

    latents: Tensor = field(repr=False)  # b c t h w
    text: Tensor = field(repr=False)  # b n d
    given: Tensor | None = field(repr=False)  # b e t h w
    embeddings: Tensor = field(repr=False)  # b 1 512, of the references; zero where the identity is dropped
    supervised: Tensor | None = field(repr=False)  # b 512, of the references, whether dropped or not
    has_identity: Tensor = field(repr=False)  # b
    boxes: Tensor = field(repr=False)  # b t 4
    points: Tensor = field(repr=False)  # b f 5 2


def draw_batch(
    clips: ClipSet, pairs: CrossClipPairs, dropout: Dropout, count: int, generator: torch.Generator
) -> IdentityBatch:
    """A batch on the generator's device."""
    device = generator.device
    numbers = pairs.draw(count, generator)
    lacks_identity, lacks_text = dropout.draw(count, generator)
    examples = [clips.clip(clip) for clip, _ in numbers]
    references = [clips.clip(reference) for _, reference in numbers]
    text = torch.stack([example.text for example in examples]).to(device)
    embeddings = torch.stack([reference.embedding for reference in references]).to(device)
    return IdentityBatch(
        latents=torch.stack([example.latent for example in examples]).to(device),
        text=torch.where(lacks_text[:, None, None], clips.empty_text.to(text), text),
        given=_stacked([example.given for example in examples], device),
        embeddings=(embeddings * ~lacks_identity[:, None])[:, None],
        supervised=_stacked([reference.supervised for reference in references], device),
        has_identity=~lacks_identity,
        boxes=torch.stack([example.boxes for example in examples]).to(device),
        points=torch.stack([example.points for example in examples]).to(device),
    )


def _stacked(parts: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
    """Tensors of all clips, or None where no clip has one; raises ValueError where only some have."""
    found = [part for part in parts if part is not None]
    if found and len(found) < len(parts):
        raise ValueError(f"{len(found)} of {len(parts)} clips have what all or none have to have")
    return torch.stack(found).to(device) if found else None
