"""Every file that does not fit is refused in one line: which input, what was found, what is wanted, what to do."""

from __future__ import annotations

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

Row = tuple[Selected, str]  # files, and how the message begins

ONE = torch.zeros(1)
IP, RESAMPLER, REF_LAYERS = "IP layers of Lynx", "a resampler of Lynx", "reference layers of Lynx full"
NOUNS = {"ip_layers": IP, "resampler": RESAMPLER, "ref_layers": REF_LAYERS, "stand_in": "Stand-In weights"}
KEYS_OF = {
    "ip_layers": f"only keys of {IP} (<n>.* or blocks.<n>.cross_attn.ip_adapter.*)",
    "resampler": f"only keys of {RESAMPLER}",
    "ref_layers": f"only keys of {REF_LAYERS} (<n>.* or blocks.<n>.self_attn.ref_adapter.*)",
    "stand_in": "only keys of Stand-In weights (blocks.<n>.self_attn.*)",
}
LITE_FILES, FULL_FILES, REF_FILES, STAND_IN_FILES = map(selected, (LITE, FULL, REF, STAND_IN))
GOOD = LITE_FILES | REF_FILES | STAND_IN_FILES
LITE_LAYERS, LITE_RESAMPLER, STAND_IN_WEIGHTS = (GOOD[s].state_dict for s in ("ip_layers", "resampler", "stand_in"))
OURS = {"format_version": "1"}


def one(slot: str, state_dict: StateDict, metadata: dict[str, str] | None = None) -> Selected:
    """One file in one input."""
    return {slot: AdapterFile("x.safetensors", state_dict, metadata or {})}


def spoilt(files: Selected, slot: str, *without: str, **added: Any) -> Selected:
    """Good files with keys of one of them gone, or others put in."""
    return changed(files, slot, without=without, **added)


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
        (one(slot, file.state_dict), f"{slot}: found {NOUNS[own]}; wanted {NOUNS[slot]}. Pick this file in {own}.")
        for slot in NOUNS
        for own, file in GOOD.items()
        if slot != own
    ),
    (
        one("ip_layers", LITE_RESAMPLER, OURS),
        f"ip_layers: found {RESAMPLER}; wanted {IP}. Pick this file in resampler.",
    ),
    *((one("stand_in", lora), f"stand_in: found a LoRA; wanted Stand-In weights. {LORA_FIX}") for lora in LORAS),
    *(
        (one(slot, model), f"{slot}: found a whole diffusion model; wanted {NOUNS[slot]}. {MODEL_FIX}")
        for slot, model in MODELS
    ),
    *((one(slot, {}), f"{slot}: found an empty file; wanted {wanted}. Pick ") for slot, wanted in KEYS_OF.items()),
]

# Keys

