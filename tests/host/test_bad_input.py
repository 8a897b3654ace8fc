"""Every listed bad input is answered with node, input, found, wanted and fix; the host stays up and goes on working."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.bad_files import CAN_DANGLE, write_bad_files
from tests.host.bad_inputs import ROWS, TEXT, Build, Row, lock
from tests.host.live import Client, Graph
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
    ("good", "bad"),
    [
        ("MoESampler", "KSampler"),
        ("latent_image", "latent"),
        ("found str", "found a str"),
        ("wanted LATENT", "wanted LATENTS"),
        (" Connect an empty latent for Wan video.", ""),
    ],
)
def test_the_comparison_sees_another_message(good: str, bad: str) -> None:
    message = Row(moe_sample, "latent_image", TEXT, "str", "LATENT").message
    assert message.fullmatch(GOOD)
    assert not message.fullmatch(GOOD.replace(good, bad))


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


# What MoESampler sees only while it runs, and what is allowed but probably not meant


@pytest.mark.parametrize(("slot", "below", "step", "sigma"), [("low", 0.875, 5, 0.8005), ("high", 0.95, 3, 0.9413)])
def test_nan_from_an_expert_is_named_with_its_step(
    client: Client, slot: str, below: float, step: int, sigma: float
) -> None:
    """Six simple steps at shift 8 begin at 1, 0.976, 0.941, 0.889, 0.800 and 0.616."""
    graph = Graph()
    file = {"high": recipes.HIGH, "low": recipes.LOW}[slot]
    broken = graph.add("WanCastProbeNan", model=model(graph, file), below_sigma=below)[0]
    graph.hash(moe_sample(graph, **{f"model_{slot}": broken}))
    failure = client.fails(graph)
    assert failure.node_type == "MoESampler"
    assert failure.message == (
        f"MoESampler: {slot} expert: found NaN or infinite values in step {step} of 6 (sigma {sigma:.4f}); wanted "
        "finite values. Load it in bf16 or fp8 instead of fp16, lower its LoRAs, or take its patches off one by one."
    )


def windows(graph: Graph, name: str) -> list[Any]:
    """A model that samples at most nine frames at a time."""
    settings: dict[str, Any] = {"context_length": 9, "context_overlap": 4, "context_schedule": "standard_static"}
    settings |= {"context_stride": 1, "closed_loop": False, "fuse_method": "pyramid", "dim": 2, "freenoise": False}
    settings |= {"split_conds_to_windows": False, "causal_window_fix": True}
    settings |= {"cond_retain_index_list": "", "latent_retain_index_list": ""}
    return graph.add("ContextWindowsManual", model=model(graph, name), **settings)[0]


NOTES: dict[str, tuple[Callable[[Graph], dict[str, Any]], str]] = {
    "the same file twice": (
        lambda graph: {"model_low": model(graph)},
        "both experts are mini_t2v_high.safetensors, whose name says high noise; the low-noise steps run on the wrong "
        "weights; load the low-noise file of the pair there",
    ),
    "exchanged files": (
        lambda graph: {"model_high": model(graph, recipes.LOW), "model_low": model(graph)},
        "the files look swapped: the high-noise expert is mini_t2v_low.safetensors and the low-noise expert is "
        "mini_t2v_high.safetensors; the video will be broken; exchange the two models",
    ),
    "karras": (
        lambda graph: {"scheduler": "karras", "steps": 10},
        "the high-noise expert takes 1 of 10 steps, an even schedule of shift 8 gives it 5; motion and layout will be "
        "coarse; unless you want that, set scheduler to simple and let it run to the end (karras, exponential and "
        "kl_optimal are not made for flow models)",
    ),
    "few steps without guidance": (
        lambda graph: {"steps": 4, "cfg_high": 1.0, "cfg_low": 1.0},
        "4 steps at cfg 1 look like a distilled (Lightning) LoRA, but step 4 is at timestep 727.3 and such LoRAs are "
        "trained at 625.0; motion and detail will suffer; set the shift to 5 and scheduler to simple",
    ),
    "context windows on one expert": (
        lambda graph: {"model_high": windows(graph, recipes.HIGH)},
        "only the high-noise expert has context windows; the low-noise expert runs at full length and needs far more "
        "memory; set context windows on both models",
    ),
}


@pytest.mark.parametrize("case", NOTES)
def test_the_report_notes_what_is_allowed_but_probably_not_meant(client: Client, case: str) -> None:
    changes, text = NOTES[case]
    graph = Graph()
    report = graph.add("PreviewAny", source=[moe_sample(graph, **changes(graph))[0], 1])
    lines = client.run(graph).output(report)["text"][0].splitlines()
    assert [line for line in lines if line.startswith("note: ")] == [f"note: {text}"]


def test_the_usual_run_has_no_note(client: Client) -> None:
    graph = Graph()
    report = graph.add("PreviewAny", source=[moe_sample(graph)[0], 1])
    assert "note:" not in client.run(graph).output(report)["text"][0]
