"""The benchmark that times our nodes against the host's own still runs."""

from __future__ import annotations

import re

import pytest

from tests.bench.bench_nodes import COMPARISONS, Comparison, compare
from tests.host.live import Client


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.name)
def test_one_round_gives_a_ratio(client: Client, comparison: Comparison) -> None:
    line = compare(client, comparison, rounds=1)
    assert line.startswith(comparison.name)
    figures = re.search(r"ours +(\S+) s +stock +(\S+) s +ratio +(\S+)", line).groups()
    assert all(float(figure) > 0 for figure in figures)
