"""The files that nodes made, and which of them have gone."""

from __future__ import annotations

import os


class MadeFiles:
    """Notices when a file that a node made has gone, so that the node makes it again instead of a dead link."""

    def __init__(self) -> None:
        self._made: dict[str, set[str]] = {}  # node id -> paths
        self._losses: dict[str, int] = {}  # node id -> how many of its files have gone

    def add(self, node_id: str, path: str) -> None:
        """Remembers what a node made."""
        self._made.setdefault(node_id, set()).add(path)

    def losses(self, node_id: str) -> int:
        """How many of the node's files have gone by now; it changes when another one has."""
        gone = {path for path in self._made.get(node_id, ()) if not os.path.exists(path)}
        if gone:
            self._made[node_id] -= gone
            self._losses[node_id] = self._losses.get(node_id, 0) + len(gone)
        return self._losses.get(node_id, 0)
