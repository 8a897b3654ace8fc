"""Adapter files: which kind one is, and every size from its shapes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..weights import Operations, StateDict, difference, shown
from .lynx import LynxAdapter, LynxLite, LynxShape
from .resampler import HEAD_D, ResamplerShape

IP_LAYERS = "ip_layers"
RESAMPLER = "resampler"
HOST_PREFIX = "diffusion_model."
OFFICIAL_KEY = re.compile(r"(?P<index>\d+)\.(?P<layer>to_[kv]_ip)\.weight")  # n-th adapter, on block 2n
BLOCK_KEY = re.compile(r"blocks\.(?P<index>\d+)\.cross_attn\.ip_adapter\.(?P<layer>to_[kv]_ip)\.weight")
OFFICIAL_BLOCK_STEP = 2
FACE_D = 512  # numbers in a face embedding
SPACE_KEY = "wancast_space_sha256"  # in a resampler file's metadata: hash of the recogniser that it was trained with

# The weights that the resampler's sizes are read from, and their number of axes.
DERIVED_FROM = {
    "latents": 3,
    "proj_in.weight": 2,
    "layers.0.0.to_q.weight": 2,
    "layers.0.1.1.weight": 2,
    "proj_out.weight": 2,
}

# What tells a known file of another kind, in this order.
OTHER_KINDS = {
    "Stand-In weights": re.compile(r"[qkv]_loras\."),
    "the reference layers of Lynx full": re.compile(r"to_[kv]_ref\."),
    "the IP layers of Lynx full": re.compile(r"registers|to_[kv]_ip\.bias"),
}


def load_lynx_lite(
    ip_layers: StateDict,
    resampler: StateDict,
    *,
    metadata: dict[str, str],
    ip_layers_name: str,
    resampler_name: str,
    operations: Operations,
    make_patcher: Callable[[nn.Module], Any],
) -> LynxAdapter:
    """Builds a Lynx-lite adapter from its two files and the resampler's ``metadata``.

    ``make_patcher`` gives the host's way to load the network. Raises InputError naming what does not fit.
    """
    layers = _ip_weights(_without_prefix(ip_layers))
    perceiver = _resampler_weights(_without_prefix(resampler))
    shape = _derive_shape(layers, perceiver)
    weights = {f"ip_layers.{block}.{layer}.weight": tensor for (block, layer), tensor in layers.items()}
    weights |= {f"resampler.{key}": tensor for key, tensor in perceiver.items()}
    if problem := difference(weights, LynxLite(shape, operations=nn, device="meta").state_dict()):
        raise _unusable(RESAMPLER, f"a file {problem}", "the resampler of Lynx-lite", "Copy or download it again.")
    network = LynxLite(shape, operations=operations, device="meta")
    network.load_state_dict(weights, assign=True)
    network.eval().requires_grad_(False)
    return LynxAdapter(
        network=network,
        patcher=make_patcher(network),
        shape=shape,
        ip_layers_name=ip_layers_name,
        resampler_name=resampler_name,
        space_sha256=metadata.get(SPACE_KEY),
    )


# IP layers


def _ip_weights(state_dict: StateDict) -> dict[tuple[int, str], Tensor]:
    """The layers by (block, "to_k_ip" or "to_v_ip"), from the official key layout or from the one by block."""
    _refuse_other_kinds(IP_LAYERS, state_dict)
    if _is_resampler(state_dict):
        raise _unusable(IP_LAYERS, "the resampler", "the IP layers of Lynx-lite", "Swap the two files.")
    official = {key: match for key in state_dict if (match := OFFICIAL_KEY.fullmatch(key))}
    by_block = {key: match for key in state_dict if (match := BLOCK_KEY.fullmatch(key))}
    matches = official or by_block
    unknown = sorted(state_dict.keys() - matches.keys())
    if unknown or not matches:
        raise _unusable(
            IP_LAYERS,
            f"unknown keys: {shown(unknown)}" if unknown else "an empty file",
            "only <n>.to_k_ip.weight and <n>.to_v_ip.weight (or blocks.<n>.cross_attn.ip_adapter. in front of them)",
            "Pick the IP layers of Lynx-lite.",
        )
    step = OFFICIAL_BLOCK_STEP if official else 1
    layers = {(int(match["index"]) * step, match["layer"]): state_dict[key] for key, match in matches.items()}
    _require_complete(layers, consecutive_step=step if official else 0)
    return layers


def _require_complete(layers: dict[tuple[int, str], Tensor], *, consecutive_step: int) -> None:
    """Every block has both layers; with a step, no block between the first and the last is missing."""
    blocks = {block for block, _ in layers}
    if consecutive_step:
        blocks = set(range(0, max(blocks) + 1, consecutive_step))
    wanted = [(block, layer) for block in sorted(blocks) for layer in ("to_k_ip", "to_v_ip")]
    lacking = [f"{layer} of block {block}" for block, layer in wanted if (block, layer) not in layers]
    if lacking:
        raise _unusable(IP_LAYERS, f"a file without {shown(lacking)}", "a complete file", "Copy or download it again.")
    shapes = sorted({tuple(tensor.shape) for tensor in layers.values()})
    if len(shapes) > 1 or len(shapes[0]) != 2:
        raise _unusable(
            IP_LAYERS, f"layers of shapes {shapes}", "one matrix shape for all", "Pick the IP layers of Lynx-lite."
        )


# Resampler


def _resampler_weights(state_dict: StateDict) -> StateDict:
    _refuse_other_kinds(RESAMPLER, state_dict)
    if any(OFFICIAL_KEY.fullmatch(key) or BLOCK_KEY.fullmatch(key) for key in state_dict):
        raise _unusable(RESAMPLER, "IP layers", "the resampler of Lynx-lite", "Swap the two files.")
    if not _is_resampler(state_dict):
        wanted = [key for key in ("latents", "proj_in.weight", "norm_out.weight") if key not in state_dict]
        raise _unusable(
            RESAMPLER,
            f"a file without {', '.join(wanted)} (it has {shown(sorted(state_dict))})",
            "the resampler of Lynx-lite",
            "Pick that file.",
        )
    return state_dict


def _is_resampler(state_dict: StateDict) -> bool:
    return {"latents", "proj_in.weight", "norm_out.weight"} <= state_dict.keys()


# Shapes


def _derive_shape(layers: dict[tuple[int, str], Tensor], perceiver: StateDict) -> LynxShape:
    width_d, token_d = next(iter(layers.values())).shape
    resampler = _derive_resampler(perceiver)
    if resampler.token_d != token_d:
        raise _unusable(
            RESAMPLER,
            f"tokens of {resampler.token_d} numbers",
            f"{token_d}, as the IP layers take them",
            "Pick the resampler that belongs to the IP layers.",
        )
    if resampler.embedding_d != FACE_D:
        raise _unusable(
            RESAMPLER, f"embeddings of {resampler.embedding_d} numbers", f"{FACE_D}", "Pick the resampler of Lynx-lite."
        )
    return LynxShape(width_d=width_d, blocks=tuple(sorted({block for block, _ in layers})), resampler=resampler)


def _derive_resampler(state_dict: StateDict) -> ResamplerShape:
    lacking = [key for key, rank in DERIVED_FROM.items() if key not in state_dict or state_dict[key].ndim != rank]
    if lacking:
        raise _unusable(
            RESAMPLER, f"a file without a usable {shown(lacking)}", "a complete file", "Copy or download it again."
        )
    inner_d = state_dict["layers.0.0.to_q.weight"].shape[0]
    if inner_d % HEAD_D:
        raise _unusable(
            RESAMPLER, f"attention of width {inner_d}", f"a multiple of {HEAD_D}", "Pick the resampler of Lynx-lite."
        )
    _, tokens, width_d = state_dict["latents"].shape
    depths = (re.match(r"layers\.(\d+)\.", key) for key in state_dict)
    return ResamplerShape(
        width_d=width_d,
        depth=1 + max(int(match[1]) for match in depths if match),
        inner_d=inner_d,
        feed_forward_d=state_dict["layers.0.1.1.weight"].shape[0],
        tokens=tokens,
        embedding_d=state_dict["proj_in.weight"].shape[1],
        token_d=state_dict["proj_out.weight"].shape[0],
    )


# Messages


def _without_prefix(state_dict: StateDict) -> StateDict:
    return {key.removeprefix(HOST_PREFIX): tensor for key, tensor in state_dict.items()}


def _refuse_other_kinds(name: str, state_dict: StateDict) -> None:
    for kind, pattern in OTHER_KINDS.items():
        if any(pattern.search(key) for key in state_dict):
            raise _unusable(name, kind, f"the {name} file of Lynx-lite", "Pick the files of Lynx-lite.")


def _unusable(name: str, found: str, wanted: str, fix: str) -> InputError:
    return InputError(name, found=found, wanted=wanted, fix=fix)
