"""The front door: which parts of an adapter act, what they read, what is refused word for word, and the report."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.adapters.adapter_files import FULL, LITE, REF, STAND_IN, load, selected
from wan_core.adapters import LockResult, LockSettings, TargetParams, describe_lock, make_lock
from wan_core.adapters.lock import Lock
from wan_core.adapters.lynx import IpTerm, RefTerm
from wan_core.adapters.report import kept_bytes
from wan_core.adapters.settings import parse_blocks
from wan_core.adapters.stand_in import StandInTerm
from wan_core.errors import InputError

EVERYTHING = FULL | REF | STAND_IN
ADAPTERS = {
    name: load(selected(tables))
    for name, tables in {"lite": LITE, "full": FULL, "ref": REF, "stand-in": STAND_IN, "everything": EVERYTHING}.items()
}
MODEL = TargetParams("WanModel", 96, 4, text_d=64, has_plain_layout=True, noise_level=None)
TEXT = torch.randn(1, 7, 64, generator=torch.Generator().manual_seed(1))
SPACE = SimpleNamespace(name="mine.pth", sha256="ab" * 32, family="IR-SE")


def identity(**changes: Any) -> Any:
    """A person with everything that an adapter can read."""
    draw = torch.Generator().manual_seed(0)
    vectors, crop, portrait = (torch.rand(shape, generator=draw) for shape in ((1, 512), (16, 16, 3), (32, 48, 3)))
    parts = {"embeddings": vectors, "reference_crop": crop, "portrait": portrait}
    return SimpleNamespace(**parts | {"space": SPACE, "content_sha256": "a person"} | changes)


def read_pictures(pictures: Tensor) -> Tensor:
    """A VAE whose latents are the pictures' own pixels, one in eight, with 16 channels."""
    return pictures[:, ::8, ::8, :1].movedim(-1, 1)[:, :, None].expand(-1, 16, -1, -1, -1)


def locked(kind: str = "everything", **changes: Any) -> LockResult:
    """What the door gives; a change is a setting, or one of the door's other arguments."""
    door = {"identity": identity(), "adapter": ADAPTERS[kind], "model": MODEL, "read_pictures": read_pictures}
    door = {name: changes.pop(name, value) for name, value in (door | {"earlier": ()}).items()}
    settings = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "blocks": "all", "ref_text": [[TEXT, {}]]}
    return make_lock(LockSettings(**settings | changes), **door)


def lock_of(result: LockResult) -> Lock:
    assert result.lock is not None
    return result.lock


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
    lock, person = lock_of(locked(model=replace(MODEL, noise_level="low"))), identity()
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
    person, mask = identity(), torch.rand(1, 4, 4) + 0.005
    given = (person.embeddings, person.reference_crop, person.portrait, mask, TEXT)
    before = [tensor.clone() for tensor in given]
    locked(identity=person, mask=mask)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(given, before, strict=True))


def test_rounding_of_a_mask_is_cut_off() -> None:
    mask = torch.rand(3, 4, 4)
    assert torch.equal(lock_of(locked(mask=mask)).mask, mask)
    assert torch.equal(lock_of(locked(mask=torch.full((1, 1, 1), 1.0000002))).mask, torch.ones(1, 1, 1))


# What is refused

