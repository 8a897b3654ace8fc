"""What an attacker sends: paths, damaged files, files that swell, prompts; each drawn from a seeded generator."""

from __future__ import annotations

import copy
import json
import shutil
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
import torch

from demo.miniature.face_onnx import Graph

SEED = 20261126
MIB = 2**20
LENGTH_BYTES = 8  # of a safetensors header

# Paths

STEPS = ["..", ".", "", "~", "$HOME", "%2e%2e", "..\\..", "....//", "C:", "C:\\Windows", "\\\\server\\share", "file://"]
NAMES = [
    "video",
    "shot",
    "link",
    "CON",
    "nul.txt",
    "shot.",
    "shot ",
    "*",
    "?",
    "%width%",
    "%year%",
    "%date:yyyy%",
    "-rf",
]
NAMES += [
    "[output]",
    "[input] x",
    "\0",
    "a\0b",
    "\n",
    "\r\n",
    "\u2028",
    "\u202egnp",
    "e\u0301",
    "\ud800",
    "\udcff",
    "|",
    "<b>",
]
NAMES += [
    "a" * 256,
    "a" * 4096,
    "\u4e2d" * 90,
    "secret.safetensors",
    "secret.onnx",
    "mini_syncnet.safetensors",
    "__init__.py",
]


def path(random: Random, outside: Path) -> str:
    """One to six parts, put together in one of the ways in which a path leads elsewhere."""
    parts = [random.choice(random.choice((STEPS, NAMES))) for _ in range(random.randint(1, 6))]
    start = random.choice(("", "", "", "/", "//", "../" * random.randint(1, 9), f"{outside}/", f"link/{'../' * 3}"))
    return start + random.choice(("/", "/", "\\", "/../", "")).join(parts)


# Damaged files

EDGES = [
    0,
    -1,
    1,
    2**31,
    2**63,
    10**19,
    1e308,
    "",
    "\ud800",
    "F32",
    "X99",
    None,
    True,
    [],
    {},
    [2**40, 0],
    [[1]],
    "a" * 9999,
]


def mutated(random: Random, content: bytes) -> bytes:
    """A file with one to three places changed, every second time near its start, where its structure is."""
    data = bytearray(content)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(min(len(data), random.choice((600, 2**40))) or 1)
        match random.randrange(6):
            case 0:
                data[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                del data[at:]
            case 2:
                del data[at : at + random.randint(1, 64)]
            case 3:
                data[at:at] = random.randbytes(random.randint(1, 64))
            case 4:
                data[at : at + 8] = random.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little")
            case 5:
                data[at:at] = data[: random.randint(1, 2000)]
    return bytes(data)


def mutated_header(random: Random, content: bytes) -> bytes:
    """A safetensors file whose header is well-formed and says something else of one tensor."""
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:start])
    key = random.choice(sorted(header))
    match random.randrange(4):
        case 0:
            header[key] = random.choice(EDGES)
        case 1:
            header[random.choice(NAMES)] = header.pop(key)
        case 2 if key != "__metadata__":
            header[key][random.choice(("dtype", "shape", "data_offsets"))] = random.choice(EDGES)
        case _:
            header["__metadata__"] = {random.choice(NAMES): random.choice(EDGES)}
    text = json.dumps(header).encode()
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + content[start:]


# Files that swell: each takes the bytes that it would become


