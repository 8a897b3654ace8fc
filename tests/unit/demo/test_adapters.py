"""What the adapters of the miniature cast are trained on: clips of one person, and references from any."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from demo.training import adapters
from demo.training.adapters import PersonClips
from demo.training.latent_clips import ClipSeries, LatentClips

SERIES = ClipSeries("small", "validation", people=4, takes=2)


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PersonClips:
    """Five rows of noise that are ready; the second shows two people."""
    monkeypatch.setattr(adapters, "TRAINING", SERIES)
    rows, random = LatentClips.of_folder(SERIES, tmp_path), np.random.default_rng(0)
    for array in (rows.latents, rows.embeddings, rows.boxes, rows.points):
        array[:] = random.normal(size=array.shape)
    rows.embeddings[[0, 2, 3, 4, 5, 6, 7], 1] = np.nan
    rows.captions[:] = [[f"clip {row}", f"\u7247 {row}"] for row in range(len(SERIES))]
    reader = SimpleNamespace(contexts=contexts)
    source = SimpleNamespace(clips=rows, count=5, reader=reader, given=lambda numbers: torch.zeros(1, 0, 5, 12, 12))
    return PersonClips(source)


def contexts(prompts: list[str]) -> Tensor:
    return torch.tensor([[float(len(prompt))] for prompt in prompts])[:, None]


def test_a_pair_is_a_reference_alone_and_a_person_with_a_part_of_the_takes_is_left_out(clips: PersonClips) -> None:
    assert clips.persons == [0, 0, 1, 1] and clips.targets == [0, 2, 3]


def test_a_row_comes_with_its_caption_and_its_first_person(clips: PersonClips) -> None:
    rows = clips.clips
    for number, letters in ((2, 6), (3, 3)):  # in the two languages
        example = clips.clip(number)
        assert torch.equal(example.latent, torch.from_numpy(rows.latents[number]).float())
        assert torch.equal(example.embedding, torch.from_numpy(rows.embeddings[number, 0]))
        assert torch.equal(example.points, torch.from_numpy(rows.points[number, :, 0]))
        assert torch.equal(example.boxes, rows.latent_boxes([number])[0, :, 0])
        assert example.text.item() == letters and example.given is None
    assert not clips.empty_text.any()
