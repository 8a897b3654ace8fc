"""What an attacker sends: paths, damaged files, files that swell, prompts; drawn from a seeded generator."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch

from demo.miniature.face_onnx import Graph
from tests.unit.test_torch_file import EMPTY, HALF_A_GIGABYTE, archive, saved

SEED = 20261126
MIB = 2**20
LENGTH_BYTES = 8  # of a safetensors header
PLANTED = "f" * 32  # the id of a link in the library that leads outside

STEPS = ["..", ".", "", "~", "$HOME", "%2e%2e", "..\\..", "....//", "C:", "C:\\Windows", "\\\\server\\share", "link"]
NAMES = [
    "video",
    "shot",
    "shot.",
    "shot ",
    "CON",
    "nul.txt",
    "*",
    "?",
    "|",
    "<b>",
    "-rf",
    "[output]",
    "[input] x",
    "\0",
]
NAMES += [
    "%width%",
    "%year%",
    "%date:yyyy%",
    "a\0b",
    "\n",
    "\u2028",
    "\u202egnp",
    "e\u0301",
    "\ud800",
    "\udcff",
    "file:",
]
NAMES += ["a" * 256, "a" * 4096, "\u4e2d" * 90, "mini_syncnet.safetensors", "secret.safetensors", "secret.onnx"]
NAMES += [PLANTED, f"{PLANTED}@{'0' * 12}", f"{PLANTED}.safetensors"]
EDGES = [0, -1, 1, 2**31, 2**63, 10**19, 1e308, "", "\ud800", "F32", "X9", None, True, [], {}, [2**40, 0], [[1]]]


def path(random: Random, outside: Path) -> str:
    """One to six parts, put together in one of the ways in which a path leads elsewhere."""
    parts = [random.choice(random.choice((STEPS, NAMES))) for _ in range(random.randint(1, 6))]
    start = random.choice(("", "", "", "/", "//", "../" * random.randint(1, 9), f"{outside}/", f"link/{'../' * 3}"))
    return start + random.choice(("/", "/", "\\", "/../", "")).join(parts)


# Damaged files


def mutated(random: Random, content: bytes) -> bytes:
    """A file with one to three slices replaced, every second time near its start, where its structure is."""
    data = bytearray(content)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(min(len(data), random.choice((600, len(data)))) or 1)
        number = random.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little")
        put = random.choice((b"", random.randbytes(1), random.randbytes(50), number, bytes(data[:2000])))
        data[at : at + random.choice((0, 1, len(put), random.randrange(64), len(data)))] = put
    return bytes(data)


def mutated_header(random: Random, content: bytes) -> bytes:
    """A safetensors file whose header is well-formed and says something else of one tensor."""
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:start])
    key = random.choice(sorted(header.keys() - {"__metadata__"}))
    match random.randrange(4):
        case 0:
            header[key] = random.choice(EDGES)
        case 1:
            header[random.choice(NAMES)] = header.pop(key)
        case 2:
            header["__metadata__"] = {random.choice(NAMES): random.choice(EDGES)}
        case 3:
            header[key][random.choice(("dtype", "shape", "data_offsets"))] = random.choice(EDGES)
    return with_header(header, content[start:])


def with_header(header: dict[str, Any], content: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + content


# Files that swell: what each would become is in MiB


def overlapping(mib: int) -> bytes:
    place = {"dtype": "F32", "shape": [MIB // 4], "data_offsets": [0, MIB]}
    return with_header({f"weight{n}": place for n in range(mib)}, bytes(MIB))


def growing_graph(mib: int) -> bytes:
    """A recogniser by its shapes, which makes a huge tensor on the way."""
    graph = Graph({})
    huge = graph.add("ConstantOfShape", graph.constant("size", [mib * MIB // 4], torch.int64))
    mean = graph.add("Add", graph.add("ReduceMean", huge), graph.add("ReduceMean", "input"))
    x = graph.add("Reshape", mean, graph.constant("one", [1, 1], torch.int64))
    graph.add("Expand", x, graph.constant("shape", [1, 512], torch.int64), out="embedding")
    return graph.file(("None", 3, 112, 112), {"embedding": ("None", 512)})


BOMBS: dict[str, Callable[[int], bytes]] = {
    "one number.ckpt": lambda mib: saved({"weight": torch.zeros(1).expand(mib * MIB // 4)}),
    "one storage.pt": lambda mib: saved(dict.fromkeys(map(str, range(mib)), torch.zeros(MIB // 4))),
    "deflated.ckpt": lambda mib: archive(EMPTY + bytes(mib * MIB), deflated=True),
    "half a gigabyte.pt": lambda _: archive(HALF_A_GIGABYTE),
    "overlapping.safetensors": overlapping,
    "growing.onnx": lambda mib: growing_graph(16 * mib),
}


# Prompts

DEEP = "[" * 400 + "]" * 400
VALUES = json.loads(f'[null, true, -1, 0, -0.5, 1e308, NaN, Infinity, "", [], {{}}, [1, 2, 3], {DEEP}]')
VALUES += [2**31, 2**63, 2**64, "\ud800", "\0", "a" * MIB, "../x", "[1]", "0:1", [1, "0"]]
PLAIN = [None, 0, "text", "\u202e", [], {}, [None], {"samples": None}, {"waveform": 1}, 1e308]
IMAGES = [[0], [1], [1, 16, 2, 8, 8], [1, 3, 8], [1, 0, 64, 3], [2, 64, 64, 4], [1, 1, 1, 3]]
LATENTS = [[16, 2, 8, 8], [1, 4, 8, 8], [1, 16, 0, 8, 8], [1, 48, 1, 2, 2], [1, 16, 2, 3, 5]]
MADE = [{"value": value} for value in PLAIN] + [{"tensor": shape} for shape in IMAGES]
MADE += [{"tensor": [1, 8, 8, 3], "fill": fill} for fill in ("nan", "inf", "unit")] + [{"conditioning": [1, 1]}]
MADE += [{"latent": shape} for shape in LATENTS]
MADE += [{"latent": [1, 16, 2, 8, 8], "fill": fill} for fill in ("nan", "inf", "zeros")]
MADE += [{"audio": shape, "rate": rate} for shape in ([1, 1, 0], [1, 192, 99], [8]) for rate in (0, -1, 2**40, "x")]
MADE += [{"list": [{"tensor": [1, 8, 8, 3]}]}, {"dict": {"samples": {"nested": [{"tensor": [1, 16, 2, 8, 8]}]}}}]
Prompt = dict[str, Any]


def prompt(random: Random, good: Prompt, ours: list[str]) -> Prompt:
    """A good prompt with one or two faults in our nodes: most often a link that brings something else.

    No link where none was: the host does not look up all of those, and one to nowhere ends its worker by itself.
    """
    bad = copy.deepcopy(good)
    for _ in range(random.choice((1, 1, 1, 2))):
        node = random.choice(ours)
        inputs = bad[node]["inputs"] if isinstance(bad[node].get("inputs"), dict) else {}
        name = random.choice(sorted(inputs) or ["x"])
        match random.randrange(16):
            case 0:
                inputs.pop(name, None)
            case 1:
                inputs[random.choice(("no_such_input", "__class__", "\ud800", f"{name}.x", name.split(".")[0]))] = name
            case 2 | 3 if isinstance(inputs.get(name), list):
                inputs[name] = [random.choice([node, *good]), 0]
            case 4:
                bad[node][random.choice(("class_type", "inputs", "_meta"))] = random.choice(VALUES)
            case 5 | 6 | 7:
                inputs[name] = random.choice(VALUES)
            case _:
                inputs[name] = [f"made for {name}", 0]
                inputs_of_made = {"spec": json.dumps(random.choice(MADE))}
                bad[f"made for {name}"] = {"class_type": "WanCastProbeTensor", "inputs": inputs_of_made}
    return bad


# Damaged characters


def mutated_text(random: Random, content: bytes) -> bytes:
    """The same tensors under a text that is well-formed, or nearly, and says something else."""
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:start])
    key = random.choice(sorted(header["__metadata__"]))
    text = header["__metadata__"][key]
    said = json.loads(text) if text.startswith(("{", "[")) else {"text": text}
    place = random.choice([said, *(part for part in walk(said) if part)])
    name = random.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
    other = random.choice(("name", "revision", "\ud800", "format_version", "space"))
    match random.randrange(6):
        case 0 | 1:
            place[name] = random.choice((*EDGES, float("nan"), 10**400, "\u202e", "a" * 10_000, [[]] * 99))
        case 2:
            place[name] = json.loads("[" * 400 + "]" * 400)
        case 3 if isinstance(place, dict):
            place[other] = place.pop(name)
        case 4 if isinstance(place, dict):
            del place[name]
    text = json.dumps(said)
    if random.random() < 0.2:
        text = text.replace('"name"', random.choice(('"notes"', '"name": 1, "name"', "[" * 100_000, "9" * 5000)), 1)
    header["__metadata__"][key] = text
    return with_header(header, content[start:])


def walk(value: Any) -> Iterator[Any]:
    """All lists and objects in a JSON value."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(part, (dict, list)):
            yield part
            yield from walk(part)


def mutated_numbers(random: Random, content: bytes) -> bytes:
    """The same header over other numbers: a NaN, an infinity, a large number, or a flipped bit."""
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    data, at = bytearray(content), random.randrange(start, len(content) - 4)
    bits = random.choice(
        (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", bytes([data[at] ^ 1 << random.randrange(8)]))
    )
    data[at : at + len(bits)] = bits
    return bytes(data)