NUMBER, LISTED = "a finite number of 0 or more", '"all", or numbers and ranges like "0-19, 25"'
PAIR, RISING = 'frame and weight, as in "0:1, 40:0.5"', "each frame once, in rising order"
HIGH = replace(ADAPTERS["stand-in"], stand_in_expert="high")
HASHED = replace(ADAPTERS["lite"], space_sha256="cd" * 32)
ONNX = SimpleNamespace(name="mine.onnx", sha256="cd" * 32, family="iResNet")
SCAIL = replace(MODEL, network="SCAILWanModel", has_plain_layout=False)
LOW, NARROW, SHALLOW = replace(MODEL, noise_level="low"), replace(MODEL, width_d=48), replace(MODEL, blocks=3)
STRANGE = "a SCAILWanModel, which arranges the video's tokens in its own way"
ONE_TEXT = [TEXT, {}]
WANTED = {  # what is wanted, by what is found
    "2 with the person on both prompts": "a negative prompt without the person",
    "nothing": "the model's VAE, for the pictures of the identity",
    "several texts": "one",
    "an adapter for a model of width 96": "one for this model's width 48",
    "weights for block 3": "an adapter for this model of 3 blocks",
    "the Stand-In file of the high-noise expert on the low-noise model": "the one of the low-noise expert",
    "an identity without a portrait": "one with a portrait, for Stand-In",
    "an identity of crops that were aligned already": "one with a wider crop, for the reference layers",
    "an identity without vectors": "one with vectors, for Lynx",
    "an identity of the recogniser mine.onnx (family iResNet)": "a recogniser of the family IR-SE",
    "an identity of the recogniser mine.pth (SHA-256 abababababab)": "the recogniser that the adapter names, SHA-256 "
    "cdcdcdcdcdcd",
}
FIX = {  # what to do, by what is found, else by the input
    "strength": "Adapters are trained with 1.",
    "ref_strength": "Adapters are trained with 1.",
    "identity_guidance": "Set it to 0 to turn it off; Lynx was shown with 2.",
    "start_percent": "Swap or correct the two values.",
    "apply_to": "Pick one in the node.",
    "kept_as": "Pick one in the node.",
    "2 with the person on both prompts": 'Set apply_to to "positive", or identity_guidance to 0.',
    "blocks": 'Write "all" if in doubt.',
    "frame_weights": "Leave it empty for the same weight throughout.",
    "mask": "Connect a MASK, for example from Load Image (as Mask).",
    "vae": "Connect Load VAE.",
    "nothing for the text": 'Connect CLIP Text Encode with "image of a face".',
    "several texts": 'Connect one CLIP Text Encode with "image of a face".',
    "ref_text": "Connect a CLIP Text Encode node that uses the UMT5 text encoder of Wan.",
    "an adapter for a model of width 96": "Wan2.2 A14B is 5120 wide, TI2V-5B 3072, Wan2.1 1.3B 1536: use the adapter "
    "of the same model.",
    "weights for block 3": "Use the adapter with the model that it was trained for.",
    "adapter": "Load one adapter for each expert, with the Stand-In file of that expert.",
    "an identity without vectors": "Encode the pictures again with a recogniser, and with the faces found by a "
    "detector or by landmarks.",
    "an identity without a portrait": "Encode the pictures again, with the faces found by a detector or by landmarks.",
    "an identity of crops that were aligned already": "Encode the pictures again, with the faces found by a detector "
    "or by landmarks.",
    "identity": "Encode the pictures again with the recogniser that the adapter was trained with.",
}
REFUSED: list[tuple[Any, ...]] = [  # adapter, changes, input, what is found, and what is wanted where WANTED is silent
    *(
        ("lite", {name: value}, name, str(value), NUMBER)
        for name in ("strength", "ref_strength", "identity_guidance")
        for value in (-0.5, math.nan, math.inf)
    ),
    *(
        ("lite", {"start_percent": start, "end_percent": end}, "start_percent", f"{start:g} with end_percent {end:g}")
        + ("0 <= start_percent <= end_percent <= 1",)
        for start, end in ((0.6, 0.5), (-0.1, 1.0), (0.0, 1.1), (math.nan, 1.0))
    ),
    ("lite", {"apply_to": "nobody"}, "apply_to", "'nobody'", "one of auto, both, positive"),
    ("lite", {"kept_as": "int4"}, "kept_as", "'int4'", "one of model's type, fp8"),
    *(
        (kind, {"identity_guidance": 2.0} | more, "identity_guidance", "2 with the person on both prompts")
        for kind, more in (("lite", {"apply_to": "both"}), ("stand-in", {}))
    ),
    *(("lite", {"blocks": text}, "blocks", "no blocks", LISTED) for text in ("", " , ")),
    *(("lite", {"blocks": text}, "blocks", repr(text), LISTED) for text in ("5-", "first", "-1", "1.5")),
    ("lite", {"blocks": "3-1"}, "blocks", "'3-1'", "a range that counts upwards"),
    ("lite", {"blocks": "0-4"}, "blocks", "'0-4'", "blocks from 0 to 3, as this model has"),
    ("lite", {"blocks": "0,3"}, "blocks", "'3'", "blocks that the adapter has weights for: 0, 2"),
    ("lite", {"frame_weights": 1.0}, "frame_weights", "1.0", 'a text like "0:1, 40:0.5"'),
    *(
        ("lite", {"frame_weights": text}, "frame_weights", repr(text), PAIR)
        for text in ("1", "0:x", "0:-1", "0:nan", "0-4:1")
    ),
    ("lite", {"frame_weights": "8:1, 4:1"}, "frame_weights", "the frames 8, 4", RISING),
    ("lite", {"frame_weights": "4:1, 4:0"}, "frame_weights", "the frames 4, 4", RISING),
    ("lite", {"mask": "text"}, "mask", "str", "a MASK"),
    *(
        ("lite", {"mask": torch.ones(shape)}, "mask", f"a tensor of shape {shape}", "masks as frames, height, width")
        for shape in ((4, 4), (0, 4, 4))
    ),
    *(
        ("lite", {"mask": torch.full((1, 4, 4), value)}, "mask", "values outside of 0 to 1", "values from 0 to 1")
        for value in (math.nan, 1.1, -0.1)
    ),
    ("lite", {"model": NARROW}, "adapter", "an adapter for a model of width 96"),
    ("full", {"model": SHALLOW}, "adapter", "weights for block 3"),
    (
        *("stand-in", {"adapter": HIGH, "model": LOW}, "adapter"),
        "the Stand-In file of the high-noise expert on the low-noise model",
    ),
    *(
        (kind, more | {"model": SCAIL}, "model", STRANGE, f"a plain Wan model for {needs}")
        + (f"Use another model, or do without {needs}.",)
        for kind, more, needs in (
            ("lite", {"mask": torch.ones(1, 4, 4)}, "masks and frame weights"),
            ("ref", {}, "ref_layers"),
            ("ref", {"frame_weights": "0:1"}, "masks and frame weights and ref_layers"),
        )
    ),
    *(
        (kind, {"identity": identity(**lacking)}, "identity", found)
        for kind, lacking, found in (
            ("stand-in", {"portrait": None}, "an identity without a portrait"),
            ("ref", {"reference_crop": None}, "an identity of crops that were aligned already"),
            ("lite", {"space": None}, "an identity without vectors"),
            ("lite", {"space": ONNX}, "an identity of the recogniser mine.onnx (family iResNet)"),
        )
    ),
    ("lite", {"adapter": HASHED}, "identity", "an identity of the recogniser mine.pth (SHA-256 abababababab)"),
    *((kind, {"read_pictures": None}, "vae", "nothing") for kind in ("stand-in", "ref")),
    ("ref", {"ref_text": None}, "ref_text", "nothing", "a text for the reference layers", FIX["nothing for the text"]),
    *(("ref", {"ref_text": texts}, "ref_text", "several texts") for texts in ([ONE_TEXT] * 2, [[TEXT[[0, 0]], {}]])),
    ("ref", {"ref_text": "text"}, "ref_text", "str", "CONDITIONING"),
    (
        *("ref", {"ref_text": [[TEXT[..., :11], {}]]}, "ref_text"),
        *("text of shape [1, 7, 11]", "[batch, tokens, 64] for this model"),
    ),
]


