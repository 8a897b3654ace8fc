"""Every file that does not fit is refused in one line: which input, what was found, what is wanted, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from demo.miniature import adapters
from tests.unit.adapters.adapter_files import (
    FULL,
    LITE,
    REF,
    STAND_IN,
    Selected,
    by_block,
    changed,
    load,
    meta,
    prefixed,
    said,
    selected,
    weights,
)
from wan_core.adapters.files import AdapterFile
from wan_core.errors import InputError

Make = Callable[[], Selected]


@dataclass(frozen=True, slots=True)
class Row:
    """Files that do not fit, and the whole message but for its fix, which begins with ``fix``."""

    make: Make
    slot: str
    found: str
    wanted: str
    fix: str


ONE = torch.zeros(1)
IP, RESAMPLER, REF_LAYERS = "IP layers of Lynx", "a resampler of Lynx", "reference layers of Lynx full"
KEYS_OF = {
    "ip_layers": f"only keys of {IP} (<n>.* or blocks.<n>.cross_attn.ip_adapter.*)",
    "resampler": f"only keys of {RESAMPLER}",
    "ref_layers": f"only keys of {REF_LAYERS} (<n>.* or blocks.<n>.self_attn.ref_adapter.*)",
    "stand_in": "only keys of Stand-In weights (blocks.<n>.self_attn.*)",
}
COMPLETE, AGAIN = "a complete file", "Copy or download it again."


def as_file(state_dict: dict[str, torch.Tensor], **metadata: str) -> AdapterFile:
    return AdapterFile("x.safetensors", state_dict, metadata)


def in_slot(slot: str, state_dict: dict[str, torch.Tensor], **metadata: str) -> Make:
    """One file in one input."""
    return lambda: {slot: as_file(state_dict, **metadata)}


def swapped(slot: str, tables: dict[str, Callable], from_slot: str) -> Row:
    nouns = {"ip_layers": IP, "resampler": RESAMPLER, "ref_layers": REF_LAYERS, "stand_in": "Stand-In weights"}
    make = in_slot(slot, weights(tables[from_slot]))
    return Row(make, slot, nouns[from_slot], nouns[slot], f"Pick this file in {from_slot}.")


EVERYTHING = LITE | REF | STAND_IN
WRONG_SLOTS = [swapped(slot, EVERYTHING, other) for slot in EVERYTHING for other in EVERYTHING if slot != other]

LORA = {"blocks.0.self_attn.q.lora_A.weight": ONE, "blocks.0.self_attn.q.lora_B.weight": ONE}
LORAS = [
    LORA,
    prefixed(LORA),
    {"lora_unet_blocks_0_self_attn_q.lora_down.weight": ONE, "lora_unet_blocks_0_self_attn_q.alpha": ONE},
    {"diffusion_model.blocks.0.self_attn.q.diff_b": ONE},
]
MODEL = {"patch_embedding.weight": ONE, "blocks.0.self_attn.q.weight": ONE, "head.head.weight": ONE}
MODELS = [MODEL, prefixed(MODEL), {f"model.diffusion_model.{key}": value for key, value in MODEL.items()}]
MISTAKES = [
    *(
        Row(in_slot("stand_in", lora), "stand_in", "a LoRA", "Stand-In weights", "Load it with LoraLoaderModelOnly.")
        for lora in LORAS
    ),
    *(
        Row(
            in_slot("ip_layers", model),
            "ip_layers",
            "a whole diffusion model",
            IP,
            "Load it with Load Diffusion Model.",
        )
        for model in MODELS
    ),
    Row(
        in_slot("stand_in", weights(adapters.stand_in) | MODEL),
        "stand_in",
        "a whole diffusion model",
        "Stand-In weights",
        "Load it with Load Diffusion Model.",
    ),
    *(Row(in_slot(slot, {}), slot, "an empty file", wanted, "Pick ") for slot, wanted in KEYS_OF.items()),
    *(
        Row(in_slot(slot, {"weight": ONE, "bias": ONE}), slot, "unknown keys: bias, weight", wanted, "Pick ")
        for slot, wanted in KEYS_OF.items()
    ),
]

HALF = [
    Row(
        lambda: changed(selected(LITE), "ip_layers", without=("1.to_v_ip.weight",)),
        "ip_layers",
        "a file without 1.to_v_ip.weight",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(LITE), "ip_layers", without=("0.to_k_ip.weight", "0.to_v_ip.weight")),
        "ip_layers",
        "a file without 0.to_k_ip.weight, 0.to_v_ip.weight",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(
            selected(LITE, by_block), "ip_layers", without=("blocks.2.cross_attn.ip_adapter.to_k_ip.weight",)
        ),
        "ip_layers",
        "a file without blocks.2.cross_attn.ip_adapter.to_k_ip.weight",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(LITE), "ip_layers", without=("0.to_k_ip.weight", "1.to_k_ip.weight")),
        "ip_layers",
        "a file without a usable 0.to_k_ip.weight",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(FULL), "ip_layers", without=("3.registers",)),
        "ip_layers",
        "a file without 3.registers",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(FULL), "ip_layers", without=tuple(f"{n}.registers" for n in range(4))),
        "ip_layers",
        "a file without a usable 0.registers",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(FULL), "ip_layers", without=("0.to_k_ip.bias", "2.to_v_ip.bias")),
        "ip_layers",
        "a file without 0.to_k_ip.bias, 2.to_v_ip.bias",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(REF), "ref_layers", without=("1.to_k_ref.bias",)),
        "ref_layers",
        "a file without 1.to_k_ref.bias",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(STAND_IN), "stand_in", without=("blocks.3.self_attn.v_loras.up.weight",)),
        "stand_in",
        "a file without blocks.3.self_attn.v_loras.up.weight",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: {"stand_in": as_file({k: t for k, t in weights(adapters.stand_in).items() if "blocks.1." not in k})},
        "stand_in",
        "a file without "
        + ", ".join(f"blocks.1.self_attn.{x}_loras.{y}.weight" for x in "qkv" for y in ("down", "up")),
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(LITE), "resampler", without=("layers.0.0.norm1.bias",)),
        "resampler",
        "a file without layers.0.0.norm1.bias",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(LITE), "resampler", without=("latents",)),
        "resampler",
        "a file without a usable latents",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(selected(LITE), "resampler", latents=ONE),
        "resampler",
        "a file without a usable latents",
        COMPLETE,
        AGAIN,
    ),
    Row(
        lambda: changed(
            selected(STAND_IN), "stand_in", blocks__999__self_attn__q_loras__down__weight=torch.zeros(8, 96)
        ),
        "stand_in",
        "a file without "
        + ", ".join(
            [f"blocks.4.self_attn.{x}_loras.{y}.weight" for x in "qkv" for y in ("down", "up")]
            + [f"blocks.5.self_attn.q_loras.{y}.weight" for y in ("down", "up")]
        )
        + " and 5967 more",
        COMPLETE,
        AGAIN,
    ),
]

KEYS = [
    Row(
        lambda: changed(selected(LITE), "ip_layers", extra=ONE, mask=ONE),
        "ip_layers",
        "unknown keys: extra, mask",
        KEYS_OF["ip_layers"],
        "Pick ",
    ),
    Row(
        lambda: changed(selected(LITE), "resampler", pos_emb__weight=ONE),
        "resampler",
        "unknown keys: pos_emb.weight",
        KEYS_OF["resampler"],
        "Pick ",
    ),
    Row(
        lambda: changed(selected(LITE), "resampler", layers__999999999__1__1__weight=ONE),
        "resampler",
        "unknown keys: layers.999999999.1.1.weight",
        KEYS_OF["resampler"],
        "Pick ",
    ),
    Row(
        lambda: changed(selected(STAND_IN), "stand_in", blocks__1__self_attn__q_loras__alpha_in=ONE),
        "stand_in",
        "unknown keys: blocks.1.self_attn.q_loras.alpha_in",
        KEYS_OF["stand_in"],
        "Pick ",
    ),
    Row(
        lambda: changed(selected(FULL), "ip_layers", **{"01__to_k_ip__weight": ONE}),
        "ip_layers",
        "unknown keys: 01.to_k_ip.weight",
        KEYS_OF["ip_layers"],
        "Pick ",
    ),
    Row(
        lambda: changed(selected(FULL), "ip_layers", **{"99999999__to_k_ip__weight": ONE}),
        "ip_layers",
        "unknown keys: 99999999.to_k_ip.weight",
        KEYS_OF["ip_layers"],
        "Pick ",
    ),
    Row(
        lambda: changed(selected(LITE), "ip_layers", blocks__0__cross_attn__ip_adapter__to_k_ip__weight=ONE),
        "ip_layers",
        "unknown keys: blocks.0.cross_attn.ip_adapter.to_k_ip.weight",
        KEYS_OF["ip_layers"],
        "Pick ",
    ),
    Row(
        lambda: changed(selected(REF), "ref_layers", **{"diffusion_model__0__to_k_ref__weight": ONE}),
        "ref_layers",
        "unknown keys: diffusion_model.0.to_k_ref.weight",
        KEYS_OF["ref_layers"],
        "Pick ",
    ),
    Row(
        in_slot("stand_in", weights(adapters.stand_in) | {"scaled_fp8": ONE}),
        "stand_in",
        "unknown keys: scaled_fp8",
        KEYS_OF["stand_in"],
        "Pick ",
    ),
]

MIXED = [
    Row(
        in_slot("ip_layers", weights(adapters.lite_ip_layers) | weights(adapters.resampler)),
        "ip_layers",
        f"{IP} and {RESAMPLER} in one file",
        f"{IP} alone",
        "Use the separate files",
    ),
    Row(
        in_slot("ref_layers", weights(adapters.full_ip_layers) | weights(adapters.ref_layers)),
        "ref_layers",
        f"{IP} and {REF_LAYERS} in one file",
        f"{REF_LAYERS} alone",
        "Use the separate files",
    ),
    Row(
        in_slot("ip_layers", weights(adapters.lite_ip_layers) | weights(adapters.stand_in), format_version="1"),
        "ip_layers",
        f"{IP} and Stand-In weights in one file",
        f"{IP} alone",
        "Use the separate files",
    ),
    Row(
        in_slot("resampler", weights(adapters.lite_ip_layers) | weights(adapters.resampler), format_version="1"),
        "resampler",
        f"{IP} and {RESAMPLER} in one file",
        f"{RESAMPLER} alone",
        "Use the separate files",
    ),
    Row(
        in_slot("ip_layers", weights(adapters.resampler), format_version="1"),
        "ip_layers",
        RESAMPLER,
        IP,
        "Pick this file in resampler.",
    ),
    Row(
        lambda: (
            selected(LITE)
            | {"ip_layers": as_file(weights(adapters.lite_ip_layers) | weights(adapters.resampler), format_version="1")}
        ),
        "resampler",
        "a resampler beside the one that the file in ip_layers holds",
        "one resampler",
        "Set resampler to none.",
    ),
    *(
        Row(
            lambda version=version: said(selected(LITE), "ip_layers", format_version=version),
            "ip_layers",
            f"a file of format_version {version!r}",
            "'1'",
            "Update WanCast",
        )
        for version in ("2", "1.0", "", "draft")
    ),
]

SIZES = [
    Row(
        lambda: changed(selected(LITE), "ip_layers", **{"1__to_v_ip__weight": torch.zeros(48, 80)}),
        "ip_layers",
        "1.to_v_ip.weight of shape 48 x 80",
        "96 x 80, as the rest of the file has it",
        AGAIN,
    ),
    Row(
        lambda: changed(selected(LITE), "ip_layers", **{"1__to_v_ip__weight": torch.tensor(1.0)}),
        "ip_layers",
        "1.to_v_ip.weight of shape a single number",
        "96 x 80, as the rest of the file has it",
        AGAIN,
    ),
    Row(
        lambda: changed(selected(FULL), "ip_layers", **{"2__registers": torch.zeros(1, 8, 80)}),
        "ip_layers",
        "2.registers of shape 1 x 8 x 80",
        "1 x 8 x 96, as the rest of the file has it",
        AGAIN,
    ),
    Row(
        lambda: changed(selected(REF), "ref_layers", **{"0__to_k_ref__weight": torch.zeros(96, 80)}),
        "ref_layers",
        "0.to_k_ref.weight of shape 96 x 80",
        "96 x 96, as the rest of the file has it",
        AGAIN,
    ),
    Row(
        lambda: changed(selected(STAND_IN), "stand_in", blocks__2__self_attn__k_loras__up__weight=torch.zeros(96, 16)),
        "stand_in",
        "blocks.2.self_attn.k_loras.up.weight of shape 96 x 16",
        "96 x 8, as the rest of the file has it",
        AGAIN,
    ),
    Row(
        lambda: changed(selected(LITE), "resampler", proj_out__bias=ONE),
        "resampler",
        "proj_out.bias of shape 1",
        "80, as the rest of the file has it",
        AGAIN,
    ),
    Row(
        lambda: changed(selected(LITE), "resampler", layers__0__0__to_q__weight=torch.zeros(65, 64)),
        "resampler",
        "attention of width 65",
        "a multiple of 64",
        "Pick the resampler",
    ),
    Row(
        lambda: changed(selected(LITE), "resampler", proj_in__weight=torch.zeros(64, 256)),
        "resampler",
        "a resampler for embeddings of 256 numbers",
        "one for face embeddings of 512",
        "Pick the resampler",
    ),
    Row(
        lambda: selected({"ip_layers": adapters.lite_ip_layers, "resampler": adapters.full_resampler}),
        "resampler",
        "tokens of 96 numbers",
        "80, as the IP layers take them",
        "Pick the resampler that belongs",
    ),
    Row(
        lambda: selected(LITE) | {"stand_in": as_file(meta(adapters.stand_in(1536, 4)))},
        "stand_in",
        "weights for a model of width 1536",
        "width 96, as the file in ip_layers has it",
        "Use files",
    ),
    Row(
        lambda: {
            "ref_layers": as_file(meta(adapters.ref_layers(5120, 4))),
            "stand_in": as_file(meta(adapters.stand_in(3072, 4))),
        },
        "stand_in",
        "weights for a model of width 3072",
        "width 5120, as the file in ref_layers has it",
        "Use files",
    ),
    Row(
        lambda: selected(FULL) | {"ref_layers": as_file(meta(adapters.ref_layers(48, 4)))},
        "ref_layers",
        "weights for a model of width 48",
        "width 96, as the file in ip_layers has it",
        "Use files",
    ),
    Row(
        lambda: changed(
            selected(STAND_IN),
            "stand_in",
            blocks__0__self_attn__q_loras__down__weight=torch.zeros(8, 96, dtype=torch.int8),
        ),
        "stand_in",
        "weights of type int8: blocks.0.self_attn.q_loras.down.weight",
        "floating-point weights (fp32, fp16, bf16 or fp8)",
        "Use a file that is not quantised",
    ),
]

CHOICES = [
    Row(dict, "ip_layers", "no file in any input", "a file in one of ip_layers, ref_layers, stand_in", "Pick at least"),
    Row(
        lambda: {"ip_layers": selected(LITE)["ip_layers"]},
        "resampler",
        "none",
        "the resampler that belongs to the file in ip_layers",
        "Pick it here",
    ),
    Row(
        lambda: {"resampler": selected(LITE)["resampler"]},
        "ip_layers",
        "none beside a resampler",
        "the IP layers that the resampler belongs to",
        "Pick them",
    ),
    Row(
        lambda: selected(STAND_IN) | {"resampler": selected(LITE)["resampler"]},
        "ip_layers",
        "none beside a resampler",
        "the IP layers that the resampler belongs to",
        "Pick them",
    ),
    Row(
        lambda: said(
            said(selected(LITE), "ip_layers", wancast_space_sha256="ab" * 32),
            "resampler",
            wancast_space_sha256="cd" * 32,
        ),
        "resampler",
        "a file for the recogniser with SHA-256 cdcdcdcdcdcd",
        "abababababab, as the file in ip_layers has it",
        "Use files that were trained together.",
    ),
]

ROWS = [*WRONG_SLOTS, *MISTAKES, *HALF, *KEYS, *MIXED, *SIZES, *CHOICES]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.slot}: {row.found[:60]}")
def test_files_that_do_not_fit_are_named(row: Row) -> None:
    with pytest.raises(InputError) as caught:
        load(row.make())
    message = str(caught.value)
    start = f"{row.slot}: found {row.found}; wanted {row.wanted}. "
    assert message.startswith(start), message
    assert re.fullmatch(re.escape(row.fix) + r".*", message.removeprefix(start)), message
    assert "\n" not in message
    assert message.endswith(".")