def one_number_many_times(path: Path, swollen_bytes: int) -> None:
    torch.save({"weight": torch.zeros(1).expand(swollen_bytes // 4)}, path)


def one_storage_many_times(path: Path, swollen_bytes: int) -> None:
    shared = torch.zeros(MIB // 4)
    torch.save({f"weight{n}": shared[:] for n in range(swollen_bytes // MIB)}, path)


def deflated(path: Path, swollen_bytes: int) -> None:
    plain_path = path.with_suffix(".plain")
    torch.save({"weight": torch.zeros(swollen_bytes // 4)}, plain_path)
    with zipfile.ZipFile(plain_path) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            with plain.open(name) as source, packed.open(name, "w") as target:
                shutil.copyfileobj(source, target)
    plain_path.unlink()


def overlapping(path: Path, swollen_bytes: int) -> None:
    place = {"dtype": "F32", "shape": [MIB // 4], "data_offsets": [0, MIB]}
    text = json.dumps({f"weight{n}": place for n in range(swollen_bytes // MIB)}).encode()
    path.write_bytes(len(text).to_bytes(LENGTH_BYTES, "little") + text + bytes(MIB))


def growing_graph(path: Path, swollen_bytes: int) -> None:
    """A recogniser by its shapes, which makes a huge tensor on the way."""
    graph = Graph({})
    huge = graph.add("ConstantOfShape", graph.constant("size", [swollen_bytes // 4], torch.int64))
    mean = graph.add("Add", graph.add("ReduceMean", huge), graph.add("ReduceMean", "input"))
    x = graph.add("Reshape", mean, graph.constant("one", [1, 1], torch.int64))
    graph.add("Expand", x, graph.constant("shape", [1, 512], torch.int64), out="embedding")
    path.write_bytes(graph.file(("None", 3, 112, 112), {"embedding": ("None", 512)}))


def film(path: Path, swollen_bytes: int, side_px: int = 1024) -> None:
    """A video of one colour with a second of sound."""
    frame = av.VideoFrame.from_ndarray(np.full((side_px, side_px, 3), 128, np.uint8), format="rgb24")
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(25), options={"preset": "ultrafast", "crf": "50"})
        video.width = video.height = side_px
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        noise = np.random.default_rng(SEED).uniform(-0.5, 0.5, (1, 16000)).astype(np.float32)
        samples = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        samples.rate = 16000
        for number in range(swollen_bytes // (side_px**2 * 12)):
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux([*video.encode(), *sound.encode(samples), *sound.encode()])


BOMBS: dict[str, Callable[[Path, int], None]] = {
    "one_number.ckpt": one_number_many_times,
    "one_storage.pt": one_storage_many_times,
    "deflated.ckpt": deflated,
    "overlapping.safetensors": overlapping,
    "growing.onnx": growing_graph,
    "film.mp4": film,
}


# Prompts


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


VALUES = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    2**64,
    -0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\ud800",
    "\0",
    "a" * MIB,
    "../x",
]
VALUES += [
    [],
    {},
    {"a": [1, {"b": None}]},
    [1, 2, 3],
    ["1", 0],
    ["1", 99],
    ["1", -1],
    [1, "0"],
    deep(400),
    "[1]",
    "0:1",
]
MADE = [
    {"value": value} for value in (None, 0, "text", [], {}, [None], {"samples": None}, {"waveform": 1}, "\u202e", 1e308)
]
MADE += [
    {"tensor": shape} for shape in ([0], [1], [1, 16, 2, 8, 8], [1, 3, 8], [1, 0, 64, 3], [2, 64, 64, 4], [1, 1, 1, 3])
]
MADE += [{"tensor": [1, 8, 8, 3], "fill": fill} for fill in ("nan", "inf", "unit")]
MADE += [
    {"latent": shape} for shape in ([16, 2, 8, 8], [1, 4, 8, 8], [1, 16, 0, 8, 8], [1, 48, 1, 2, 2], [1, 16, 2, 3, 5])
]
MADE += [{"latent": [1, 16, 2, 8, 8], "fill": fill} for fill in ("nan", "inf", "zeros")] + [{"conditioning": [1, 1]}]
MADE += [
    {"audio": shape, "rate": rate} for shape in ([1, 1, 0], [1, 192, 99], [800]) for rate in (0, -1, 2**40, 16000, "x")
]
MADE += [{"list": [{"tensor": [1, 8, 8, 3]}]}, {"dict": {"samples": {"nested": [{"tensor": [1, 16, 2, 8, 8]}]}}}]
Prompt = dict[str, Any]


def prompt(random: Random, good: Prompt, ours: list[str]) -> Prompt:
    """A good prompt with one or two faults in our nodes: most often a link that brings something else."""
    bad = copy.deepcopy(good)
    for _ in range(random.choice((1, 1, 1, 2))):
        node = random.choice(ours)
        inputs = bad[node]["inputs"] if isinstance(bad[node].get("inputs"), dict) else {}
        name = random.choice(sorted(inputs) or ["x"])
        match random.randrange(16):
            case 0 if inputs:
                inputs.pop(name)
            case 1:
                inputs[random.choice(("no_such_input", "__class__", "\ud800", f"{name}.x", name.split(".")[0]))] = name
            case 2:
                inputs[name] = [node, 0]  # of itself
            case 3:
                inputs[name] = [random.choice(sorted(good)), random.randint(0, 3)]
            case 4:
                bad[node][random.choice(("class_type", "inputs", "_meta"))] = random.choice(VALUES)
            case 5 | 6 | 7:
                inputs[name] = random.choice(VALUES)
            case _:
                inputs[name] = [f"made for {name}", 0]
                spec = json.dumps(random.choice(MADE))
                bad[f"made for {name}"] = {"class_type": "WanCastProbeTensor", "inputs": {"spec": spec}}
    return bad
