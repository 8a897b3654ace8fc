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
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import workbench  # noqa: E402
from tests.bench.workbench import pack_module  # noqa: E402

JOB, BASE, COUNT = sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3])
workbench.start_host_on_cpu("--base-directory", str(BASE))

import torch  # noqa: E402
from comfy_api.latest import InputImpl  # noqa: E402

from tests.hard import hostile  # noqa: E402
from tests.unit.media.films import film, noise, tone  # noqa: E402
from tests.unit.media.test_video_source import SMALL_FILES  # noqa: E402

files, video = (pack_module(f"nodes.host.{name}") for name in ("files", "video"))
landmarker, packs = (pack_module(f"nodes.host.{name}") for name in ("landmarker", "insightface_pack"))
characters, record = pack_module("nodes.character_library"), pack_module("wan_core.identity.record")
encoders, sinks = (pack_module(f"wan_core.media.{name}") for name in ("encoders", "sink"))
TOUCHING = "open os.listdir os.scandir os.mkdir os.rename os.remove os.rmdir os.link os.symlink os.truncate"
BOMB_LIMIT_S, BOMB_LIMIT_BYTES = 60, 4 * 2**30  # beside what the process has
ENCODER = encoders.encoder_for(encoders.VideoFormat("h264", 18, "software"), 64, 64, Fraction(16))
Figures = dict[str, Any]

# What our code does with a file of a name, and with a file name prefix


def use_adapter(name: str) -> None:
    node = pack_module("nodes.adapter_loader").WanCastAdapterLoader
    node.execute(ip_layers="none", resampler="none", ref_layers="none", stand_in=name)


def use_recogniser(name: str) -> None:
    crops = pack_module("wan_core.identity").AlignedCrops()
    with pack_module("nodes.host.recognisers").recogniser_of(name, crops) as recogniser:
        recogniser.embed_face(torch.zeros(112, 112, 3))


def use_film(name: str, audio: dict[str, Any] | None = None) -> None:
    inputs = {"frames": InputImpl.VideoFromFile(str(BASE / "input" / name)), "fps": 25.0, "audio": audio}
    node = pack_module("nodes.lip_sync_check").LipSyncCheck
    node.execute(**inputs, weights="mini_syncnet.safetensors", mode="parity")


def begin_video(prefix: str, *, keep: bool) -> None:
    place = video.save_place(prefix, 64, 64, keep=keep)
    with sinks.VideoSink(ENCODER, place.folder, place.stem, counter=place.counter, frames=1):
        pass


def save_character(**words: str) -> None:
    vectors, space = torch.eye(1, 512), record.Space("a recogniser", "ab" * 32, "IR-SE")
    about = (record.Attributes(None, None, None, None, None, None, 112.0, 1.0),)
    person = record.Identity(vectors[0], vectors, vectors, torch.zeros(1, 112, 112, 3), None, None, about, space)
    inputs = {"identity": person, "name": "Ann", "if_exists": "replace"}
    characters.WanCastCharacterSave.execute(**inputs | words)


def open_library() -> Path:
    """Gives the nodes a library, as the host does when it loads the pack, with a link to a file outside; its folder."""
    folder = Path(files.characters_folder())
    folder.mkdir(parents=True)
    (folder / f"{hostile.PLANTED}.safetensors").symlink_to(BASE.parent / "outside" / "secret.safetensors")
    save, load = characters.WanCastCharacterSave, characters.WanCastCharacterLoad
    save.library = pack_module("nodes.host.library").Library(str(folder))
    hot = pack_module("nodes.host.hot_characters").HotCharacters(save.library)
    load.loaded = pack_module("nodes.host.loaded_characters").LoadedCharacters(hot)
    save.hidden = SimpleNamespace(unique_id="1")
    return folder


USES: dict[str, tuple[str, Callable[[str], None]]] = {
    ".safetensors": ("models/wan_id_adapters", use_adapter),
    ".pt": ("models/wan_id_adapters", use_adapter),
    ".ckpt": ("models/wan_id_adapters", use_adapter),
    ".onnx": ("models/face_recognition", use_recogniser),
    ".mp4": ("input", use_film),
    ".mkv": ("input", lambda name: use_film(name, {"waveform": torch.rand(1, 1, 64000), "sample_rate": 16000})),
}
PATH_INPUTS: dict[str, Callable[[str], object]] = {
    "filename_prefix": lambda value: begin_video(value, keep=True),
    "filename_prefix of a temporary file": lambda value: begin_video(value, keep=False),
    "weights": lambda value: files.load_weights(files.SYNCNET, value, input_name="weights"),
    "adapter": use_adapter,
    "encoder": lambda value: files.checked_path(files.FACE_RECOGNITION, value, input_name="encoder"),
    "landmarker": landmarker.load_landmarker,
    "pack": packs.find_pack,
    "character": lambda value: characters.WanCastCharacterLoad.execute(character=value),
}
SAVED_INPUTS: dict[str, Callable[[str], object]] = {  # each waits for the disk, so they get every sixth value
    "name": lambda value: save_character(name=value),
    "tags": lambda value: save_character(tags=value),
}


def outcome(use: Callable[[str], object], name: str) -> str:
    """How our code answers: with a result, with a sentence that can be printed, or with a fault of its own."""
    try:
        use(name)
    except pack_module("wan_core.errors").UserError as error:
        return "refused" if str(error).isprintable() else f"unprintable: {str(error)[:200]!a}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]!a}"
    return "used"


# Jobs