@pytest.mark.parametrize("row", REFUSED, ids=[f"{row[2]} {row[3][:50]}" for row in REFUSED])
def test_what_does_not_fit_is_named(row: tuple[Any, ...]) -> None:
    kind, changes, name, found, *rest = row
    wanted = rest[0] if rest else WANTED[found]
    fix = rest[1] if len(rest) == 2 else FIX[found if found in FIX else name]
    with pytest.raises(InputError) as caught:
        locked(kind, **changes)
    assert str(caught.value) == f"{name}: found {found}; wanted {wanted}. {fix}"


@pytest.mark.parametrize(
    "changes",
    [
        {"read_pictures": None},
        {"identity": identity(portrait=None)},
        {"identity": identity(reference_crop=None)},
        {"adapter": replace(ADAPTERS["everything"], stand_in_expert="high"), "model": LOW},
        {"ref_text": None},
        {"ref_text": [ONE_TEXT] * 2},
    ],
)
def test_nothing_is_computed_before_all_parts_are_there(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(*_args: Any) -> Any:
        raise AssertionError("computed too early")

    monkeypatch.setattr(IpTerm, "of", compute)
    with pytest.raises(InputError):
        locked(**{"read_pictures": compute} | changes)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("lite", {"adapter": HASHED, "identity": identity(space=ONNX)}),
        ("stand-in", {"adapter": HIGH, "model": replace(MODEL, noise_level="high")}),
        ("stand-in", {"adapter": HIGH}),
        ("stand-in", {"model": LOW}),
        ("full", {"model": SCAIL}),
        ("stand-in", {"model": SCAIL}),
        ("lite", {"strength": 2.0, "apply_to": "both"}),
    ],
)
def test_what_fits_is_taken(kind: str, changes: dict[str, Any]) -> None:
    assert locked(kind, **changes).lock is not None


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
