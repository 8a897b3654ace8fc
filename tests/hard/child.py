"""One attack in a process of its own, with the host's modules on the CPU.

``child.py JOB BASE COUNT`` prints its figures, a line of JSON, at its end; BASE is a host's folder with the models.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import workbench  # noqa: E402

JOB, BASE, COUNT = sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3])
workbench.start_host_on_cpu("--base-directory", str(BASE))

import psutil  # noqa: E402
import torch  # noqa: E402
from comfy_api.latest import InputImpl  # noqa: E402

from tests.hard import hostile  # noqa: E402

files = workbench.pack_module("nodes.host.files")
video = workbench.pack_module("nodes.host.video")
faces = workbench.pack_module("nodes.host.faces")
recognisers = workbench.pack_module("nodes.host.recognisers")
loader = workbench.pack_module("nodes.adapter_loader").WanCastAdapterLoader
lip_sync = workbench.pack_module("nodes.lip_sync_check").LipSyncCheck
media_sink = workbench.pack_module("wan_core.media.sink")
encoders = workbench.pack_module("wan_core.media.encoders")
AlignedCrops = workbench.pack_module("wan_core.identity").AlignedCrops
UserError = workbench.pack_module("wan_core.errors").UserError

TOUCHING = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
LISTING = {"os.listdir", "os.scandir"}
BOMB_LIMIT_S, BOMB_LIMIT_BYTES = 60, 4 * 2**30  # beside what the process has
ENCODER = encoders.encoder_for(encoders.VideoFormat("h264", 18, "software"), 64, 64, Fraction(16))
Figures = dict[str, Any]

# What our code does with a file of a name


def use_syncnet(name: str) -> None:
    files.load_weights(files.SYNCNET, name, input_name="weights")


def use_adapter(name: str) -> None:
    loader.execute("none", "none", "none", name)


def use_recogniser(name: str) -> None:
    with recognisers.recogniser_of(name, AlignedCrops()) as recogniser:
        recogniser.embed_face(torch.zeros(112, 112, 3))


def use_film(name: str) -> None:
    lip_sync.execute(InputImpl.VideoFromFile(str(BASE / "input" / name)), 25.0, "mini_syncnet.safetensors", "parity")


PLACES: dict[str, tuple[str, Callable[[str], None]]] = {
    ".safetensors": ("models/wan_id_adapters", use_adapter),
    ".pt": ("models/wan_id_adapters", use_adapter),
    ".ckpt": ("models/wan_id_adapters", use_adapter),
    ".onnx": ("models/face_recognition", use_recogniser),
    ".mp4": ("input", use_film),
}


def outcome(use: Callable[[], object]) -> str:
    """How our code answers: with a result, with a sentence that can be printed, or with a fault of its own."""
    try:
        use()
    except UserError as error:
        return "refused" if str(error).isprintable() else f"unprintable: {str(error)[:200]!a}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]!a}"
    return "used"


# Jobs


def tree(folder: Path) -> str:
    """A hash of the names and the bytes of everything in a folder, but for what our code may write."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if not file.is_relative_to(BASE / "output") and not file.is_relative_to(BASE / "temp"):
            digest.update(os.fsencode(file) + (file.read_bytes() if file.is_file() else b""))
    return digest.hexdigest()


def paths() -> Figures:
    """Every input that takes a path gets hostile values: what is touched outside of the host's folders."""
    outside, touched = BASE.parent / "outside", set()
    outside.mkdir()
    for name in ("secret.safetensors", "secret.onnx"):
        shutil.copy(BASE / "models" / "syncnet" / "mini_syncnet.safetensors", outside / name)
    (BASE / "temp").mkdir()
    (BASE / "output" / "link").symlink_to(outside)
    sinks: dict[str, Callable[[str], object]] = {
        "filename_prefix": lambda value: make_file(video.save_place(value, 64, 64, keep=True)),
        "filename_prefix, temporary": lambda value: make_file(video.save_place(value, 64, 64, keep=False)),
        "weights": use_syncnet,
        "adapter": use_adapter,
        "encoder": lambda value: files.checked_path(files.FACE_RECOGNITION, value, input_name="encoder"),
        "landmarker": faces.load_landmarker,
        "pack": faces.find_pack,
    }

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in TOUCHING | LISTING and watching and isinstance(arguments[0], (str, bytes, os.PathLike)):
            touched.add((event, os.path.realpath(os.fsdecode(arguments[0]))))

    watching = False
    sys.addaudithook(watch)
    before, random, outcomes = tree(BASE.parent), Random(hostile.SEED), Counter()
    for number in range(COUNT):
        value = hostile.path(random, outside)
        for name, sink in sinks.items():
            watching = number > 0  # what the first use imports is no answer to the value
            found = outcome(lambda sink=sink, value=value: sink(value))
            watching = False
            outcomes[found if found in ("used", "refused") else f"{name}, {value[:80]!a}: {found}"] += 1
        if number % 200 == 199:
            empty(BASE / "output")
            empty(BASE / "temp")
    allowed = [os.path.realpath(BASE / folder) for folder in ("output", "temp", "models")]
    allowed.append(f"/proc/{os.getpid()}/task")  # where the encoder's threads are counted
    escapes = [f"{event} {place!a}" for event, place in touched if not place.startswith(tuple(allowed))]
    return {"outcomes": outcomes, "escapes": escapes, "is_unchanged": tree(BASE.parent) == before}


