from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import pytest

from demo.miniature import face_onnx
from wan_core.identity import onnx_wire
from wan_core.identity.onnx_wire import require_bounded_onnx
from wan_core.weights import WeightFileError

SOUND = face_onnx.recogniser("a")
LARGE = onnx.ModelProto()
LARGE.graph.initializer.add(raw_data=bytes(1 << 24))
TOO_MANY, LONGER = "more fields or texts than a network has", "a field that is longer than its message"


@pytest.mark.parametrize("content", [b"", SOUND, face_onnx.detector("a"), LARGE.SerializeToString()])
def test_a_network_may_be_read(content: bytes) -> None:
    require_bounded_onnx(content)


@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64])
def test_numbers_that_are_written_one_by_one_may_grow_to_the_size_of_the_largest_file(
    kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.ModelProto()
    model.graph.initializer.append(onnx.helper.make_tensor("", kind, [6_000_000], np.full(6_000_000, 200)))
    size_bytes = len(content := model.SerializeToString())
    assert onnx_wire.MOST_OPAQUE_BYTES < size_bytes < onnx_wire.MOST_FILE_BYTES / 8
    require_bounded_onnx(content)
    monkeypatch.setattr(onnx_wire, "MOST_FILE_BYTES", 2 * size_bytes)
    with pytest.raises(WeightFileError, match="numbers that may become more than"):
        require_bounded_onnx(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SOUND[:-1], LONGER),
        (SOUND[: len(SOUND) // 2], LONGER),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", LONGER),  # a graph of 2**63 bytes
        (b"\x08" + b"\xff" * 20, "a number that does not end"),
        (b"version https://git-lfs", "a field that is written in no known way"),
        (b"\x3a\x80\x92\xf4\x01" + b"\x0a\x00" * 2_000_000, TOO_MANY),  # two million nodes in 4 MB
        (b"\x32\x80\x80\x80\x08" + b"t" * (1 << 24), TOO_MANY),  # a text of 16 MiB
    ],
)
def test_what_is_damaged_or_would_grow_is_refused_unread(content: bytes, reason: str) -> None:
    with pytest.raises(WeightFileError, match=reason):
        require_bounded_onnx(content)


PLACES: dict[str, Callable[[onnx.ModelProto], Callable[[], object]]] = {
    "sizes of a weight": lambda model: partial(model.graph.initializer.add().dims.append, 1),
    "attributes": lambda model: model.graph.node.add().attribute.add,
    "dimensions": lambda model: model.graph.value_info.add().type.tensor_type.shape.dim.add,
    "nodes of a nested graph": lambda model: model.graph.node.add().attribute.add().graphs.add().node.add,
    "nodes of a function": lambda model: model.functions.add().node.add,
}


@pytest.mark.parametrize("place", PLACES)
def test_the_fields_of_every_place_are_counted(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_wire, "MOST_FIELDS", 50)
    model = onnx.ModelProto()
    add = PLACES[place](model)
    for _ in range(40):
        add()
    require_bounded_onnx(model.SerializeToString())
    for _ in range(40):
        add()
    with pytest.raises(WeightFileError, match=TOO_MANY):
        require_bounded_onnx(model.SerializeToString())
