"""Every file that does not fit is refused in one line: which input, what was found, what is wanted, what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from demo.miniature import adapters
from tests.unit.adapters.adapter_files import (
    FULL,
    LITE,
    REF,
    STAND_IN,
    Selected,
    StateDict,
    by_block,
    changed,
    load,
    meta,
    prefixed,
    said,
    selected,
    weights,
)
from wan_core.adapters import AdapterFile
from wan_core.errors import InputError

Row = tuple[Callable[[], Selected], str, str, str, str]  # files, input, what is found, wanted, and the fix's beginning

ONE = torch.zeros(1)
IP, RESAMPLER, REF_LAYERS = "IP layers of Lynx", "a resampler of Lynx", "reference layers of Lynx full"
NOUNS = {"ip_layers": IP, "resampler": RESAMPLER, "ref_layers": REF_LAYERS, "stand_in": "Stand-In weights"}
KEYS_OF = {
    "ip_layers": f"only keys of {IP} (<n>.* or blocks.<n>.cross_attn.ip_adapter.*)",
    "resampler": f"only keys of {RESAMPLER}",
    "ref_layers": f"only keys of {REF_LAYERS} (<n>.* or blocks.<n>.self_attn.ref_adapter.*)",
    "stand_in": "only keys of Stand-In weights (blocks.<n>.self_attn.*)",
}
TABLES = LITE | REF | STAND_IN
LITE_LAYERS, FULL_LAYERS, LITE_RESAMPLER, STAND_IN_WEIGHTS = (
    weights(table)
    for table in (adapters.lite_ip_layers, adapters.full_ip_layers, adapters.resampler, adapters.stand_in)
)


def one(slot: str, state_dict: StateDict, **metadata: str) -> Callable[[], Selected]:
    """One file in one input."""
    return lambda: {slot: AdapterFile("x.safetensors", state_dict, metadata)}


def spoilt(tables: dict[str, Any], slot: str, *without: str, **added: Any) -> Callable[[], Selected]:
    """Good files with keys of one of them gone, or others put in."""
    return lambda: changed(selected(tables), slot, without=without, **added)


# The wrong file

LORA = {"blocks.0.self_attn.q.lora_A.weight": ONE, "blocks.0.self_attn.q.lora_B.weight": ONE}
LORAS = (
    LORA,
    prefixed(LORA),
    {"lora_unet_blocks_0_self_attn_q.lora_down.weight": ONE, "lora_unet_blocks_0_self_attn_q.alpha": ONE},
    {"diffusion_model.blocks.0.self_attn.q.diff_b": ONE},
)
MODEL = {"patch_embedding.weight": ONE, "blocks.0.self_attn.q.weight": ONE, "head.head.weight": ONE}
MODELS = (
    ("ip_layers", MODEL),
    ("ip_layers", prefixed(MODEL)),
    ("ip_layers", {f"model.diffusion_model.{key}": value for key, value in MODEL.items()}),
    ("stand_in", STAND_IN_WEIGHTS | MODEL),
)
LORA_FIX, MODEL_FIX = "Load it with LoraLoaderModelOnly.", "Load it with Load Diffusion Model."
WRONG: list[Row] = [
    *(
        (one(slot, weights(TABLES[other])), slot, NOUNS[other], NOUNS[slot], f"Pick this file in {other}.")
        for slot in TABLES
        for other in TABLES
        if slot != other
    ),
    (one("ip_layers", LITE_RESAMPLER, format_version="1"), "ip_layers", RESAMPLER, IP, "Pick this file in resampler."),
    *((one("stand_in", lora), "stand_in", "a LoRA", "Stand-In weights", LORA_FIX) for lora in LORAS),
    *((one(slot, model), slot, "a whole diffusion model", NOUNS[slot], MODEL_FIX) for slot, model in MODELS),
    *((one(slot, {}), slot, "an empty file", wanted, "Pick ") for slot, wanted in KEYS_OF.items()),
]

# Keys

HALF: list[Row] = [
    (make, slot, f"a file without {keys}", "a complete file", "Copy or download it again.")
    for make, slot, keys in (
        *(
            (spoilt(tables, slot, *keys), slot, ", ".join(keys))
            for tables, slot, keys in (
                (LITE, "ip_layers", ("1.to_v_ip.weight",)),
                (LITE, "ip_layers", ("0.to_k_ip.weight", "0.to_v_ip.weight")),
                (FULL, "ip_layers", ("3.registers",)),
                (FULL, "ip_layers", ("0.to_k_ip.bias", "2.to_v_ip.bias")),
                (REF, "ref_layers", ("1.to_k_ref.bias",)),
                (STAND_IN, "stand_in", ("blocks.3.self_attn.v_loras.up.weight",)),
                (LITE, "resampler", ("layers.0.0.norm1.bias",)),
            )
        ),
        (
            lambda: changed(
                selected(LITE, by_block), "ip_layers", without=("blocks.2.cross_attn.ip_adapter.to_k_ip.weight",)
            ),
            "ip_layers",
            "blocks.2.cross_attn.ip_adapter.to_k_ip.weight",
        ),
        (
            one("stand_in", {key: t for key, t in STAND_IN_WEIGHTS.items() if "blocks.1." not in key}),
            "stand_in",
            ", ".join(f"blocks.1.self_attn.{x}_loras.{y}.weight" for x in "qkv" for y in ("down", "up")),
        ),
        (
            spoilt(STAND_IN, "stand_in", blocks__999__self_attn__q_loras__down__weight=torch.zeros(8, 96)),
            "stand_in",
            ", ".join(f"blocks.4.self_attn.{x}_loras.{y}.weight" for x in "qkv" for y in ("down", "up"))
            + ", blocks.5.self_attn.q_loras.down.weight, blocks.5.self_attn.q_loras.up.weight and 5967 more",
        ),
        (spoilt(LITE, "ip_layers", "0.to_k_ip.weight", "1.to_k_ip.weight"), "ip_layers", "a usable 0.to_k_ip.weight"),
        (spoilt(FULL, "ip_layers", *(f"{n}.registers" for n in range(4))), "ip_layers", "a usable 0.registers"),
        (spoilt(LITE, "resampler", "latents"), "resampler", "a usable latents"),
        (spoilt(LITE, "resampler", latents=ONE), "resampler", "a usable latents"),
    )
]
UNKNOWN: list[Row] = [
    (make, slot, f"unknown keys: {keys}", KEYS_OF[slot], "Pick ")
    for make, slot, keys in (
        *((one(slot, {"weight": ONE, "bias": ONE}), slot, "bias, weight") for slot in KEYS_OF),
        (spoilt(LITE, "ip_layers", extra=ONE, mask=ONE), "ip_layers", "extra, mask"),
        *(
            (spoilt(tables, slot, **{key: ONE}), slot, key)
            for tables, slot, key in (
                (LITE, "resampler", "pos_emb.weight"),
                (LITE, "resampler", "layers.999999999.1.1.weight"),
                (STAND_IN, "stand_in", "blocks.1.self_attn.q_loras.alpha_in"),
                (STAND_IN, "stand_in", "scaled_fp8"),
                (FULL, "ip_layers", "01.to_k_ip.weight"),
                (FULL, "ip_layers", "99999999.to_k_ip.weight"),
                (LITE, "ip_layers", "blocks.0.cross_attn.ip_adapter.to_k_ip.weight"),
                (REF, "ref_layers", "diffusion_model.0.to_k_ref.weight"),
            )
        ),
    )
]
MIXED: list[Row] = [
    (one(slot, both, **metadata), slot, f"{found} in one file", f"{NOUNS[slot]} alone", "Use the separate files")
    for slot, both, metadata, found in (
        ("ip_layers", LITE_LAYERS | LITE_RESAMPLER, {}, f"{IP} and {RESAMPLER}"),
        ("ref_layers", FULL_LAYERS | weights(adapters.ref_layers), {}, f"{IP} and {REF_LAYERS}"),
        ("ip_layers", LITE_LAYERS | STAND_IN_WEIGHTS, {"format_version": "1"}, f"{IP} and Stand-In weights"),
        ("resampler", LITE_LAYERS | LITE_RESAMPLER, {"format_version": "1"}, f"{IP} and {RESAMPLER}"),
    )
]

# Sizes

SHAPES: list[Row] = [
    (spoilt(tables, slot, **{key: torch.zeros(shape)}), slot, f"{key} of shape {found}", wanted, "Copy or download it")
    for tables, slot, key, shape, found, wanted in (
        (LITE, "ip_layers", "1.to_v_ip.weight", (48, 80), "48 x 80", "96 x 80, as the rest of the file has it"),
        (LITE, "ip_layers", "1.to_v_ip.weight", (), "a single number", "96 x 80, as the rest of the file has it"),
        (FULL, "ip_layers", "2.registers", (1, 8, 80), "1 x 8 x 80", "1 x 8 x 96, as the rest of the file has it"),
        (REF, "ref_layers", "0.to_k_ref.weight", (96, 80), "96 x 80", "96 x 96, as the rest of the file has it"),
        (LITE, "resampler", "proj_out.bias", (1,), "1", "80, as the rest of the file has it"),
        (
            STAND_IN,
            "stand_in",
            "blocks.2.self_attn.k_loras.up.weight",
            (96, 16),
            "96 x 16",
            "96 x 8, as the rest of the file has it",
        ),
    )
]
INT8 = {"blocks.0.self_attn.q_loras.down.weight": torch.zeros(8, 96, dtype=torch.int8)}
WIDTHS: list[Row] = [
    (
        lambda first=first, slot=slot, table=table: first() | {slot: AdapterFile("x", meta(table), {})},
        slot,
        f"weights for a model of width {found}",
        wanted,
        "Use files that were made for the same Wan model.",
    )
    for first, slot, table, found, wanted in (
        (
            lambda: selected(LITE),
            "stand_in",
            adapters.stand_in(1536, 4),
            1536,
            "width 96, as the file in ip_layers has it",
        ),
        (
            lambda: selected(FULL),
            "ref_layers",
            adapters.ref_layers(48, 4),
            48,
            "width 96, as the file in ip_layers has it",
        ),
        (
            one("ref_layers", meta(adapters.ref_layers(5120, 4))),
            "stand_in",
            adapters.stand_in(3072, 4),
            3072,
            "width 5120, as the file in ref_layers has it",
        ),
    )
]
SIZES: list[Row] = [
    *SHAPES,
    *WIDTHS,
    (
        spoilt(LITE, "resampler", layers__0__0__to_q__weight=torch.zeros(65, 64)),
        "resampler",
        "attention of width 65",
        "a multiple of 64",
        "Pick the resampler",
    ),
    (
        spoilt(LITE, "resampler", proj_in__weight=torch.zeros(64, 256)),
        "resampler",
        "a resampler for embeddings of 256 numbers",
        "one for face embeddings of 512",
        "Pick the resampler",
    ),
    (
        lambda: selected({"ip_layers": adapters.lite_ip_layers, "resampler": adapters.full_resampler}),
        "resampler",
        "tokens of 96 numbers",
        "80, as the IP layers take them",
        "Pick the resampler that belongs",
    ),
    (
        spoilt(STAND_IN, "stand_in", **INT8),
        "stand_in",
        "weights of type int8: blocks.0.self_attn.q_loras.down.weight",
        "floating-point weights (fp32, fp16, bf16 or fp8)",
        "Use a file that is not quantised",
    ),
]

# Files together

CHOICES: list[Row] = [
    (
        dict,
        "ip_layers",
        "no file in any input",
        "a file in one of ip_layers, ref_layers, stand_in",
        "Pick at least one",
    ),
    (
        lambda: {"ip_layers": selected(LITE)["ip_layers"]},
        "resampler",
        "none",
        "the resampler that belongs to the file in ip_layers",
        "Pick it here",
    ),
    *(
        (
            lambda beside=beside: selected(beside) | {"resampler": selected(LITE)["resampler"]},
            "ip_layers",
            "none beside a resampler",
            "the IP layers that the resampler belongs to",
            "Pick them",
        )
        for beside in ({}, STAND_IN)
    ),
    (
        lambda: selected(LITE) | one("ip_layers", LITE_LAYERS | LITE_RESAMPLER, format_version="1")(),
        "resampler",
        "a resampler beside the one that the file in ip_layers holds",
        "one resampler",
        "Set resampler to none.",
    ),
    (
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
    *(
        (
            lambda version=version: said(selected(LITE), "ip_layers", format_version=version),
            "ip_layers",
            f"a file of format_version {version!r}",
            "'1'",
            "Update WanCast",
        )
        for version in ("2", "1.0", "", "draft")
    ),
]

ROWS = [*WRONG, *HALF, *UNKNOWN, *MIXED, *SIZES, *CHOICES]


@pytest.mark.parametrize(
    ("make", "slot", "found", "wanted", "fix"), ROWS, ids=[f"{slot}: {found[:60]}" for _, slot, found, *_ in ROWS]
)
def test_files_that_do_not_fit_are_named(
    make: Callable[[], Selected], slot: str, found: str, wanted: str, fix: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(make())
    message = str(caught.value)
    assert message.startswith(f"{slot}: found {found}; wanted {wanted}. {fix}"), message
    assert "\n" not in message
    assert message.endswith(".")