def tree(folder: Path) -> str:
    """A hash of the names and the bytes of everything in a folder, but for what our code may write."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if not any(file.is_relative_to(BASE / folder) for folder in ("output", "temp", "user/__wancast")):
            digest.update(os.fsencode(file) + (file.read_bytes() if file.is_file() else b""))
    return digest.hexdigest()


def paths() -> Figures:
    """Every input that takes a path gets hostile values: what is touched outside of the host's folders."""
    outside, touched, is_watching = BASE.parent / "outside", set(), False
    outside.mkdir()
    for name in ("secret.safetensors", "secret.onnx"):
        shutil.copy(BASE / "models" / "syncnet" / "mini_syncnet.safetensors", outside / name)
    library = open_library()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if is_watching and event in TOUCHING.split() and isinstance(arguments[0], (str, bytes, os.PathLike)):
            touched.add((event, os.path.realpath(os.fsdecode(arguments[0]))))

    sys.addaudithook(watch)
    before, random, outcomes = tree(BASE.parent), Random(hostile.SEED), Counter()
    for number in range(COUNT):
        if number % 200 == 0:  # the host lists the folder for each name
            for folder in (BASE / "output", BASE / "temp"):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            (BASE / "output" / "link").symlink_to(outside)
            for file in [file for file in library.iterdir() if not file.is_symlink()]:  # the node lists all names
                file.unlink()
        value = hostile.path(random, outside)
        for name, use in (PATH_INPUTS if number % 6 else PATH_INPUTS | SAVED_INPUTS).items():
            is_watching = number > 0  # what the first use imports is no answer to the value
            found = outcome(use, value)
            is_watching = False
            outcomes[found if found in ("used", "refused") else f"{name}, {value[:80]!a}: {found}"] += 1
    allowed = tuple(os.path.realpath(BASE / folder) for folder in ("output", "temp", "models", "user/__wancast"))
    own_threads = f"/proc/{os.getpid()}/task"
    escapes = [f"{event} {place!a}" for event, place in touched if not place.startswith((*allowed, own_threads))]
    return {"outcomes": outcomes, "escapes": escapes, "is_unchanged": tree(BASE.parent) == before}


def damage() -> Figures:
    """Damaged files of every kind through our loaders: their answers, times and memory."""
    seeds = {kind: seed(kind) for kind in (".safetensors", ".pt", ".onnx", ".mp4")}
    good = {kind: outcome(USES[kind][1], f"seed{kind}") for kind in seeds}
    random, outcomes, times_ms, start_bytes = Random(hostile.SEED), Counter(), {kind: [] for kind in seeds}, 0
    for number in range(COUNT):
        kind = ".mp4" if number % 20 == 0 else random.choice((".safetensors", ".safetensors", ".pt", ".onnx"))
        is_header = kind == ".safetensors" and random.random() < 0.5
        content = (hostile.mutated_header if is_header else hostile.mutated)(random, seeds[kind])
        folder, use = USES[kind]
        (BASE / folder / f"damaged{kind}").write_bytes(content)
        start_s = time.process_time()
        found = outcome(use, f"damaged{kind}")
        times_ms[kind].append((time.process_time() - start_s) * 1000)
        outcomes[found if found in ("used", "refused") else f"{kind}: {found}"] += 1
        if number == COUNT // 5:
            start_bytes = workbench.PROCESS.memory_info().rss
    p99_ms = {kind: statistics.quantiles(times, n=100)[-1] for kind, times in times_ms.items()}
    grown_mib = (workbench.PROCESS.memory_info().rss - start_bytes) / hostile.MIB
    return {"good": good, "outcomes": outcomes, "p99_ms": p99_ms, "grown_mib": grown_mib}


def seed(kind: str) -> bytes:
    """A good file of that kind, in its place."""
    path = BASE / USES[kind][0] / f"seed{kind}"
    good = {".onnx": "mini_iresnet.onnx"}.get(kind, "mini_stand_in_high.safetensors")
    if kind in (".mp4", ".mkv"):
        film(path.parent, noise(30), fps=Fraction(25), soundtrack=tone(2, 16000, 1)).rename(path)
    elif kind in (".pt", ".ckpt"):
        torch.save(files.load_weights(files.ID_ADAPTERS, good, input_name="stand_in").state_dict, path)
    else:
        shutil.copy(path.with_name(good), path)
    return path.read_bytes()


def bombs() -> Figures:
    """Small files that would become large: the answers, and how much more memory they take than a good one."""
    usual = {kind: (seed(kind), *metered(use, f"seed{kind}")) for kind, (_, use) in USES.items()}
    found = []
    for path, kind in swelling():
        answer, peak_bytes = metered(USES[kind][1], path.name)
        found.append([path.name, answer, path.stat().st_size, peak_bytes - usual[kind][2]])
    return {"good": {kind: answer for kind, (_, answer, _) in usual.items()}, "bombs": found}


def swelling() -> Iterator[tuple[Path, str]]:
    """Each of them in its place, and its kind: so many weight files, and the films once."""
    random = Random(hostile.SEED)
    for _, (name, make) in zip(range(COUNT), cycle(hostile.BOMBS.items()), strict=False):
        path = BASE / USES[Path(name).suffix][0] / name
        path.write_bytes(make(random.choice((128, 256, 512))))
        yield path, path.suffix
    for name, (make_film, _) in SMALL_FILES.items():
        yield make_film(BASE / "input" / f"{name}.mkv"), ".mkv"


def metered(use: Callable[[str], object], name: str) -> tuple[str, int]:
    """What a fork of this process answers, and by how much its memory grew at most."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(BOMB_LIMIT_S)
        memory = workbench.psutil.Process().memory_info()
        resource.setrlimit(resource.RLIMIT_AS, (memory.vms + BOMB_LIMIT_BYTES,) * 2)
        answer = outcome(use, name)
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
    with torch.inference_mode():  # as the host runs a node
        figures = {"paths": paths, "damage": damage, "bombs": bombs}[JOB]()
    sys.stdout.write("\n" + json.dumps(figures) + "\n")
