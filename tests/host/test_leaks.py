"""The numbers of a face stay in the process: no way to fail, and no way to end well, writes or sends them."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devtools.server import HostServer
from tests.host.live import Client, Graph
from tests.host.recipes import (
    LOW,
    adapter,
    decoded_to_video,
    guider,
    identity,
    loaded_character,
    locked,
    model,
    moe_guider,
    moe_model,
    moe_sample,
    sample_with_guider,
    saved_character,
    stock_sample,
)

IN_A_ROW = 4  # numbers of a face that are no accident
ROUNDED = 6e-5  # as torch prints a tensor, to four digits
NUMBER = re.compile(rb"-?\d+\.\d+(?:e[-+]?\d+)?")


def leaks(content: bytes, vector: np.ndarray) -> Iterator[str]:
    """How a content holds numbers of the vector that follow each other: their bytes in any type, or their digits."""
    for dtype in ("f4", "f2", "f8", ">f4"):
        raw = vector.astype(dtype).tobytes()
        size = np.dtype(dtype).itemsize * 2 * IN_A_ROW
        for start in range(0, len(raw) - size + 1, size):
            piece = raw[start : start + size]
            written = {
                "raw": piece,
                "hex": piece.hex().encode(),
                **{f"base64 {skipped}": base64.b64encode(piece[skipped:])[:-4] for skipped in range(3)},
            }
            yield from (f"{dtype} {kind}" for kind, needle in written.items() if needle in content)
    found = np.array([float(digits) for digits in NUMBER.findall(content)])
    for start in range(len(vector) - IN_A_ROW + 1) if len(found) >= IN_A_ROW else ():
        windows = np.lib.stride_tricks.sliding_window_view(found, IN_A_ROW)
        if (abs(windows - vector[start : start + IN_A_ROW]) < ROUNDED).all(axis=1).any():
            yield "decimal"


@pytest.fixture(scope="module")
def face(live_host: HostServer) -> np.ndarray:
    """The numbers that the identity of the recipes holds; the file that brought them here is gone."""
    graph = Graph()
    saved = Client(live_host.url).value(graph, identity(graph))
    for file in (live_host.base_dir / "output").glob("probe_*.npz"):
        file.unlink()
    return saved.arrays["/embeddings"].reshape(-1)


@pytest.mark.parametrize(
    "written",
    [
        lambda face: face.tobytes(),
        lambda face: face.astype(np.float16).tobytes(),
        lambda face: b"\n" + base64.b64encode(b"z" + face.tobytes()),
        lambda face: face.tobytes().hex().encode(),
        lambda face: json.dumps(face.tolist()).encode(),
        lambda face: ", ".join(f"{number:.4f}" for number in face[:6]).encode(),
    ],
)
def test_the_search_finds_numbers_however_they_are_written(
    face: np.ndarray, written: Callable[[np.ndarray], bytes]
) -> None:
    noise = np.random.default_rng(7).normal(0, 0.04, face.shape).astype(np.float32)
    assert next(leaks(b"text" + written(face), face), None)
    assert not list(leaks(b"text" + written(noise), face))


def lock(graph: Graph, of_model: list[Any] | None = None, **changes: Any) -> list[Any]:
    return locked(graph, of_model or model(graph), **changes)


def bad_latent(graph: Graph) -> dict[str, list[Any]]:
    return {"latent_image": graph.make(latent=[1, 48, 3, 8, 8])}


FAILING: dict[str, Callable[[Graph], list[Any]]] = {  # where it fails, with a face behind an input
    "IDLock": lambda graph: lock(graph, blocks="0-99"),
    "KSampler": lambda graph: stock_sample(graph, lock(graph), **bad_latent(graph)),
    "MoESampler": lambda graph: moe_sample(
        graph, model_high=lock(graph), model_low=lock(graph, model(graph, LOW)), **bad_latent(graph)
    ),
    "WanCastMoEModel": lambda graph: moe_model(graph, model_high=lock(graph), model_low=graph.make(value=1)),
    "WanCastMoEGuider": lambda graph: moe_guider(graph, guider_high=guider(graph, lock(graph)), switch="half way"),
    "SamplerCustomAdvanced": lambda graph: sample_with_guider(graph, guider(graph, lock(graph)), **bad_latent(graph)),
    "identity": lambda graph: graph.edit(identity(graph), "no_part", value=1),
    "adapter": lambda graph: graph.edit(adapter(graph), "no_part", value=1),
    "model": lambda graph: graph.edit(lock(graph), "no_part", value=1),
    "guider": lambda graph: graph.edit(guider(graph, lock(graph)), "no_part", value=1),
    "character": lambda graph: graph.edit(loaded_character(graph), "no_part", value=1),
    "WanCastCharacterSave": lambda graph: saved_character(graph, name=""),
    "none": lambda graph: decoded_to_video(graph, samples=stock_sample(graph, lock(graph), steps=1)),
}


@pytest.mark.parametrize("node", FAILING)
def test_nothing_that_a_prompt_leaves_holds_numbers_of_the_face(
    client: Client, live_host: HostServer, face: np.ndarray, node: str
) -> None:
    begun_s, log_start = time.time() - 1, live_host.log_path.stat().st_size
    graph = Graph()
    graph.hash(FAILING[node](graph))
    frames = list(client.frames(graph))
    ended, data = next(frame for frame in reversed(frames) if not isinstance(frame, bytes))
    assert (ended == "execution_success") == (node == "none"), data
    client.require_work()  # so the host has filed the prompt before
    left: dict[str, bytes] = {"log": live_host.log_path.read_bytes()[log_start:]}
    left["websocket"] = b"\n".join(f if isinstance(f, bytes) else json.dumps(f).encode() for f in frames)
    left["history"] = json.dumps(client.get(f"/history/{data['prompt_id']}")).encode()
    left |= {str(path): path.read_bytes() for path in files_since(live_host.base_dir, begun_s)}
    assert data["prompt_id"].encode() in left["history"]
    assert {name: set(leaks(content, face)) for name, content in left.items()} == {name: set() for name in left}


def files_since(base: Path, begun_s: float) -> Iterator[Path]:
    """The files that were written below a host's folder since then, its log and the library excepted."""
    for folder in ("output", "temp", "user", "input"):
        found = (path for path in (base / folder).rglob("*") if "__wancast" not in path.parts)
        yield from (path for path in found if path.is_file() and path.stat().st_mtime > begun_s)
