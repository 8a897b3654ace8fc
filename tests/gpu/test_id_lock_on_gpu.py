"""IDLock on CUDA: nothing at strength 0, and the published formulas at full strength."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.host import recipes
from tests.host.id_lock_runs import compared, locked, person, velocity
from tests.host.live import Client, Graph
from tests.host.moe_runs import unequal
from tests.host.test_id_lock_exactness import CASES, EFFECT, locks

ONE_PASS = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 2e-2}  # relative
NOISES = (("much", 0.95), ("little", 0.3))  # sigma
KINDS = ("Lynx lite", "Lynx full with registers", "Lynx reference", "Stand-In", "Stand-In, lite and reference")


@pytest.mark.parametrize("kind", KINDS)
def test_strength_0_gives_the_bits_of_the_plain_model(client: Client, kind: str) -> None:
    """a lock of strength 0 changes no bit of what the model says"""
    graph = Graph()
    (spec,), model = CASES[kind].specs, recipes.model(graph)
    nothing = locked(graph, model, spec | {"strength": 0.0, "ref_strength": 0.0}, identity=person(graph))
    pairs = {
        name: (velocity(graph, model, sigma=sigma), velocity(graph, nothing, sigma=sigma)) for name, sigma in NOISES
    }
    assert unequal(client, graph, pairs) == []


@pytest.mark.parametrize("kind", [*KINDS, "two persons, left and right"])
def test_one_pass_follows_the_formulas(client: Client, dtype_of: Callable[[str], str], kind: str) -> None:
    """the attentions are those of the published formulas, within the rounding of the type that is computed in"""
    graph = Graph()
    model = recipes.model(graph)
    both = locks(graph, model, CASES[kind])
    rows = {kind: [velocity(graph, link) for link in (both.ours, both.oracle, model)]}
    found = compared(client, graph, rows)[kind]
    assert found.effect > EFFECT
    assert found.relative <= ONE_PASS[dtype_of("model weight dtype")], str(found)