FIRST = "blocks.2.cross_attn.ip_adapter.to_k_ip.weight"
WITHOUT_BLOCK_1 = {key: tensor for key, tensor in STAND_IN_WEIGHTS.items() if "blocks.1." not in key}
FAR_BLOCK = {"blocks.999.self_attn.q_loras.down.weight": torch.zeros(8, 96)}
REGISTERS = [f"{number}.registers" for number in range(4)]
AND_WITHOUT = "blocks.{}.self_attn.* and without blocks.{}.self_attn.*"
HALF: list[Row] = [
    (files, f"{slot}: found a file {keys}; wanted a complete file. Copy or download it again.")
    for files, slot, keys in (
        (spoilt(LITE_FILES, "ip_layers", "1.to_v_ip.weight"), "ip_layers", "without '1.to_v_ip.weight'"),
        (spoilt(FULL_FILES, "ip_layers", "3.registers"), "ip_layers", "without '3.registers'"),
        (spoilt(FULL_FILES, "ip_layers", "0.to_k_ip.bias"), "ip_layers", "without '0.to_k_ip.bias'"),
        (spoilt(REF_FILES, "ref_layers", "1.to_k_ref.bias"), "ref_layers", "without '1.to_k_ref.bias'"),
        (spoilt(LITE_FILES, "resampler", "layers.0.0.norm1.bias"), "resampler", "without 'layers.0.0.norm1.bias'"),
        (spoilt(selected(LITE, by_block), "ip_layers", FIRST), "ip_layers", f"without '{FIRST}'"),
        (one("stand_in", WITHOUT_BLOCK_1), "stand_in", f"with {AND_WITHOUT.format(2, 1)}"),
        (spoilt(STAND_IN_FILES, "stand_in", **FAR_BLOCK), "stand_in", f"with {AND_WITHOUT.format(999, 4)}"),
        (
            spoilt(LITE_FILES, "ip_layers", "0.to_k_ip.weight", "1.to_k_ip.weight"),
            "ip_layers",
            "without a usable 0.to_k_ip.weight",
        ),
        (
            spoilt(FULL_FILES, "ip_layers", *(f"{n}.registers" for n in range(4))),
            "ip_layers",
            "without a usable 0.registers",
        ),
        (spoilt(LITE_FILES, "resampler", "latents"), "resampler", "without a usable latents"),
        (spoilt(LITE_FILES, "resampler", latents=ONE), "resampler", "without a usable latents"),
    )
]
UNKNOWN: list[Row] = [
    (files, f"{slot}: found unknown keys: {keys}; wanted {KEYS_OF[slot]}. Pick ")
    for files, slot, keys in (
        *((one(slot, {"weight": ONE, "bias": ONE}), slot, "'bias', 'weight'") for slot in KEYS_OF),
        (spoilt(LITE_FILES, "ip_layers", extra=ONE, mask=ONE), "ip_layers", "'extra', 'mask'"),
        *(
            (spoilt(files, slot, **{key: ONE}), slot, repr(key))
            for files, slot, key in (
                (LITE_FILES, "resampler", "pos_emb.weight"),
                (LITE_FILES, "ip_layers", "\n\ud800\u202e"),
                (LITE_FILES, "ip_layers", "\u0661.to_k_ip.weight"),
                (LITE_FILES, "resampler", "layers.999999999.1.1.weight"),
                (STAND_IN_FILES, "stand_in", "blocks.1.self_attn.q_loras.alpha_in"),
                (STAND_IN_FILES, "stand_in", "scaled_fp8"),
                (FULL_FILES, "ip_layers", "01.to_k_ip.weight"),
                (FULL_FILES, "ip_layers", "99999999.to_k_ip.weight"),
                (LITE_FILES, "ip_layers", "blocks.0.cross_attn.ip_adapter.to_k_ip.weight"),
                (REF_FILES, "ref_layers", "diffusion_model.0.to_k_ref.weight"),
            )
        ),
    )
]
MIXED: list[Row] = [
    (
        one(slot, both, metadata),
        f"{slot}: found {found} in one file; wanted {NOUNS[slot]} alone. Use the separate files",
    )
    for slot, both, metadata, found in (
        ("ip_layers", LITE_LAYERS | LITE_RESAMPLER, {}, f"{IP} and {RESAMPLER}"),
        ("ref_layers", weights(adapters.full_ip_layers) | weights(adapters.ref_layers), {}, f"{IP} and {REF_LAYERS}"),
        ("ip_layers", LITE_LAYERS | STAND_IN_WEIGHTS, OURS, f"{IP} and Stand-In weights"),
        ("resampler", LITE_LAYERS | LITE_RESAMPLER, OURS, f"{IP} and {RESAMPLER}"),
    )
]

# Sizes

