"""Pictures, faces in known places, recognisers of any size, and what a refusal must say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from wan_core.errors import InputError
from wan_core.identity.align import TEMPLATE
from wan_core.identity.faces import Face, face_of_points
from wan_core.identity.ir_network import IrParams, IrUnitParams


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Numbers from 0 to 1."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def at_degrees(*degrees: float) -> Tensor:
    """Unit vectors (k 512) in one plane."""
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.nn.functional.pad(torch.stack((angles.cos(), angles.sin()), dim=1), (0, 510))


def face_at(x: float, y: float, size: float = 100.0) -> Face:
    """An upright face around a place, whose aligned crop is a square of ``size`` pixels of the picture."""
    return face_of_points(tuple(complex(x, y) + (point - 56 - 56j) * size / 112 for point in TEMPLATE))


def ir_params(
    widths: Sequence[int], units: Sequence[int], *, squeezed_by: int, stem: int, is_tface: bool = False
) -> IrParams:
    """The sizes of a recogniser with stages of these widths; ``squeezed_by`` 0: without squeeze-and-excitation."""
    built, width_in = [], stem
    for width, count in zip(widths, units, strict=True):
        for index in range(count):
            squeeze = width // squeezed_by if squeezed_by else 0
            built.append(IrUnitParams(width_in, width, 2 if index == 0 else 1, squeeze))
            width_in = width
    return IrParams(stem, tuple(built), embedding_d=512, is_tface=is_tface)


@contextmanager
def refused(input_name: str, found: object, wanted: str) -> Iterator[None]:
    """Expects an InputError that says this, word for word."""
    with pytest.raises(InputError) as caught:
        yield
    assert (caught.value.input_name, caught.value.found, caught.value.wanted) == (input_name, found, wanted)