def make_file(place: Any) -> None:
    """Begins the video that the place is for, and lets it go."""
    with media_sink.VideoSink(ENCODER, place.folder, place.stem, counter=place.counter, frames=1):
        pass


def empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif not entry.is_symlink():
            entry.unlink()


def damage() -> Figures:
    """Damaged files of every kind through our loaders: their answers, times and memory."""
    seeds, good = {kind: seed(kind) for kind in PLACES if kind != ".ckpt"}, {}
    for kind, content in seeds.items():
        folder, use = PLACES[kind]
        (BASE / folder / f"good{kind}").write_bytes(content)
        good[kind] = outcome(lambda kind=kind, use=use: use(f"good{kind}"))
    random, outcomes, times_ms, start_bytes = Random(hostile.SEED), Counter(), {kind: [] for kind in seeds}, 0
    for number in range(COUNT):
        kind = ".mp4" if number % 20 == 0 else random.choice((".safetensors", ".safetensors", ".pt", ".onnx"))
        folder, use = PLACES[kind]
        is_header = kind == ".safetensors" and random.random() < 0.5
        content = (hostile.mutated_header if is_header else hostile.mutated)(random, seeds[kind])
        (BASE / folder / f"damaged{kind}").write_bytes(content)
        start_s = time.process_time()
        found = outcome(lambda kind=kind, use=use: use(f"damaged{kind}"))
        times_ms[kind].append((time.process_time() - start_s) * 1000)
        outcomes[found if found in ("used", "refused") else f"{kind}: {found}"] += 1
        if number == COUNT // 5:
            start_bytes = workbench.PROCESS.memory_info().rss
    p99_ms = {kind: statistics.quantiles(times, n=100)[-1] for kind, times in times_ms.items()}
    grown_mib = (workbench.PROCESS.memory_info().rss - start_bytes) / hostile.MIB
    return {"good": good, "outcomes": outcomes, "p99_ms": p99_ms, "grown_mib": grown_mib}


def seed(kind: str) -> bytes:
    """A good file of that kind."""
    adapter = BASE / "models" / "wan_id_adapters" / "mini_stand_in_high.safetensors"
    path = BASE / "input" / f"seed{kind}"
    match kind:
        case ".safetensors":
            return adapter.read_bytes()
        case ".onnx":
            return (BASE / "models" / "face_recognition" / "mini_iresnet.onnx").read_bytes()
        case ".pt":
            torch.save(files.load_weights(files.ID_ADAPTERS, adapter.name, input_name="stand_in").state_dict, path)
        case ".mp4":
            hostile.film(path, 30 * 64**2 * 12, side_px=64)
    return path.read_bytes()


def bombs() -> Figures:
    """Small files that would become large: how our loaders answer, and by how much memory grows at most."""
    random, found = Random(hostile.SEED), []
    for number in range(COUNT):
        name, make = list(hostile.BOMBS.items())[number % len(hostile.BOMBS)]
        folder, use = PLACES[Path(name).suffix]
        path = BASE / folder / name
        make(path, random.choice((128, 256, 512)) * hostile.MIB)
        answer, peak_bytes = metered(lambda use=use, name=name: outcome(lambda: use(name)))
        found.append([name, answer, path.stat().st_size, peak_bytes])
    return {"bombs": found}


def metered(use: Callable[[], str]) -> tuple[str, int]:
    """What a fork of this process answers, and by how much its memory grew at most; "died" when it does."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(BOMB_LIMIT_S)
        memory = psutil.Process().memory_info()
        resource.setrlimit(resource.RLIMIT_AS, (memory.vms + BOMB_LIMIT_BYTES,) * 2)
        answer = use()
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - memory.rss
        os.write(writer, json.dumps([answer, peak_bytes]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return tuple(json.loads(said)) if said else (f"died of signal {status & 127}", 0)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    files.register_model_folders()
    torch.set_num_threads(1)
    figures = {"paths": paths, "damage": damage, "bombs": bombs}[JOB]()
    sys.stdout.write("\n" + json.dumps(figures) + "\n")
