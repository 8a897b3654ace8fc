"""References are other clips of the same person, and rows lack identity and text as often as they should."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from tests.unit.training.some_clips import PERSONS, SomeClips, clip_of
from wan_core.errors import InputError
from wan_core.training.examples import ClipExample, CrossClipPairs, Dropout, draw_batch


def test_a_reference_is_every_other_clip_of_the_person_alike_and_never_the_clip() -> None:
    targets = [0, 1, 3, 4, 5, 6]  # the third clip is a reference alone
    found = Counter(CrossClipPairs(PERSONS, targets).draw(18_000, torch.Generator().manual_seed(0)))
    others = {n: [m for m, whose in enumerate(PERSONS) if whose == PERSONS[n] and m != n] for n in targets}
    wanted = {(n, m): 3000 / len(ms) for n, ms in others.items() for m in ms}
    assert found.keys() == wanted.keys()
    assert all(abs(found[pair] - count) < 5 * count**0.5 for pair, count in wanted.items())


@pytest.mark.parametrize(
    ("persons", "found"),
    [
        (["ann", "bob", "ann"], "one clip alone of 'bob'"),
        (["ann", "bob", "cid"], "one clip alone of 'ann' and 2 more persons"),
        ([], "no clips"),
    ],
)
def test_a_person_with_one_clip_is_refused(persons: list[str], found: str) -> None:
    with pytest.raises(InputError, match=f"clips: found {found}; wanted two clips or more of every person"):
        CrossClipPairs(persons, range(len(persons)))


def test_rows_lack_identity_and_text_as_often_as_they_should() -> None:
    identity, text = Dropout(identity=0.1, text=0.2, both=0.05).draw(40_000, torch.Generator().manual_seed(0))
    shares = [part.float().mean().item() for part in (identity & ~text, text & ~identity, identity & text)]
    assert shares == pytest.approx([0.1, 0.2, 0.05], abs=0.006)


def test_a_batch_is_of_the_clips_but_for_vectors_which_are_of_the_references() -> None:
    clips, dropout = SomeClips(PERSONS, {}), Dropout(0.3, 0.3, 0.2)
    for seed in range(8):
        batch = draw_batch(
            clips, CrossClipPairs(PERSONS, clips.targets), dropout, 8, torch.Generator().manual_seed(seed)
        )
        known = [clip_of(number) for number in range(len(PERSONS))]
        for row in range(8):
            clip = next(n for n, one in enumerate(known) if torch.equal(one.latent, batch.latents[row]))
            whose = next(n for n, one in enumerate(known) if torch.equal(one.supervised, batch.supervised[row]))
            assert whose != clip and PERSONS[whose] == PERSONS[clip]
            vector = known[whose].embedding if batch.has_identity[row] else torch.zeros(512)
            assert torch.equal(batch.embeddings[row, 0], vector)
            is_empty = torch.equal(batch.text[row], clips.empty_text)
            assert is_empty or torch.equal(batch.text[row], known[clip].text)
    assert batch.given is None and batch.points.shape == (8, 5, 5, 2)


def test_what_some_clips_have_all_have() -> None:
    class Uneven(SomeClips):
        def clip(self, number: int) -> ClipExample:
            return replace(super().clip(number), given=torch.ones(2, 2, 4, 6) if number else None)

    pairs = CrossClipPairs(PERSONS, Uneven.targets)
    with pytest.raises(ValueError, match="clips have what all or none have to have"):
        draw_batch(Uneven(PERSONS, {}), pairs, Dropout(0, 0, 0), 32, torch.Generator().manual_seed(0))
