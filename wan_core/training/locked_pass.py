"""An expert's forward pass with a person in each row of a batch, by the injection that ID Lock uses.

The expert is frozen; gradients go through it into the keys and values of the identities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..adapters.adapter import AdapterNetwork
from ..adapters.calls import CallOrder
from ..adapters.inject import BLOCK_END, OVERRIDE, PassOverride
from ..adapters.kv_cache import KeysValues
from ..adapters.lock import ActiveLock
from ..adapters.lynx import normed_keys_values, unnormed_keys_values
from ..adapters.passes import LockedRun, Options, RunFacts, video_tokens
from ..adapters.wan import WanNetwork
from ..moe.noise_level import TIMESTEPS

NODE = "training"  # whose name stands in the errors of a pass

BlockCall = dict[str, Any]  # what the host hands to a replacement of a block: img, txt, vec, pe, transformer_options


@dataclass(frozen=True, slots=True, eq=False)
class FrozenExpert:
    """A Wan model as a training runs it."""

    wan: Any = field(repr=False)  # a WanNetwork that is called as the host calls it
    dtype: torch.dtype  # of what goes in
    options_for: Callable[[Tensor], Options] = field(default=lambda text: {}, repr=False)  # of a pass over texts b n d
    has_checkpoints: bool = False  # computes each block again for its gradients instead of keeping what is in it


def locked_velocity(
    expert: FrozenExpert, adapter: AdapterNetwork, embeddings: Tensor, x: Tensor, sigma: Tensor, text: Tensor
) -> Tensor:
    """The velocity b c t h w in fp32 at noise levels b, with the person of each row's vectors b m 512 in it.

    ``x``: latents with what the expert sees beside them, b c+e t h w; ``text``: b n d.
    """
    x, text = x.to(expert.dtype), text.to(expert.dtype)
    keys_values = identity_keys_values(adapter, embeddings, expert.wan, x)
    options = _with_identities(expert, keys_values, x, text)
    return expert.wan(x, sigma * TIMESTEPS, text, None, None, options).float()


def identity_keys_values(adapter: AdapterNetwork, embeddings: Tensor, wan: WanNetwork, like: Tensor) -> KeysValues:
    """Keys and values of each row's identity, b n d; in fp32 as in use, whatever else is computed in."""
    ip, resampler = adapter.ip, adapter.resampler
    assert ip is not None and resampler is not None
    with torch.autocast(like.device.type, enabled=False):  # noqa: TID251 - a training decides on precision
        unnormed = unnormed_keys_values(ip, resampler, embeddings.float())
        return normed_keys_values(unnormed, wan, like, is_normed_by_model=ip.is_full)


def _with_identities(expert: FrozenExpert, keys_values: KeysValues, x: Tensor, text: Tensor) -> Options:
    """The options of one pass in which row i of the batch has identity i."""
    wan, rows = expert.wan, len(x)
    active = ActiveLock(
        strength=1.0,
        ref_strength=0.0,
        blocks=frozenset(keys_values),
        sources=tuple(range(rows)),
        rows=frozenset(),
        token_weights=None,
        ip=keys_values,
        ref={},
        stand_in={},
    )
    frames, height, width = x.shape[2:]
    shape = (frames, height, width)
    facts = RunFacts(frozenset(), weights_key=lambda: None, sigma_of=lambda u: u, latent_shape=shape)
    options = expert.options_for(text)
    video = video_tokens(wan, x, {}, options)

    def override() -> PassOverride:
        order = CallOrder(text_tokens=text.shape[1])
        earlier = options.get(OVERRIDE)
        return PassOverride(wan, (active,), order, video, None, earlier=earlier, run=LockedRun(facts), node=NODE)

    if expert.has_checkpoints:
        replaced = {("double_block", n): _checkpointed(n, block, override) for n, block in enumerate(wan.blocks)}
        return {**options, "patches_replace": {"dit": replaced}}
    whole = override()
    return {**options, "patches": {BLOCK_END: [whole.order.end_block]}, OVERRIDE: whole}


def _checkpointed(
    index: int, block: Callable[..., Tensor], override: Callable[[], PassOverride]
) -> Callable[[BlockCall, object], dict[str, Tensor]]:
    """A block that runs once more for its gradients: each time with an override of its own, which knows one pass.

    The host's own closure is late: by the time of the second pass it runs the last block.
    """

    def run_block(call: BlockCall, _: object) -> dict[str, Tensor]:
        def run(img: Tensor) -> Tensor:
            options = {**call["transformer_options"], "block_index": index, OVERRIDE: override()}
            given = {"context": call["txt"], "e": call["vec"], "freqs": call["pe"]}
            return block(img, **given, transformer_options=options)

        return {"img": checkpoint(run, call["img"], use_reentrant=False, preserve_rng_state=False)}

    return run_block
