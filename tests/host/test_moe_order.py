"""On a flow with a known solution, the solver keeps its order of accuracy across the switch of the experts."""

from __future__ import annotations

import pytest

from tests.bench.bench_moe_order import measure
from tests.host.live import Client

STEPS = (40, 80, 160)


@pytest.mark.parametrize(("sampler", "least_kick"), [("dpmpp_2m", 2.0), ("uni_pc", 8.0)])
def test_one_run_is_of_second_order_and_two_in_a_row_are_less_accurate_at_any_number_of_steps(
    client: Client, sampler: str, least_kick: float
) -> None:
    """The second sampler in a row begins without history; its one step of first order costs a factor, not the order."""
    once, twice = measure(client, [sampler], STEPS)
    assert 1.9 < once.order < 2.1
    assert 1.9 < twice.order < 2.2
    assert all(two > least_kick * one for one, two in zip(once.errors, twice.errors, strict=True))
