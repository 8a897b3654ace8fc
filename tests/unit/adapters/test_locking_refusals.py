"""What the door refuses, word for word, and before anything is computed."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.unit.adapters.some_locks import ADAPTERS, MODEL, TEXT, identity, locked
from wan_core.adapters.lynx import IpTerm
from wan_core.adapters.networks import PLACES
from wan_core.errors import InputError

NUMBER, LISTED = "a finite number of 0 or more", '"all", or numbers and ranges like "0-19, 25"'
PAIR, RISING = 'frame and weight, as in "0:1, 40:0.5"', "each frame once, in rising order"
HASHED = replace(ADAPTERS["lite"], space_sha256="cd" * 32)
ONNX = SimpleNamespace(name="mine.onnx", sha256="cd" * 32, family="iResNet")
SCAIL, ANIMATE, NEWER, FOREIGN = (
    replace(MODEL, network=network)
    for network in (
        "comfy.ldm.wan.model.SCAILWanModel",
        "comfy.ldm.wan.model_animate.AnimateWanModel",
        "comfy.ldm.wan.model_animate2.WanAnimate2Model",
        "custom_nodes.a_pack.WanModel",
    )
)
NARROW, SHALLOW = replace(MODEL, width_d=48), replace(MODEL, blocks=3)
PLAIN = "WanModel, VaceWanModel, CameraWanModel, HumoWanModel, WanModel_S2V"
ALL = f"{PLAIN}, AnimateWanModel, SCAILWanModel, SCAIL2WanModel, WanDancerModel"
LOST = "In another one the identity would be lost. Load a text-to-video or image-to-video model of Wan2.1 or Wan2.2."
ONE_TEXT = [TEXT, {}]
WANTED = {  # what is wanted, by what is found
    "2 with the person on both prompts": "a negative prompt without the person",
    "nothing": "the model's VAE, for the pictures of the identity",
    "several texts": "one",
    "an adapter for a model of width 96": "one for this model's width 48",
    "weights for block 3": "an adapter for this model of 3 blocks",
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
    *(
        (kind, more | {"model": model}, "model", f"a {name}", f"one that allows {needs}: {networks}")
        + (f"Use another model, or do without {needs}.",)
        for kind, more, model, name, needs, networks in (
            ("lite", {"mask": torch.ones(1, 4, 4)}, SCAIL, "SCAILWanModel", PLACES, f"{PLAIN}, AnimateWanModel"),
            ("stand-in", {}, SCAIL, "SCAILWanModel", "Stand-In", f"{PLAIN}, AnimateWanModel"),
            ("ref", {}, ANIMATE, "AnimateWanModel", "Lynx's reference layers", PLAIN),
            ("ref", {"frame_weights": "0:1"}, SCAIL, "SCAILWanModel", f"Lynx's reference layers and {PLACES}", PLAIN),
        )
    ),
    *(
        (kind, {"model": model}, "model", f"a network of the class '{model.network}'")
        + (f"one that identities are exact in: {networks}", LOST)
        for model in (NEWER, FOREIGN)
        for kind, networks in (("lite", ALL), ("everything", PLAIN))
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
    [{"read_pictures": None}, {"model": NEWER}, {"ref_text": None}, {"ref_text": [ONE_TEXT] * 2}]
    + [{"identity": identity(**{part: None})} for part in ("portrait", "reference_crop")],
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
        ("full", {"model": SCAIL}),
        ("stand-in", {"model": ANIMATE, "mask": torch.ones(1, 4, 4)}),
        ("lite", {"strength": 2.0, "apply_to": "both"}),
    ],
)
def test_what_fits_is_taken(kind: str, changes: dict[str, Any]) -> None:
    assert locked(kind, **changes).lock is not None
