from __future__ import annotations

from dataclasses import replace

import pytest

from wan_core.identity.onnx_graph import OnnxContents, OnnxSizes, OnnxTensor, contents_problem, sizes_problem

CONV = ("", "Conv")
SOUND = OnnxContents(
    frozenset({CONV, ("ai.onnx", "PRelu")}), 500, (OnnxTensor("w", (64, 3, 3), 576),), 4, 9, 8, is_plain=True
)

SCRFD = OnnxSizes(200_000_000, longest_shape=4, has_open_constants=False, has_constant_work=False)  # on 640 px


@pytest.mark.parametrize("name", ["Loop", "If", "Scan", "SequenceMap", "RandomNormal", "com.microsoft.Conv"])
def test_only_operators_of_face_networks_are_run(name: str) -> None:
    domain, _, operator = name.rpartition(".")
    contents = replace(SOUND, operators=frozenset({CONV, (domain, operator)}))
    assert contents_problem(contents) == f"with the operator '{name}', which no face network needs"


def test_only_plain_and_not_too_many_parts_are_run() -> None:
    for changes, problem in (
        ({}, None),
        ({"is_plain": False}, "with graphs inside its graph, or with weights that are not plain"),
        ({"most_axes": 65}, "with values of 65 axes, or 8 numbers in an attribute"),
        ({"most_sizes": 17}, "with values of 4 axes, or 17 numbers in an attribute"),
        ({"shape_numbers": 1 << 20}, "with more numbers that say shapes than a face network has"),
        ({"nodes": 10_001}, "of 10001 nodes and 1 weights"),
        ({"tensors": SOUND.tensors * 200_000}, "of 500 nodes and 200000 weights"),
    ):
        assert contents_problem(replace(SOUND, **changes)) == problem


def test_a_weight_has_as_many_numbers_as_it_says_and_has_them_in_the_file() -> None:
    for shape, stored, problem in (
        ((), 1, None),
        ((0, 7), 0, None),
        ((9,), None, "lies in another file or is of an unknown type"),
        ((1 << 40, 2), 4, "is to have 1099511627776 x 2 numbers and has 4"),
        ((-2, -2), 4, "is to have -2 x -2 numbers and has 4"),
        ((), 0, "is to have 1 numbers and has 0"),
    ):
        contents = replace(SOUND, tensors=(OnnxTensor("w", shape, stored),))
        assert contents_problem(contents) == (problem and f"whose weight 'w' {problem}")


def test_what_the_nodes_make_of_a_picture_is_bounded() -> None:
    for changes, problem in (
        ({}, None),
        ({"numbers": 1 << 40}, "which makes 1.1e+12 numbers of one picture"),
        ({"longest_shape": 1024}, "with values of 1024 axes"),
        ({"has_open_constants": True}, "which makes constants of unknown size"),
        ({"has_constant_work": True}, "which computes with constants alone"),
    ):
        assert sizes_problem(replace(SCRFD, **changes)) == problem
