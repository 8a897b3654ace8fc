"""The front door: which parts of an adapter act, what they read, and the report."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.adapters.adapter_files import LITE, REF, STAND_IN, load, selected
from tests.unit.adapters.some_locks import ADAPTERS, MODEL, TEXT, identity, lock_of, locked, read_pictures
from wan_core.adapters import LockSettings, describe_lock
from wan_core.adapters.inject import IdentityInjection
from wan_core.adapters.kv_cache import KvCache
from wan_core.adapters.lock import ActiveLock
from wan_core.adapters.lynx import IpTerm, RefTerm
from wan_core.adapters.report import kept_bytes
from wan_core.adapters.settings import parse_blocks
from wan_core.adapters.stand_in import StandInTerm

# What acts


@pytest.mark.parametrize(
    ("kind", "changes", "acting"),
    [
        ("everything", {}, ["ip", "ref", "stand_in"]),
        ("everything", {"strength": 0.0}, ["ref"]),
        ("everything", {"ref_strength": 0.0}, ["ip", "stand_in"]),
        ("lite", {"read_pictures": None, "ref_text": None}, ["ip"]),
        ("lite", {"ref_strength": 0.0}, ["ip"]),
        ("stand-in", {"identity": identity(space=None, reference_crop=None), "ref_text": None}, ["stand_in"]),
        ("ref", {"identity": identity(space=None, portrait=None)}, ["ref"]),
    ],
)
def test_parts_with_a_strength_act_and_need_only_what_they_read(
    kind: str, changes: dict[str, Any], acting: list[str]
) -> None:
    lock = lock_of(locked(kind, **changes))
    terms = {"ip": lock.ip, "ref": lock.ref, "stand_in": lock.stand_in}
    assert [name for name, term in terms.items() if term is not None] == acting


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("everything", {"strength": 0.0, "ref_strength": 0.0}),
        ("everything", {"start_percent": 0.3, "end_percent": 0.3}),
        ("lite", {"strength": 0.0, "identity_guidance": 2.0}),
        ("ref", {"ref_strength": 0.0}),
    ],
)
def test_nothing_acts_at_strength_0_or_in_an_empty_range_and_nothing_is_read(
    kind: str, changes: dict[str, Any]
) -> None:
    result = locked(kind, identity=None, read_pictures=None, ref_text=None, **changes)
    assert (result.lock, result.identity_guidance, result.notes) == (None, 0.0, ())
    assert describe_lock(result) == (
        "the model stays as it was: no part of the adapter acts (strength 0, or an empty range)"
    )


def test_identity_tokens_are_those_of_the_vectors_and_of_zero_vectors() -> None:
    network, person = ADAPTERS["full"].network, identity()
    found = lock_of(locked("full")).ip
    assert found is not None and network.ip is not None and network.resampler is not None
    assert (found.is_normed_by_model, lock_of(locked("lite")).ip.is_normed_by_model) == (True, False)
    for row, vector in enumerate((person.embeddings, torch.zeros(1, 512))):
        tokens = network.resampler(vector[None])
        for block in range(4):
            for part, wanted in zip(found.unnormed[block], network.ip.layers[str(block)](tokens), strict=True):
                torch.testing.assert_close(part[row], wanted[0])


def test_pictures_are_read_by_the_vae_the_null_identity_is_grey() -> None:
    lock, person = lock_of(locked()), identity()
    assert lock.stand_in is not None and lock.ref is not None
    assert torch.equal(lock.stand_in.latent, read_pictures(person.portrait[None]))
    assert torch.equal(lock.ref.latents[:1], read_pictures(person.reference_crop[None]))
    assert torch.equal(lock.ref.latents[1:], torch.full((1, 16, 1, 2, 2), 0.5))
    assert lock.ref.text is TEXT


def test_locks_have_equal_contents_only_where_they_read_the_same() -> None:
    content = lock_of(locked()).content
    assert lock_of(locked(strength=0.5, blocks="0-1")).content == content
    others = (
        {"identity": identity(content_sha256="another")},
        {"ref_text": [[TEXT + 1, {}]]},
        {"read_pictures": lambda pictures: 2 * read_pictures(pictures)},
        {"adapter": replace(ADAPTERS["everything"], content_sha256="ef" * 32)},
    )
    assert len({content, *(lock_of(locked(**change)).content for change in others)}) == 5


def test_a_lock_keeps_what_was_chosen() -> None:
    chosen = {"strength": 0.4, "ref_strength": 0.7, "start_percent": 0.1, "end_percent": 0.9, "apply_to": "positive"}
    result = locked(**chosen, kept_as="fp8", frame_weights="0:1, 8:0.5", blocks="1-2", identity_guidance=2.0)
    lock = lock_of(result)
    assert {name: getattr(lock, name) for name in chosen} == chosen
    assert (lock.kept_as, lock.frame_weights, lock.blocks) == ("fp8", ((0, 1.0), (8, 0.5)), {1, 2})
    assert result.identity_guidance == 2.0


@pytest.mark.parametrize(
    ("kind", "apply_to", "differs"),
    [("lite", "auto", True), ("ref", "auto", True), ("stand-in", "auto", False), ("lite", "both", False)]
    + [("stand-in", "positive", True)],
)
def test_the_negative_prompt_gets_something_else(kind: str, apply_to: str, differs: bool) -> None:
    assert lock_of(locked(kind, apply_to=apply_to)).differs_by_prompt == differs


LITE_BLOCKS = tuple(range(0, 40, 2))


@pytest.mark.parametrize(
    ("text", "blocks"),
    [(" all ", set(LITE_BLOCKS)), ("0-5", {0, 2, 4}), ("0-5, 10,38", {0, 2, 4, 10, 38}), ("4 - 6,4", {4, 6})],
)
def test_a_range_takes_the_blocks_that_the_adapter_has(text: str, blocks: set[int]) -> None:
    assert parse_blocks(text, adapter_blocks=LITE_BLOCKS, model_blocks=40) == blocks


def test_the_blocks_of_parts_without_a_strength_do_not_count() -> None:
    mixed = load(selected(LITE | STAND_IN))
    assert lock_of(locked(adapter=mixed)).blocks == {0, 1, 2, 3}
    with_lite = load(selected(LITE | REF))
    assert lock_of(locked(adapter=with_lite, ref_strength=0.0)).blocks == {0, 2}


def test_nothing_that_came_in_is_changed() -> None:
    person, mask = identity(), torch.full((1, 4, 4), 1.0000002)
    given = (person.embeddings, person.reference_crop, person.portrait, mask, TEXT)
    before = [tensor.clone() for tensor in given]
    locked(identity=person, mask=mask)
    assert all(map(torch.equal, given, before))


def test_rounding_of_a_mask_is_cut_off() -> None:
    mask = torch.rand(3, 4, 4)
    assert torch.equal(lock_of(locked(mask=mask)).mask, mask)
    assert torch.equal(lock_of(locked(mask=torch.full((1, 1, 1), 1.0000002))).mask, torch.ones(1, 1, 1))


def test_what_travels_says_nothing_of_the_person_or_the_weights() -> None:
    """The host puts the text of every input into the history of a prompt that failed."""
    lock = lock_of(locked(mask=torch.rand(1, 4, 4)))
    kept = dict.fromkeys(range(4), (torch.ones(1, 3, 96),) * 2)
    parts = dict.fromkeys(("ip", "ref", "stand_in"), kept)
    active = ActiveLock(1.0, 1.0, lock.blocks, (0,), frozenset({0}), torch.ones(9), **parts)
    injection = IdentityInjection((lock, lock), KvCache(1, 1), "ID Lock")
    for value in (ADAPTERS["everything"], lock, active, injection, LockSettings(1.0, 0.0, 1.0, "all", mask=lock.mask)):
        assert not re.search(r"tensor\(|Linear\(|a person|\d\.\d{3}", repr(value))


# The report


def test_the_report_says_what_acts_where_and_the_memory_that_it_keeps() -> None:
    result = locked(start_percent=0.2, ref_strength=0.6)
    rows = 4 * (2 * (16 + 8) + 2 * 1 + 2 * 3)  # blocks; tokens and registers, two pictures of a token, 4 x 6 / 4 tokens
    assert describe_lock(result).splitlines() == [
        result.label,
        "acts by identity tokens with strength 1, portrait with strength 1, reference picture with strength 0.6",
        "in 4 of 4 blocks, from 20% to 100% of the noise schedule",
        "the portrait on both prompts; the person on the positive prompt, nobody on the negative one",
        f"keeps {2 * rows * 96 * 2 / 1e6:.1f} MB of keys and values in bf16",
    ]


@pytest.mark.parametrize(
    ("kind", "changes", "line"),
    [
        ("stand-in", {"apply_to": "both"}, "the person on both prompts"),
        ("stand-in", {"apply_to": "positive"}, "the person on the positive prompt, nothing on the negative one"),
        ("stand-in", {}, "the portrait on both prompts"),
        ("lite", {}, "the person on the positive prompt, nobody on the negative one"),
        ("lite", {"kept_as": "fp8"}, "keeps 0.0 MB of keys and values in fp8"),
    ],
)
def test_the_report_says_which_prompts_get_the_identity(kind: str, changes: dict[str, Any], line: str) -> None:
    assert line in describe_lock(locked(kind, **changes)).splitlines()


def meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


BLOCKS_14B = SimpleNamespace(blocks=range(40))
KEPT = [
    ({"stand_in": StandInTerm(BLOCKS_14B, meta(1, 16, 1, 64, 64), None)}, 40 * 1024),
    ({"ref": RefTerm(BLOCKS_14B, meta(2, 16, 1, 32, 32), meta(1, 512, 4096))}, 40 * 2 * 256),
    ({"ip": IpTerm(dict.fromkeys(range(20), (meta(2, 16, 5120),) * 2), False)}, 20 * 2 * 16),
]


@pytest.mark.parametrize(("parts", "rows"), KEPT, ids=["Stand-In", "reference", "lite"])
def test_the_kept_bytes_are_those_of_real_shapes(parts: dict[str, Any], rows: int) -> None:
    lock = replace(lock_of(locked("lite")), **{"ip": None} | parts)
    assert kept_bytes(lock, 5120) == 2 * rows * 5120 * 2
    assert kept_bytes(replace(lock, kept_as="fp8"), 5120) == 2 * rows * 5120


MASK = torch.ones(1, 4, 4)
ANOTHER = identity(content_sha256="another")


@pytest.mark.parametrize(
    ("first", "second", "is_noted"),
    [
        ({}, {"identity": ANOTHER}, True),
        ({}, {}, False),  # the same person twice
        ({}, {"identity": ANOTHER, "mask": MASK}, True),
        ({"mask": MASK}, {"identity": ANOTHER, "mask": MASK}, False),
    ],
)
def test_identities_without_a_mask_each_are_noted(
    first: dict[str, Any], second: dict[str, Any], is_noted: bool
) -> None:
    result = locked("stand-in", earlier=[lock_of(locked("stand-in", **first))], **second)
    text = "several persons without a mask for each blend into one another; give every ID Lock a mask"
    assert [(note.code, note.text) for note in result.notes] == [("blended_identities", text)] * is_noted
    assert describe_lock(result).splitlines()[5:] == [f"note: {text}"] * is_noted


@pytest.mark.parametrize(
    ("kind", "blocks"),
    [("stand-in", "4 of the 6"), ("ref", "4 of the 6"), ("full", "4 of the 6"), ("lite", "2 of the 3")],
)
def test_an_adapter_for_fewer_blocks_than_the_model_has_is_noted(kind: str, blocks: str) -> None:
    """Lynx lite acts in every second block."""
    (note,) = locked(kind, model=replace(MODEL, blocks=6)).notes
    assert (note.code, note.text) == (
        "few_blocks",
        f"the adapter has weights for {blocks} blocks of this model in which it acts; the file may be incomplete, or "
        "made for another model",
    )
    assert locked(kind).notes == ()


HIGH = replace(ADAPTERS["stand-in"], stand_in_expert="high")
SPARSE = "comfy_extras.nodes_sparse_attention.make_attention_override.<locals>.override"
NAMED = (
    "the Stand-In file is for the high-noise expert, and the name of the model's file says low noise; if that is "
    "right, load the Stand-In file of the low-noise expert"
)
DENSE = (
    f"the portrait lengthens the keys of self-attention, and the sparse attention '{SPARSE}' takes only as many keys "
    "as queries, so it may compute every locked self-attention densely"
)


@pytest.mark.parametrize(
    ("kind", "adapter", "target", "notes"),
    [
        ("stand-in", HIGH, {"noise_level": "low"}, [("other_expert", NAMED)]),
        ("stand-in", HIGH, {"noise_level": "high"}, []),
        ("stand-in", HIGH, {}, []),
        ("stand-in", None, {"noise_level": "low"}, []),
        ("stand-in", None, {"attention": SPARSE}, [("dense_attention", DENSE)]),
        ("stand-in", None, {"attention": "sage.attend"}, []),
        ("lite", None, {"attention": SPARSE, "noise_level": "low"}, []),
    ],
)
def test_what_names_say_against_stand_in_is_noted(
    kind: str, adapter: Any, target: dict[str, Any], notes: list[tuple[str, str]]
) -> None:
    result = locked(kind, model=replace(MODEL, **target), **({"adapter": adapter} if adapter else {}))
    assert [(note.code, note.text) for note in result.notes] == notes
