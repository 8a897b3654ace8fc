from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.unit.identity.some_inputs import at_degrees, refused
from wan_core.identity.combine import Combined, agreement, combine


def combined(*degrees: float, method: str = "mean", **changes: Any) -> Combined:
    count = len(degrees)
    inputs = {"qualities": [0.5] * count, "weights": [1.0] * count, "numbers": range(1, count + 1)}
    return combine(at_degrees(*degrees), method=method, **inputs | changes)


def cos(degrees: float) -> float:
    return torch.cos(torch.deg2rad(torch.tensor(degrees))).item()


def test_agreement_is_the_cosine_to_the_mean_of_the_others() -> None:
    assert agreement(at_degrees(30)) == [1.0]
    assert agreement(at_degrees(0, 60)) == pytest.approx([0.5, 0.5], abs=1e-6)
    # the others of 0 degrees are 20 and 40: their mean points to 30
    assert agreement(at_degrees(0, 20, 40)) == pytest.approx([cos(30.0), 1.0, cos(30.0)], abs=1e-6)


def test_the_mean_is_weighted_by_the_scores() -> None:
    torch.testing.assert_close(combined(10).z, at_degrees(10)[0])
    torch.testing.assert_close(combined(10, 50).embeddings, at_degrees(30))
    expected = 0.9 * at_degrees(0)[0] + 0.6 * at_degrees(50)[0]
    torch.testing.assert_close(combined(0, 50, weights=[0.9, 0.6]).z, expected / expected.square().sum().sqrt())


def test_best_takes_the_reference_of_the_highest_quality_and_tokens_all_beside_the_mean() -> None:
    best = combined(0, 20, 40, method="best", qualities=[0.2, 0.9, 0.4])
    torch.testing.assert_close(best.z, at_degrees(20)[0])
    torch.testing.assert_close(best.embeddings, at_degrees(20))
    assert (best.best, best.kept) == (1, (0, 1, 2))
    tokens = combined(0, 30, 60, method="tokens")
    torch.testing.assert_close(tokens.embeddings, at_degrees(0, 30, 60))
    torch.testing.assert_close(tokens.z, at_degrees(30)[0])


def test_a_stranger_is_left_out() -> None:
    found = combined(0, 15, 30, 110, 45, qualities=[0.1, 0.2, 0.3, 0.9, 0.4])
    assert (found.kept, found.best) == ((0, 1, 2, 4), 4)  # the stranger has the highest quality, and does not count
    assert [verdict.kept for verdict in found.verdicts] == [True, True, True, False, True]
    assert found.verdicts[3].cos == pytest.approx(cos(110 - 22.5), abs=1e-6)
    torch.testing.assert_close(found.z, at_degrees(22.5)[0])
    assert combined(0, 40, 20, 110, 110, 110, 110).kept == (0, 1, 2)  # copies of a stranger do not outvote the others


def test_duplicates_count_once_and_the_best_stands_for_them() -> None:
    found = combined(0, 5, 50, qualities=[0.3, 0.8, 0.5])
    assert cos(5) > 0.98 > cos(50)
    assert found.kept == (1, 2)
    assert (found.verdicts[0].kept, found.verdicts[0].same_as) == (False, 1)
    assert found.verdicts[0].cos == pytest.approx(cos(5), abs=1e-6)
    torch.testing.assert_close(found.z, at_degrees(27.5)[0])


def test_references_of_different_persons_are_refused_by_number() -> None:
    found = "references that show different persons: image 7 (cos 0.17), image 23 (cos 0.17)"
    with refused("images", found, "a cos of 0.35 or more to the other references in at least half of 2"):
        combined(0, 80, numbers=(7, 23))


def test_exactly_half_is_enough() -> None:
    vectors = torch.zeros(4, 512)
    vectors[:2] = at_degrees(0, 40)
    vectors[2, 2], vectors[3, 3] = 1.0, 1.0  # two strangers at right angles to all
    found = combine(vectors, method="mean", qualities=[0.5] * 4, weights=[1.0] * 4, numbers=(1, 2, 3, 4))
    assert found.kept == (0, 1)
