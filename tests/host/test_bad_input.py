"""Every listed bad input is answered with node, input, found, wanted and fix; the host stays up and goes on working."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.server import HostServer
from tests.host import recipes
from tests.host.bad_files import CAN_DANGLE, write_bad_files
from tests.host.live import Client, Graph
from tests.host.recipes import (
    ENCODER,
    RESAMPLER,
    adapter,
    audio_features,
    decoded,
    identity,
    lip_sync,
    locked,
    model,
    moe_sample,
)

Spec = dict[str, Any]
Build = Callable[..., list[Any]]

NOTHING: Spec = {"value": None}
TEXT: Spec = {"value": "text"}
NO_SPEECH: Spec = {"audio": [1, 1, 32000], "rate": 16000, "fill": "zeros"}
FACE = {"face": "aligned crop", "face__landmarks": ""}


@dataclass(frozen=True, slots=True)
class Row:
    """One bad input: the recipe it spoils, the input, what goes in, and what the message must say."""

    build: Build
    input: str
    bad: Any  # a probe's specification, or the value itself
    found: str  # a regular expression
    wanted: str  # a regular expression
    beside: Spec | None = None  # other inputs, good ones

    @property
    def node(self) -> str:
        return NODE_OF[self.build]

    def __str__(self) -> str:
        return f"{self.node} {self.input} {json.dumps(self.bad)[:40]}"


def lock(graph: Graph, **changes: Any) -> list[Any]:
    return locked(graph, **{"of_model": model(graph)} | changes)


NODE_OF: dict[Build, str] = {
    identity: "IdentityEncode",
    adapter: "WanCastAdapterLoader",
    lock: "IDLock",
    audio_features: "AudioFeatures",
    moe_sample: "MoESampler",
    decoded: "HighCompressionVAEDecode",
    lip_sync: "LipSyncCheck",
}

TYPES = [
    *(Row(identity, "images", bad, "NoneType|None|str", "IMAGE|images") for bad in (NOTHING, TEXT)),
    *(Row(lock, "model", bad, "NoneType|None|str", "Wan model") for bad in (NOTHING, TEXT)),
    *(Row(lock, "identity", bad, "NoneType|None|str", "IdentityEncode") for bad in (NOTHING, TEXT)),
    *(Row(lock, "adapter", bad, "NoneType|None|str", "Adapter") for bad in (NOTHING, TEXT)),
    *(Row(audio_features, "audio", bad, "no sound|str", "AUDIO") for bad in (NOTHING, TEXT)),
    Row(audio_features, "audio_encoder", TEXT, "str", "audio encoder"),
    *(Row(moe_sample, "model_high", bad, "NoneType|None|str", "Wan model") for bad in (NOTHING, TEXT)),
    *(Row(moe_sample, "model_low", bad, "NoneType|None|str", "Wan model") for bad in (NOTHING, TEXT)),
    *(Row(moe_sample, "positive", bad, "NoneType|None|str", "CONDITIONING") for bad in (NOTHING, TEXT)),
    *(Row(moe_sample, "negative", bad, "NoneType|None|str", "CONDITIONING") for bad in (NOTHING, TEXT)),
    *(Row(moe_sample, "latent_image", bad, "NoneType|None|str", "LATENT") for bad in (NOTHING, TEXT)),
    Row(moe_sample, "sigmas", TEXT, "str", "SIGMAS"),
    *(Row(decoded, "samples", bad, "NoneType|None|str", "LATENT") for bad in (NOTHING, TEXT)),
    *(Row(decoded, "vae", bad, "NoneType|str|not Wan's|without weights", "Wan2.1 VAE") for bad in (NOTHING, TEXT)),
    *(Row(lip_sync, "frames", bad, "NoneType|None|str", "RGB pictures") for bad in (NOTHING, TEXT)),
    *(Row(lip_sync, "audio", bad, "no sound|str", "AUDIO") for bad in (NOTHING, TEXT)),
]

SIZES = [
    Row(identity, "images", {"tensor": [64, 64, 3], "fill": "unit"}, r"64, 64, 3", "batch"),
    Row(identity, "images", {"tensor": [0, 64, 64, 3]}, r"empty batch", "at least one"),
    Row(identity, "images", {"tensor": [1, 64, 64, 2], "fill": "unit"}, "2 channels", "3 .RGB."),
    Row(identity, "images", {"tensor": [1, 64, 64, 3]}, "pixels from -", "from 0 to 1"),
    Row(identity, "images", {"tensor": [1, 64, 48, 3], "fill": "unit"}, "48 x 64", "square", FACE),
    Row(identity, "images", {"tensor": [1, 16, 16, 3], "fill": "unit"}, "16 px", "24 px", FACE),
    Row(identity, "landmarks", "", "0 lines|1 lines|no|''", "line|numbers"),
    Row(identity, "landmarks", "1 2 3", "'1 2 3'", "10 finite numbers"),
    Row(identity, "landmarks", "nan " * 10, "nan", "10 finite numbers"),
    Row(identity, "landmarks", f"{recipes.LANDMARKS}\n{recipes.LANDMARKS}", "2 lines", "one line"),
    Row(identity, "landmarks", "0 0 9000 0 4 4 2 8 6 8", "9000", "512 x 512"),
    Row(identity, "landmarks", "10 10 11 10 10.5 11 10 12 11 12", "1.0 px apart", "px or more"),
    Row(identity, "landmarks", "292 165 221 162 255 204 286 225 222 224", "mirrored", "left eye"),
    Row(identity, "face", "by magic", "None", "aligned crop.*landmarks"),
    Row(lock, "start_percent", 0.9, "0.9 with end_percent 0.1", "start_percent <= end_percent", {"end_percent": 0.1}),
    Row(lock, "blocks", "some", "'some'", "all.*ranges"),
    Row(lock, "blocks", "3-1", "'3-1'", "counts upwards"),
    Row(lock, "blocks", "0-99", "'0-99'", "blocks from 0 to 3"),
    Row(lock, "adapter", ("twice_as_wide.safetensors", RESAMPLER), "width 192", "width 96"),
    Row(audio_features, "audio", {"audio": [1, 1, 0], "rate": 16000}, "0 samples", "at least one sample"),
    Row(audio_features, "audio", {"audio": [1, 1, 100], "rate": 16000}, "100 samples", "45 ms"),
    Row(audio_features, "audio", {"audio": [1, 16000], "rate": 16000}, "1, 16000", "batch, channels, samples"),
    Row(audio_features, "audio", {"audio": [2, 1, 16000], "rate": 16000}, "2 recordings", "one recording"),
    Row(audio_features, "audio", {"audio": [1, 1, 16000], "rate": 0}, "sample rate of 0", "above 0"),
    Row(audio_features, "audio", {"audio": [1, 1, 16000], "rate": 16000, "dtype": "int16"}, "int16", "float"),
    Row(audio_features, "frames", 1, "1 at 240 fps", "45 ms", {"fps": 240.0}),
    Row(moe_sample, "latent_image", {"latent": [1, 48, 3, 8, 8]}, "48, 3, 8, 8", "16"),
    Row(moe_sample, "latent_image", {"latent": [1, 16, 8]}, "1, 16, 8", "frames, height, width"),
    Row(moe_sample, "sigmas", {"tensor": [1], "fill": "unit"}, "1 values", "at least 2"),
    Row(moe_sample, "sigmas", {"tensor": [6, 2], "fill": "unit"}, "6, 2", "SIGMAS|one row|list"),
    Row(moe_sample, "sigmas", {"list": [{"value": 1}]}, "list|1 items", "SIGMAS"),
    Row(moe_sample, "positive", {"conditioning": [1, 7, 11]}, "11", "64"),
    Row(moe_sample, "switch", "half way", "None", "auto, snr_db, sigma, timestep, step"),
    Row(moe_sample, "denoise", 0.0, "0", "above 0|at least|more than"),
    Row(decoded, "samples", {"latent": [1, 48, 3, 8, 8]}, "48 channels", "16 channels"),
    Row(decoded, "samples", {"latent": [1, 16, 0, 8, 8]}, "empty", "at least one"),
    Row(decoded, "samples", {"latent": [16, 8]}, "16, 8", "frames, height, width"),
    Row(decoded, "samples", {"dict": {"noise": {"value": 1}}}, "dict|noise|without", "LATENT"),
    Row(lip_sync, "frames", {"tensor": [40, 64, 64, 4], "fill": "unit"}, "64, 4", "RGB"),
    Row(lip_sync, "frames", {"tensor": [3, 64, 64, 3], "fill": "unit"}, "3 at 25 fps", "at least 6"),
    Row(lip_sync, "audio", {"audio": [1, 1, 1600], "rate": 16000}, "0.1", "at least 0.24 s"),
    Row(lip_sync, "audio", NO_SPEECH, "silence", "speech"),
]

NUMBERS = [
    *(Row(identity, "images", {"tensor": [1, 64, 64, 3], "fill": fill}, "NaN", "finite") for fill in ("nan", "inf")),
    *(Row(audio_features, "audio", {"audio": [1, 2, 9000], "rate": 16000, "fill": fill}, "sample 4500|NaN", "finite")
      for fill in ("nan", "inf")),
    *(Row(moe_sample, "latent_image", {"latent": [1, 16, 3, 8, 8], "fill": fill}, "NaN", "finite")
      for fill in ("nan", "inf")),
    Row(moe_sample, "positive", {"conditioning": [1, 7, 64], "fill": "nan"}, "NaN", "finite"),
    Row(moe_sample, "sigmas", {"tensor": [5], "fill": "nan"}, "nan|NaN", "0 to 1|finite"),
    *(Row(decoded, "samples", {"latent": [1, 16, 3, 8, 8], "fill": fill}, "NaN or Inf in latent frame 0", "finite")
      for fill in ("nan", "inf")),
    Row(lip_sync, "frames", {"tensor": [40, 64, 64, 3], "fill": "nan"}, "frame 20", "finite"),
    Row(lip_sync, "audio", {"audio": [1, 1, 32000], "rate": 16000, "fill": "nan"}, "NaN", "finite"),
]

FILES = [
    *(Row(build, name, file, found, wanted)
      for build, name in ((identity, "encoder"), (adapter, "ip_layers"), (adapter, "resampler"), (lip_sync, "weights"))
      for file, found, wanted in (
          ("cut_off.safetensors", "cut_off.safetensors.*cannot be read", "complete weight file"),
          ("harmful.pt", "harmful.pt.*cannot be read", "complete weight file"),
          ("another_network.safetensors", "weight|without|keys", "recogniser|Lynx-lite|SyncNet|to_k_ip"),
          (f"{name}_with_nan.safetensors", "_with_nan.safetensors.*NaN", "finite weights"),
          (f"{name}_without_one_weight.safetensors", "without|missing", "recogniser|complete|Lynx-lite|SyncNet"),
          ("gone.safetensors", "gone.safetensors", "weight file in models"),
      )),
    Row(adapter, "resampler", recipes.IP_LAYERS, "IP layers", "resampler of Lynx-lite"),
    Row(adapter, "ip_layers", RESAMPLER, "resampler", "IP layers"),
]  # fmt: skip

ROWS = [*TYPES, *SIZES, *NUMBERS, *FILES]

REFUSED = [  # (recipe, input, value, what the host itself says)
    (identity, "encoder", "no_such_file.safetensors", "Value not in list.*encoder.*no_such_file"),
    (adapter, "ip_layers", "no_such_file.safetensors", "Value not in list.*ip_layers.*no_such_file"),
    (lip_sync, "weights", "../secrets.safetensors", "Value not in list.*weights.*secrets"),
    (lip_sync, "mode", "guess", "Value not in list.*mode.*guess"),
    (lock, "strength", 2.5, "bigger than max.*strength"),
    (lock, "strength", "much", "convert.*FLOAT.*strength"),
    (lock, "end_percent", -0.5, "smaller than min.*end_percent"),
    (audio_features, "fps", 0.0, "smaller than min.*fps"),
    (audio_features, "frames", -1, "smaller than min.*frames"),
    (moe_sample, "steps", 0, "smaller than min.*steps"),
    (moe_sample, "sampler_name", "fastest", "Value not in list.*sampler_name.*fastest"),
]


@pytest.fixture(scope="module", autouse=True)
def proof_of_harm(live_host: HostServer) -> Path:
    """The bad weight files are in place; a file appears here if one of them was run instead of read."""
    return write_bad_files(live_host.base_dir / "models")


@pytest.fixture(scope="module", autouse=True)
def goes_on_working(live_host: HostServer) -> Any:
    """After the whole table the same host decodes a latent to finite pictures."""
    yield
    client, graph = Client(live_host.url), Graph()
    assert client.value(graph, decoded(graph)).array.shape == (9, 64, 64, 3)


def spoilt(graph: Graph, row: Row) -> list[Any]:
    """The recipe of the row with the bad input in it."""
    good = dict(row.beside or {})
    if row.build is lock and row.input == "adapter" and isinstance(row.bad, tuple):
        return lock(graph, adapter=adapter(graph, ip_layers=row.bad[0], resampler=row.bad[1]))
    bad = graph.make(**row.bad) if isinstance(row.bad, dict) else row.bad
    if row.build is identity and row.input == "landmarks":
        return identity(graph, face__landmarks=bad)
    name = "of_model" if row.build is lock and row.input == "model" else row.input
    return row.build(graph, **good | {name: bad})


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_message_names_node_input_found_wanted_and_fix(client: Client, row: Row) -> None:
    if row.bad == "gone.safetensors" and not CAN_DANGLE:
        pytest.skip("a file that is listed and gone needs a symbolic link")
    graph = Graph()
    graph.hash(spoilt(graph, row))
    failure = client.fails(graph)
    assert failure.node_type == row.node, failure.message
    shape = rf"{row.node}: {row.input}: found (?P<found>.+); wanted (?P<wanted>.+)\. (?P<fix>[^.].+\.)"
    message = re.fullmatch(shape, failure.message, re.DOTALL)
    assert message, failure.message
    assert re.search(row.found, message["found"], re.DOTALL), failure.message
    assert re.search(row.wanted, f"{message['wanted']}. {message['fix']}", re.DOTALL), failure.message
    client.get("/system_stats")


@pytest.mark.parametrize(("build", "name", "value", "message"), REFUSED)
def test_the_host_refuses_what_its_own_checks_see(
    client: Client, build: Build, name: str, value: Any, message: str
) -> None:
    graph = Graph()
    graph.hash(build(graph, **{name: value}))
    failure = client.fails(graph)
    assert failure.node_type == NODE_OF[build]
    assert re.search(message, failure.message, re.DOTALL), failure.message


@pytest.mark.parametrize(
    ("build", "name", "wrong"),
    [
        (moe_sample, "model_low", lambda graph: recipes.vae21(graph)),
        (decoded, "vae", lambda graph: model(graph)),
        (lock, "identity", lambda graph: recipes.portrait(graph)),
        (lip_sync, "frames", lambda graph: recipes.speech(graph)),
    ],
)
def test_the_host_refuses_a_link_of_another_type(client: Client, build: Build, name: str, wrong: Build) -> None:
    graph = Graph()
    graph.hash(build(graph, **{name: wrong(graph)}))
    failure = client.fails(graph)
    assert re.search(f"Return type mismatch.*{name}", failure.message)


@pytest.mark.parametrize(("build", "name"), [(identity, "face"), (moe_sample, "switch")])
def test_a_choice_that_the_prompt_leaves_out_is_named(client: Client, build: Build, name: str) -> None:
    graph = Graph()
    node, _ = build(graph)
    graph.prompt[node]["inputs"] = {
        key: value for key, value in graph.prompt[node]["inputs"].items() if key.split(".")[0] != name
    }
    graph.hash([node, 0])
    failure = client.fails(graph)
    assert re.match(f"{NODE_OF[build]}: {name}: found |Required input is missing: {name}", failure.message)


def test_no_weight_file_was_run(client: Client, proof_of_harm: Path) -> None:
    for build, name in ((identity, "encoder"), (adapter, "ip_layers"), (lip_sync, "weights")):
        graph = Graph()
        graph.hash(build(graph, **{name: "harmful.pt"}))
        client.fails(graph)
    assert not proof_of_harm.exists()


def test_the_good_files_still_work(client: Client) -> None:
    graph = Graph()
    graph.hash(identity(graph, encoder=ENCODER))
    graph.hash(adapter(graph))
    client.run(graph)