UP, INT8 = "blocks.2.self_attn.k_loras.up.weight", torch.zeros(8, 96, dtype=torch.int8)
SHAPES: list[Row] = [
    (
        spoilt(files, slot, **{key: torch.zeros(shape)}),
        f"{slot}: found {key} of shape {found}; wanted {wanted}, as the rest of the file has it. Copy or download it",
    )
    for files, slot, key, shape, found, wanted in (
        (LITE_FILES, "ip_layers", "1.to_v_ip.weight", (48, 80), "48 x 80", "96 x 80"),
        (LITE_FILES, "ip_layers", "1.to_v_ip.weight", (), "a single number", "96 x 80"),
        (FULL_FILES, "ip_layers", "2.registers", (1, 8, 80), "1 x 8 x 80", "1 x 8 x 96"),
        (REF_FILES, "ref_layers", "0.to_k_ref.weight", (96, 80), "96 x 80", "96 x 96"),
        (LITE_FILES, "resampler", "proj_out.bias", (1,), "1", "80"),
        (STAND_IN_FILES, "stand_in", UP, (96, 16), "96 x 16", "96 x 8"),
    )
]
WIDTHS: list[Row] = [
    (
        files | one(slot, meta(table)),
        f"{slot}: found weights for a model of width {found}; wanted width {wanted}, as the file in {first} has it.",
    )
    for files, slot, table, found, wanted, first in (
        (LITE_FILES, "stand_in", adapters.stand_in(1536, 4), 1536, 96, "ip_layers"),
        (FULL_FILES, "ref_layers", adapters.ref_layers(48, 4), 48, 96, "ip_layers"),
        (
            one("ref_layers", meta(adapters.ref_layers(512, 4))),
            "stand_in",
            adapters.stand_in(48, 4),
            48,
            512,
            "ref_layers",
        ),
    )
]
SIZES: list[Row] = [
    *SHAPES,
    *WIDTHS,
    (
        spoilt(LITE_FILES, "resampler", layers__0__0__to_q__weight=torch.zeros(65, 64)),
        "resampler: found attention of width 65; wanted a multiple of 64. Pick the resampler",
    ),
    (
        spoilt(LITE_FILES, "resampler", proj_in__weight=torch.zeros(64, 256)),
        "resampler: found a resampler for embeddings of 256 numbers; wanted one for face embeddings of 512. Pick the",
    ),
    (
        LITE_FILES | {"resampler": FULL_FILES["resampler"]},
        "resampler: found tokens of 96 numbers; wanted 80, as the IP layers take them. Pick the resampler that belongs",
    ),
    (
        spoilt(STAND_IN_FILES, "stand_in", blocks__0__self_attn__q_loras__down__weight=INT8),
        "stand_in: found weights of type int8: 'blocks.0.self_attn.q_loras.down.weight'; wanted floating-point weights "
        "(fp32, fp16, bf16 or fp8). Use a file that is not quantised",
    ),
    (
        spoilt(STAND_IN_FILES, "stand_in", blocks__0__self_attn__q_loras__down__weight=torch.full((8, 96), 1e38)),
        "stand_in: found weights beyond 65504: 'blocks.0.self_attn.q_loras.down.weight'; wanted weights that fp16 can "
        "hold. Copy",
    ),
]

# Files together

SPACES = said(
    said(LITE_FILES, "ip_layers", wancast_space_sha256="ab" * 32), "resampler", wancast_space_sha256="cd" * 32
)
CHOICES: list[Row] = [
    (
        {},
        "ip_layers: found no file in any input; wanted a file in one of ip_layers, ref_layers, stand_in. Pick at least",
    ),
    (
        {"ip_layers": LITE_FILES["ip_layers"]},
        "resampler: found none; wanted the resampler that belongs to the file in ip_layers. Pick it here",
    ),
    *(
        (
            beside | {"resampler": LITE_FILES["resampler"]},
            "ip_layers: found none beside a resampler; wanted the IP layers that the resampler belongs to. Pick them",
        )
        for beside in ({}, STAND_IN_FILES)
    ),
    (
        LITE_FILES | one("ip_layers", LITE_LAYERS | LITE_RESAMPLER, OURS),
        "resampler: found a resampler beside the one that the file in ip_layers holds; wanted one resampler. Set resam",
    ),
    (
        SPACES,
        "resampler: found a file for the recogniser with SHA-256 'cdcdcdcdcdcd'; wanted 'abababababab', as the file in "
        "ip_layers has it. Use files that were trained together.",
    ),
    *(
        (
            said(LITE_FILES, "ip_layers", format_version=version),
            f"ip_layers: found a file of format_version {version!r}; wanted '1'. Update WanCast",
        )
        for version in ("2", "1.0", "", "draft")
    ),
]

ROWS = [*WRONG, *HALF, *UNKNOWN, *MIXED, *SIZES, *CHOICES]


@pytest.mark.parametrize(("files", "start"), ROWS, ids=[start[:60] for _, start in ROWS])
def test_files_that_do_not_fit_are_named(files: Selected, start: str) -> None:
    with pytest.raises(InputError) as caught:
        load(files)
    message = str(caught.value)
    assert message.startswith(start), message
    assert "\n" not in message
    assert message.endswith(".")
