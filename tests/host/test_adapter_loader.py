"""WanCastAdapterLoader reads synthetic files of every published layout through the host's own loader, bit for bit."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from demo.miniature import adapters
from devtools.server import HostServer
from tests.host.live import Client, Graph, Run
from tests.unit.adapters.adapter_files import KINDS, LAYOUTS, LITE, STAND_IN, StateDict, load, selected, weights

FOLDER = "wan_id_adapters"


@pytest.fixture(scope="module")
def folder(live_host: HostServer) -> Path:
    return live_host.base_dir / "models" / FOLDER


def ckpt(state_dict: StateDict) -> dict[str, Any]:
    """As Stand-In is published: a pickle whose tensors lie under state_dict, beside numbers of the training."""
    return {"epoch": 3, "global_step": 1000, "state_dict": state_dict}


def write(path: Path, content: Any, **metadata: str) -> str:
    """Writes a weight file as its name says and returns that name."""
    if path.suffix == ".safetensors":
        save_file(content, path, metadata=metadata or None)
    else:
        torch.save(content, path)
    return path.name


def loader(graph: Graph, **names: str) -> str:
    """The id of a loader with these files, none elsewhere."""
    return graph.add("WanCastAdapterLoader", **{"ip_layers": "none", "resampler": "none"} | names).id


def bits(tensor: torch.Tensor) -> np.ndarray:
    """As the probe saves it: a type that numpy lacks as its bytes."""
    return tensor.numpy() if tensor.dtype in (torch.float32, torch.float16) else tensor.view(torch.uint8).numpy()


def require_equal(run: Run, node: Any, tables: dict[str, Any], stored: torch.dtype) -> None:
    """The loaded network has exactly the weights of the tables, in its places and its type."""
    saved = run.saved(node)
    wanted = load(selected(tables, lambda part: {key: tensor.to(stored) for key, tensor in part.items()}))
    prefix = "/network/state_dict/"
    found = {key.removeprefix(prefix): array for key, array in saved.arrays.items() if key.startswith(prefix)}
    expected = {key: bits(tensor) for key, tensor in wanted.network.state_dict().items()}
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in expected)


STORED = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]


@pytest.mark.parametrize("kind", ["lite", "full with ref", "stand-in"])
def test_every_layout_and_type_comes_through_the_hosts_loader(client: Client, folder: Path, kind: str) -> None:
    tables, graph, nodes = KINDS[kind], Graph(), {}
    for stored, layout in zip(STORED, LAYOUTS, strict=True):
        names = {}
        for slot, table in tables.items():
            content = layout({key: tensor.to(stored) for key, tensor in weights(table).items()})
            names[slot] = write(folder / f"{kind} {slot} {str(stored)[6:]}.safetensors", content)
        nodes[stored] = graph.save([loader(graph, **names), 0])
    run = client.run(graph)
    for stored, node in nodes.items():
        require_equal(run, node, tables, stored)


@pytest.mark.parametrize("wrapped", [ckpt, dict], ids=["under state_dict", "bare"])
def test_a_pickle_of_plain_weights_comes_through(
    client: Client, folder: Path, wrapped: Callable[[StateDict], dict[str, Any]]
) -> None:
    graph = Graph()
    name = write(folder / f"{wrapped.__name__}_Stand-In_wan2.2_low.ckpt", wrapped(weights(adapters.stand_in)))
    node = loader(graph, stand_in=name)
    saved, report = graph.save([node, 0]), graph.save([node, 1])
    run = client.run(graph)
    require_equal(run, saved, STAND_IN, torch.float32)
    assert run.saved(saved).tree["/stand_in_expert"] == "low"
    assert "Stand-In for the low-noise expert: blocks 0-3, rank 8" in run.saved(report).tree[""]


def test_our_own_file_holds_the_resampler_and_names_its_recogniser(client: Client, folder: Path) -> None:
    both = weights(adapters.lite_ip_layers) | weights(adapters.resampler)
    metadata = {"format_version": "1", "wancast_space_sha256": "ab" * 32}
    graph = Graph()
    adapter = graph.save([loader(graph, ip_layers=write(folder / "own.safetensors", both, **metadata)), 0])
    run = client.run(graph)
    require_equal(run, adapter, LITE, torch.float32)
    assert run.saved(adapter).tree["/space_sha256"] == "ab" * 32


def test_the_content_hash_is_that_of_the_files_and_of_their_inputs(client: Client, folder: Path) -> None:
    content, key = weights(adapters.stand_in), "blocks.0.self_attn.q_loras.up.weight"
    contents = {"one_high": content, "same_low": content, "other_high": content | {key: content[key] + 1}}
    graph, saves = Graph(), []
    for name, weights_of_file in contents.items():
        file = write(folder / f"{name}.safetensors", weights_of_file)
        saves.append(graph.save([loader(graph, stand_in=file), 0]))
    run = client.run(graph)
    first, equal, other = (run.saved(node).tree["/content_sha256"] for node in saves)
    assert first == equal != other


# Refusals: what only a file on disk can show. The rest is in the unit tests of wan_core.adapters.


def spoil(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    """Writes a good file with other bytes."""

    def write_spoilt(path: Path) -> None:
        save_file(weights(adapters.stand_in), path)
        path.write_bytes(change(path.read_bytes()))

    return write_spoilt


def pickled(content: Any) -> Callable[[Path], Any]:
    return lambda path: torch.save(content, path)


def deflated(path: Path) -> None:
    """A small file that would be large when it is read: torch.save stores, and never compresses."""
    torch.save({"w": torch.zeros(50_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)


EMPTY, ALLOCATING = b"\x80\x02}.", b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x20\x85R."  # 512 MB of zeros
ZEROS, TIED = torch.zeros(2), torch.zeros(1_000_000)
QUANTISED = torch.quantize_per_tensor(ZEROS, 0.1, 0, torch.qint8)
LORA = {f"blocks.0.self_attn.q.lora_{side}.weight": torch.zeros(4, 4) for side in "AB"}
UNREADABLE, COMPLETE = "which cannot be read (", "; wanted a complete weight file. "
NO_WEIGHTS = f"{UNREADABLE}it is damaged, or holds more than plain weights){COMPLETE}"
BAD = {  # name: how it is written, and what comes after the name
    "cut.safetensors": (spoil(lambda content: content[:-1]), f"{UNREADABLE}it is cut off: it has "),
    "renamed.safetensors": (pickled(weights(adapters.stand_in)), f"{UNREADABLE}its first bytes promise a header of "),
    "cut.ckpt": (spoil(lambda content: content[:500]), NO_WEIGHTS),
    "list.ckpt": (pickled([ZEROS, ZEROS]), f"{UNREADABLE}its weights have no names){COMPLETE}"),
    "numbered.ckpt": (pickled({0: ZEROS, 1: ZEROS}), f"{UNREADABLE}it calls a weight 0){COMPLETE}"),
    "numbers.ckpt": (pickled({"state_dict": {"epoch": 3}}), "whose 'epoch' is no weight; wanted "),
    "halves.ckpt": (pickled({"\ud800": ZEROS, "\n": ZEROS}), rf"{UNREADABLE}it calls a weight '\ud800'){COMPLETE}"),
    "long.ckpt": (pickled({"k" * 2_000_000: ZEROS}), f"{UNREADABLE}it calls a weight '{'k' * 120}' and 1999880 char"),
    "sparse.ckpt": (pickled({"w": torch.eye(2).to_sparse()}), "whose 'w' is not stored as plain numbers; wanted "),
    "quantised.ckpt": (pickled({"w": QUANTISED}), "whose 'w' is of type qint8, which no weight has; wanted "),
    "expanded.ckpt": (pickled({"w": torch.zeros(1).expand(500_000_000)}), "whose 'w' repeats its bytes; wanted "),
    "tied.ckpt": (pickled(dict.fromkeys(map(str, range(500)), TIED)), "whose '2' repeats the bytes of others; wanted "),
    "scaled.ckpt": (
        pickled({"w": ZEROS, "scaled_fp8": ZEROS[:0]}),
        "whose weights are scaled by 'scaled_fp8'; wanted ",
    ),
    "deflated.pt": (deflated, f"{UNREADABLE}its entries are compressed, which torch.save never does){COMPLETE}"),
    "allocating.pth": (spoil(lambda _: EMPTY * 3 + ALLOCATING + EMPTY), NO_WEIGHTS),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    client: Client, live_host: HostServer, folder: Path, name: str
) -> None:
    write_bad, message = BAD[name]
    write_bad(folder / name)
    graph = Graph()
    graph.hash([loader(graph, stand_in=name), 0])
    with grows_little(live_host, folder / name):
        failure = client.fails(graph)
    assert failure.node_type == "WanCastAdapterLoader", failure.message
    assert failure.message.startswith(f"WanCastAdapterLoader: stand_in: found {name!r}, {message}"), failure.message
    assert failure.message.strip().isprintable()
    client.require_work()


@contextmanager
def grows_little(host: HostServer, file: Path) -> Iterator[None]:
    """The host's memory grows in the block by four times the size of a file and 64 MB at most, where Linux tells."""
    process = Path("/proc", str(host.process.pid))
    if not process.exists():
        yield
        return
    (process / "clear_refs").write_text("5")  # the peak starts anew
    before = memory_kb(process, "VmRSS")
    yield
    assert memory_kb(process, "VmHWM") - before < (64 << 10) + 4 * file.stat().st_size // 1024


