"""Every listed bad input is answered with node, input, found, wanted and fix; the host stays up and goes on working."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.bad_files import CAN_DANGLE, write_bad_files
from tests.host.bad_inputs import NODE_OF, ROWS, TEXT, Build, Row, lock
from tests.host.live import Client, Graph
from tests.host.recipes import (
    ENCODER,
    adapter,
    audio_features,
    decoded,
    decoded_to_video,
    identity,
    lip_sync,
    model,
    moe_guider,
    moe_model,
    moe_sample,
    moe_sigmas,
)

REFUSED = [  # (recipe, input, value, what the host itself says)
    (identity, "encoder", "no_such_file.safetensors", "Value not in list.*encoder.*no_such_file"),
    (adapter, "ip_layers", "no_such_file.safetensors", "Value not in list.*ip_layers.*no_such_file"),
    (lip_sync, "weights", "../secrets.safetensors", "Value not in list.*weights.*secrets"),
    (lip_sync, "mode", "guess", "Value not in list.*mode.*guess"),
    (lock, "strength", 2.5, "bigger than max.*strength"),
    (lock, "strength", "much", "convert.*FLOAT.*strength"),
    (lock, "end_percent", -0.5, "smaller than min.*end_percent"),
    (lock, "apply_to", "nobody", "Value not in list.*apply_to.*nobody"),
    (audio_features, "fps", 0.0, "smaller than min.*fps"),
    (audio_features, "frames", -1, "smaller than min.*frames"),
    (moe_sample, "steps", 0, "smaller than min.*steps"),
    (moe_sample, "sampler_name", "fastest", "Value not in list.*sampler_name.*fastest"),
    (moe_sample, "start_at_step", -1, "smaller than min.*start_at_step"),
    (moe_sample, "policy", "fastest", "Value not in list.*policy.*fastest"),
    (moe_guider, "memory", "none", "Value not in list.*memory.*none"),
    (moe_guider, "start_steps", -1, "smaller than min.*start_steps"),
    (moe_model, "policy", "fastest", "Value not in list.*policy.*fastest"),
    (moe_sigmas, "low_steps", -1, "smaller than min.*low_steps"),
    (decoded_to_video, "fps", 0.0, "smaller than min.*fps"),
    (decoded_to_video, "codec", "gif", "Value not in list.*codec.*gif"),
    (decoded_to_video, "encoder", "fast", "Value not in list.*encoder.*fast"),
    (decoded_to_video, "quality", 52, "bigger than max.*quality"),
    (decoded_to_video, "last_frames", 0, "smaller than min.*last_frames"),
]


@pytest.fixture(scope="module", autouse=True)
def proof_of_harm(live_host: HostServer) -> Path:
    """The bad weight files are in place; a file appears here if one of them was run instead of read."""
    return write_bad_files(live_host.base_dir / "models")


@pytest.fixture(scope="module", autouse=True)
def goes_on_working(live_host: HostServer) -> Any:
    """After the whole table the same host samples and decodes a latent that it has not seen to finite pictures."""
    yield
    graph = Graph()
    start = graph.make(latent=[1, 16, 3, 8, 8], unseen="after the bad inputs")
    save = graph.save(decoded(graph, samples=moe_sample(graph, latent_image=start)))
    run = Client(live_host.url).run(graph)
    pictures = run.saved(save).array
    assert start[0] not in run.cached_nodes()
    assert pictures.shape == (9, 64, 64, 3)
    assert np.isfinite(pictures).all()


def spoilt(graph: Graph, row: Row) -> list[Any]:
    """The recipe of the row with the bad input in it."""
    good = dict(row.beside or {})
    if row.build is lock and row.input == "adapter" and isinstance(row.bad, tuple):
        return lock(graph, adapter=adapter(graph, ip_layers=row.bad[0], resampler=row.bad[1]))
    bad = graph.make(**row.bad) if isinstance(row.bad, dict) else row.bad(graph) if callable(row.bad) else row.bad
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
    assert row.message.fullmatch(failure.message), failure.message
    client.get("/system_stats")


GOOD = "MoESampler: latent_image: found str; wanted LATENT. Connect an empty latent for Wan video."


@pytest.mark.parametrize(
    "message",
    [
        GOOD.replace("str", "strange"),
        GOOD.replace("str", "a str"),
        GOOD.replace("found str", "str"),
        GOOD.replace("wanted LATENT", "wanted LATENTS"),
        GOOD.replace(" Connect an empty latent for Wan video.", ""),
        GOOD.replace("latent_image", "latent"),
        GOOD.replace("MoESampler", "KSampler"),
        f"Error: {GOOD}",
    ],
)
def test_the_comparison_sees_another_message(message: str) -> None:
    row = Row(moe_sample, "latent_image", TEXT, "str", "LATENT")
    assert row.message.fullmatch(GOOD)
    assert not row.message.fullmatch(message)


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
        (moe_guider, "guider_high", lambda graph: model(graph)),
        (moe_model, "model_high", lambda graph: moe_guider(graph)),
        (decoded, "vae", lambda graph: model(graph)),
        (decoded_to_video, "audio", lambda graph: recipes.portrait(graph)),
        (lock, "identity", lambda graph: recipes.portrait(graph)),
        (lip_sync, "frames", lambda graph: recipes.speech(graph)),
    ],
)
def test_the_host_refuses_a_link_of_another_type(client: Client, build: Build, name: str, wrong: Build) -> None:
    graph = Graph()
    graph.hash(build(graph, **{name: wrong(graph)}))
    failure = client.fails(graph)
    assert re.search(f"Return type mismatch.*{name}", failure.message)


@pytest.mark.parametrize("row", [row for row in ROWS if row.found == "None"], ids=str)
def test_a_choice_that_the_prompt_leaves_out_is_named(client: Client, row: Row) -> None:
    graph = Graph()
    node, _ = row.build(graph)
    graph.prompt[node]["inputs"] = {
        key: value for key, value in graph.prompt[node]["inputs"].items() if key.split(".")[0] != row.input
    }
    graph.hash([node, 0])
    failure = client.fails(graph)
    assert row.message.fullmatch(failure.message), failure.message


def test_no_weight_file_was_run(client: Client, proof_of_harm: Path) -> None:
    for build, name in ((identity, "encoder"), (adapter, "ip_layers"), (lip_sync, "weights")):
        graph = Graph()
        graph.hash(build(graph, **{name: "harmful.pt"}))
        client.fails(graph)
    assert not proof_of_harm.exists()


def test_the_good_files_still_work(client: Client) -> None:
    graph = Graph()
    person, weights = graph.hash(identity(graph, encoder=ENCODER)), graph.hash(adapter(graph))
    run = client.run(graph)
    assert run.digest(person) != run.digest(weights)
