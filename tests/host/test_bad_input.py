"""Every listed bad input is answered with node, input, found, wanted and fix; the host stays up and goes on working."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.bad_files import CAN_DANGLE, write_bad_files
from tests.host.bad_inputs import BUILDS, NODE_OF, ROWS, TEXT, Build, Row, lock, with_link, wrong_values
from tests.host.live import DYNAMIC_COMBO, Client, Graph, Json, slots_of
from tests.host.recipes import (
    ENCODER,
    adapter,
    audio_features,
    decoded,
    identity,
    lip_sync,
    model,
    moe_guider,
    moe_sample,
)

REFUSED = [  # (recipe, input, value or another node, what the host itself says); the help pages keep the ranges
    (identity, "encoder", "no_such_file.safetensors", "Value not in list.*encoder.*no_such_file"),
    (lip_sync, "weights", "../secrets.safetensors", "Value not in list.*weights.*secrets"),
    (moe_sample, "sampler_name", "fastest", "Value not in list.*sampler_name.*fastest"),
    (lock, "strength", 2.5, "bigger than max.*strength"),
    (lock, "strength", "much", "convert.*FLOAT.*strength"),
    (audio_features, "fps", 0.0, "smaller than min.*fps"),
    (decoded, "vae", model, "Return type mismatch.*vae"),
    (moe_guider, "guider_high", model, "Return type mismatch.*guider_high"),
    (lock, "identity", recipes.portrait, "Return type mismatch.*identity"),
]


@pytest.fixture(scope="module", autouse=True)
def no_weight_file_is_run(live_host: HostServer) -> Iterator[None]:
    """The bad weight files are in place; a file appears if one of them was run instead of read."""
    proof = write_bad_files(live_host.base_dir / "models")
    yield
    assert not proof.exists()


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


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_message_names_node_input_found_wanted_and_fix(client: Client, row: Row) -> None:
    if row.bad == "gone.safetensors" and not CAN_DANGLE:
        pytest.skip("a file that is listed and gone needs a symbolic link")
    row.require_message(client)


@pytest.mark.parametrize("build", BUILDS, ids=NODE_OF.get)
def test_what_no_input_of_a_kind_takes_is_named_and_the_host_goes_on(
    client: Client, object_info: Json, build: Build
) -> None:
    node = NODE_OF[build]
    slots = list(slots_of(object_info[node]["input"]))
    for slot in slots:
        for value, found in wrong_values(slot) if slot.kind != DYNAMIC_COMBO else [("text", "str")]:
            graph = Graph()
            graph.hash(with_link(graph, build, slots, slot, value))
            failure = client.fails(graph)
            assert failure.message.startswith(f"{node}: {slot.name}: found {found}; wanted "), failure.message
            client.require_work()


@pytest.mark.parametrize("build", BUILDS, ids=NODE_OF.get)
def test_an_optional_input_that_a_link_gives_nothing_is_as_one_left_out(
    client: Client, object_info: Json, build: Build
) -> None:
    graph = Graph()
    given = graph.prompt[build(graph)[0]]["inputs"]
    slots = [slot for slot in slots_of(object_info[NODE_OF[build]]["input"]) if slot.kind != DYNAMIC_COMBO]
    left_out = [slot.name for slot in slots if not (slot.required or slot.choice or slot.name in given)]
    graph.hash(build(graph, **dict.fromkeys(left_out, graph.make(value=None))))
    client.run(graph)


def test_the_comparison_sees_another_message() -> None:
    message = Row(moe_sample, "latent_image", TEXT, "str", "a LATENT").message
    good = "MoESampler: latent_image: found str; wanted a LATENT. Connect another output."
    assert message.fullmatch(good)
    for part in ("MoESampler", "latent_image", "found str", "wanted a LATENT", " Connect another output."):
        assert not message.fullmatch(good.replace(part, part[1:]))


@pytest.mark.parametrize(("build", "name", "value", "message"), REFUSED)
def test_the_host_refuses_what_its_own_checks_see(
    client: Client, build: Build, name: str, value: Any, message: str
) -> None:
    graph = Graph()
    graph.hash(build(graph, **{name: value(graph) if callable(value) else value}))
    failure = client.fails(graph)
    assert re.search(message, failure.message, re.DOTALL), failure.message


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


def test_the_good_files_still_work(client: Client) -> None:
    graph = Graph()
    person, weights = graph.hash(identity(graph, encoder=ENCODER)), graph.hash(adapter(graph))
    run = client.run(graph)
    assert run.digest(person) != run.digest(weights)
