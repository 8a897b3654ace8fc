"""What the adapters of the miniature cast are trained on: clips of one person, and references from any."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from demo.training.adapters import SIZE, PersonClips, loss_by_vector
from demo.training.expert_network import expert, with_short_text
from demo.training.latent_clips import ClipSeries, LatentClips
from wan_core.training.examples import Dropout
from wan_core.training.lite import lite_adapter
from wan_core.training.locked_pass import FrozenExpert
from wan_core.training.noise import SigmaRange
from wan_core.training.objective import ObjectivePlan

PORTRAIT = torch.arange(512.0)
SERIES = ClipSeries("small", "validation", people=4, takes=2)


@pytest.fixture
def clips(tmp_path: Path) -> PersonClips:
    """Five rows of noise that are ready; the second shows two people."""
    rows, random = LatentClips.of_folder(SERIES, tmp_path), np.random.default_rng(0)
    for array in (rows.latents, rows.embeddings, rows.boxes, rows.points):
        array[:] = random.normal(size=array.shape)
    rows.embeddings[[0, 2, 3, 4, 5, 6, 7], 1] = np.nan
    rows.captions[:] = [[f"clip {row}", f"\u7247 {row}"] for row in range(len(SERIES))]
    reader = SimpleNamespace(contexts=contexts)
    source = SimpleNamespace(clips=rows, count=5, reader=reader, given=lambda numbers: torch.zeros(1, 0, 5, 12, 12))
    return PersonClips(source, {1: PORTRAIT, 3: PORTRAIT})


def contexts(prompts: list[str]) -> Tensor:
    return torch.tensor([[float(len(prompt))] for prompt in prompts])[:, None]


def test_pairs_and_portraits_are_references_alone_and_no_person_has_a_part_of_the_takes(
    clips: PersonClips,
) -> None:
    assert clips.persons == [0, 0, 1, 1, 1] and clips.targets == [0, 2, 3]
    assert torch.equal(clips.clip(4).embedding, PORTRAIT) and torch.equal(clips.clip(4).text, clips.clip(2).text)


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


def test_the_same_clips_and_noise_are_judged_with_each_vector(clips: PersonClips) -> None:
    clips.contexts, clips.empty_text = torch.ones(4, 48, 64), torch.zeros(48, 64)
    torch.manual_seed(0)
    wan = expert()
    torch.nn.init.normal_(wan.head.head.weight, std=0.1)
    frozen = FrozenExpert(wan.requires_grad_(False), torch.bfloat16, options_for=with_short_text)
    adapter = lite_adapter(SIZE, width_d=wan.dim, blocks=len(wan.blocks), generator=torch.Generator().manual_seed(0))
    plan = ObjectivePlan(SigmaRange(0.0, 0.9, 5.0), batch=2, dropout=Dropout(0, 0, 0))
    device = torch.device("cpu")
    untrained = loss_by_vector(frozen, adapter, clips, plan, device)
    assert len(set(untrained.values())) == 1
    for layer in adapter.ip.layers.values():
        torch.nn.init.normal_(layer.to_v_ip.weight)
    assert len(set(loss_by_vector(frozen, adapter, clips, plan, device).values())) == 3
