"""IDLock against the two-stream forward pass written out from the published formulas."""

from __future__ import annotations

from typing import Any

import pytest
from tests.host import recipes
from tests.host.id_lock_runs import *
from tests.host.id_lock_runs import FORWARD_LIMIT, LITE, Figures, compared, pair, velocity
from tests.host.live import Client, Graph

KINDS = {
    "lite": LITE, "full": FULL, "ref": REF, "stand-in": PORTRAIT, "all": LITE | REF | PORTRAIT, "full ref": FULL | REF,
}

@pytest.mark.parametrize("way", ["whole", "modules"])
@pytest.mark.parametrize("name", list(KINDS))
def test_one(client: Client, name, way) -> None:
    graph = Graph()
    model = recipes.model(graph)
    each = pair(graph, model, KINDS[name], way=way)
    found = compared(client, graph, {name: [velocity(graph, one) for one in (each.ours, each.oracle, model)]})
    for name, row in found.items():
        print(name, way, row)
