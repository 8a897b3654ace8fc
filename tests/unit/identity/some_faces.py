"""Faces in known places."""

from __future__ import annotations

from wan_core.identity.align import TEMPLATE
from wan_core.identity.faces import Face, face_of_points


def face_at(x: float, y: float, size: float = 100.0) -> Face:
    """An upright face around a place, whose aligned crop is a square of ``size`` pixels of the picture."""
    return face_of_points(tuple(complex(x, y) + (point - 56 - 56j) * size / 112 for point in TEMPLATE))