def memory_kb(process: Path, field: str) -> int:
    return int(re.search(rf"{field}:\s+(\d+) kB", (process / "status").read_text())[1])


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_a_name_that_is_no_unicode_is_refused(client: Client, folder: Path) -> None:
    name = os.fsdecode(b"\xff.safetensors")
    save_file(weights(adapters.stand_in), folder / "plain.safetensors")
    os.link(folder / "plain.safetensors", folder / name)
    graph = Graph()
    graph.hash([loader(graph, stand_in=name), 0])
    found = r"WanCastAdapterLoader: stand_in: found '\udcff.safetensors'; wanted a name that can be printed. "
    assert client.fails(graph).message.startswith(found)
    client.require_work()
    (folder / name).unlink()


def test_a_file_of_another_kind_is_refused_and_none_at_all(client: Client, folder: Path) -> None:
    for files, message in (
        ({"stand_in": write(folder / "a_lora.safetensors", LORA)}, "stand_in: found a LoRA; wanted Stand-In weights. "),
        ({}, "ip_layers: found no file in any input; wanted a file in one of ip_layers, ref_layers, stand_in. "),
    ):
        graph = Graph()
        graph.hash([loader(graph, **files), 0])
        assert client.fails(graph).message.startswith(f"WanCastAdapterLoader: {message}")
