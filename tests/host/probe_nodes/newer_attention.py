"""The attention calls of newer hosts in this one, when the environment asks for them.

There a Wan block hands q, k and v to attention in boxes that are emptied once, and each attention may choose a backend
of its own. An override still gets tensors and the backend; one with a ``container_function`` gets the boxes instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import comfy.ldm.modules.attention as host
import comfy.ldm.wan.model as wan
import comfy.ldm.wan.model_animate
import comfy.ldm.wan.model_wandancer
import torch
from comfy_api.latest import io
from torch import Tensor

from .probe import Probe

SWITCH = "WANCAST_PROBE_NEWER_ATTENTION"

raw: Callable[..., Tensor] = host.optimized_attention.__wrapped__


class Box:
    """The one slot that attention takes a tensor from."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor

    def take(self) -> Tensor:
        if self.tensor is None:
            raise RuntimeError("this box was emptied before")
        tensor, self.tensor = self.tensor, None
        return tensor


class BlockAttention(torch.nn.Module):
    """What an attention of a block computes with, where it does not leave that to the host."""

    function: Callable[..., Tensor] | None = None


calling: ContextVar[BlockAttention | None] = ContextVar("calling", default=None)  # of the attention that runs now


def attend(
    q: Any, k: Any, v: Any, *args: Any, preferred_attention: BlockAttention | None = None, **call: Any
) -> Tensor:
    """The host's attention, of tensors or of boxes."""
    boxes = (q, k, v)
    options = call.get("transformer_options") or {}
    is_inside = "_inside_attn_wrapper" in call
    override = None if is_inside else options.get("optimized_attention_override")
    call = {**call, "_inside_attn_wrapper": True}
    if isinstance(q, Box) and hasattr(override, "container_function"):
        return override.container_function(*boxes, *args, **call)
    tensors = [box.take() if isinstance(box, Box) else box for box in boxes]
    if override is not None:
        return override(raw, *tensors, *args, **call)
    chosen = None if is_inside or preferred_attention is None else preferred_attention.function
    return (chosen or raw)(*tensors, *args, **call)


def attend_in_block(q: Tensor, k: Tensor, v: Tensor, **call: Any) -> Tensor:
    """An attention call of Wan's own modules: boxed, with the choice of the module that makes it."""
    if (own := calling.get()) is None:
        return attend(q, k, v, **call)
    return attend(Box(q), Box(k), Box(v), preferred_attention=own, **call)


def choosing(kind: type[Any]) -> None:
    """Gives the attentions of a class a choice of their own, and their calls the boxes."""
    make, forward = kind.__init__, kind.forward

    def init(self: Any, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        self.comfy_attention = BlockAttention()

    def forward_with_choice(self: Any, *args: Any, **named: Any) -> Tensor:
        token = calling.set(self.comfy_attention)
        try:
            return forward(self, *args, **named)
        finally:
            calling.reset(token)

    kind.__init__, kind.forward = init, forward_with_choice


def install_if_asked() -> None:
    if os.environ.get(SWITCH) != "1":
        return
    for kind in (wan.WanSelfAttention, wan.WanT2VCrossAttention, wan.WanI2VCrossAttention):
        choosing(kind)
    wan.optimized_attention = attend_in_block
    for module in (host, comfy.ldm.wan.model_animate, comfy.ldm.wan.model_wandancer):
        module.optimized_attention = attend


class WanCastProbeChosenAttention(Probe):
    """A model whose attentions compute with a backend of their own, on a host that lets them; else the same model."""

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        model = model.clone()
        for name, module in model.get_model_object("diffusion_model").named_modules():
            if isinstance(module, BlockAttention):
                chosen = BlockAttention()
                chosen.function = lambda q, *args, **named: attend(0.8 * q, *args, **named)
                model.add_object_patch(f"diffusion_model.{name}", chosen)
        return io.NodeOutput(model)
