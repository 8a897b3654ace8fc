from __future__ import annotations

from dataclasses import replace

import pytest

from wan_core.identity.onnx_graph import OnnxContents, OnnxSizes, OnnxTensor, contents_problem, sizes_problem

CONV = ("", "Conv")
SOUND = OnnxContents(frozenset({CONV, ("ai.onnx", "PRelu")}), 500, (OnnxTensor("w", (64, 3, 3), 576),), is_plain=True)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"tensors": (OnnxTensor("one", (), 1), OnnxTensor("none", (0, 7), 0))}, None),
        *(
            ({"operators": frozenset({CONV, ("", name)})}, f"with the operator '{name}', which no face network needs")
            for name in ("Loop", "If", "Scan", "SequenceMap", "RandomNormal")
        ),
        (
            {"operators": frozenset({("com.microsoft", "Conv")})},
            "with the operator 'com.microsoft.Conv', which no face network needs",
        ),
        ({"is_plain": False}, "with graphs inside its graph, or with weights that are not plain"),
        ({"nodes": 10_001}, "of 10001 nodes and 1 weights"),
        ({"tensors": SOUND.tensors * 200_000}, "of 500 nodes and 200000 weights"),
        (
            {"tensors": (OnnxTensor("w", (9,), None),)},
            "whose weight 'w' lies in another file or is of an unknown type",
        ),
        (
            {"tensors": (OnnxTensor("w", (1 << 40, 2), 4),)},
            "whose weight 'w' is to have 1099511627776 x 2 numbers and has 4",
        ),
        ({"tensors": (OnnxTensor("w", (-2, -2), 4),)}, "whose weight 'w' is to have -2 x -2 numbers and has 4"),
        ({"tensors": (OnnxTensor("w", (), 0),)}, "whose weight 'w' is to have 1 numbers and has 0"),
    ],
)
def test_what_a_file_may_hold(changes: dict[str, object], problem: str | None) -> None:
    assert contents_problem(replace(SOUND, **changes)) == problem


def test_what_the_nodes_make_of_a_picture_is_bounded() -> None:
    assert sizes_problem(OnnxSizes(200_000_000, has_open_constants=False)) is None  # SCRFD on 640 px
    assert sizes_problem(OnnxSizes(1 << 40, has_open_constants=False)) == "which makes 1.1e+12 numbers of one picture"
    assert sizes_problem(OnnxSizes(9, has_open_constants=True)) == "which makes constants of unknown size"
