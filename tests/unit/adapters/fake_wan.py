"""A small stand-in for the host's Wan model: blocks that call one attention function in Wan's order."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

WIDTH_D, HEADS, BLOCKS, TEXT_TOKENS, VIDEO_TOKENS = 12, 3, 4, 7, 7  # as many video as text tokens, on purpose

Options = dict[str, Any]
Attention = Callable[..., Tensor]
AddedTerm = Callable[[int, Tensor], Tensor]  # (block, query) -> what the oracle adds to a text attention


def raw_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None, **_: Any) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + mask
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def attention(
    q: Tensor, k: Tensor, v: Tensor, *, options: Options, chosen: Attention | None = None, **call: Any
) -> Tensor:
    """As the host does it: an override in the options takes the raw function first, and knows nothing of a choice."""
    if "optimized_attention_override" in options:
        override = options["optimized_attention_override"]
        return override(raw_attention, q, k, v, heads=HEADS, transformer_options=options, **call)
    return (chosen or raw_attention)(q, k, v, heads=HEADS, **call)


def times(factor: float) -> Attention:
    """Attention by another backend, which can be told from the host's."""
    return lambda *args, **call: factor * raw_attention(*args, **call)


class FakeWan(nn.Module):
    """Blocks of self- and text cross-attention over video tokens, given and taken as b d t 1 1.

    Two ``text_calls`` as NAG does; ``vace`` attends after each block; with ``picture_reads_text`` the attention for a
    CLIP picture that is not there reads the text before the one for the text does.

    With ``own_self_attention`` the override never sees self-attention, as when a pack for sparse attention is there.
    The blocks that are ``replayed`` attend without anybody's knowledge; with ``choosing`` the attentions of each block
    compute with functions of their own, as they may on newer hosts.
    """

    def __init__(
        self,
        *,
        text_calls: int = 1,
        image_tokens: int = 0,
        video_tokens: int = VIDEO_TOKENS,
        replayed: tuple[int, ...] = (),
        **has: bool,
    ) -> None:
        super().__init__()
        self.patch_size, self.ref_conv, self.replayed = (1, 1, 1), None, replayed
        own, cross = (
            SimpleNamespace(comfy_attention=SimpleNamespace(function=function if "choosing" in has else None))
            for function in (times(1.2), times(0.7))
        )
        self.blocks = [SimpleNamespace(self_attn=own, cross_attn=cross)] * BLOCKS
        draw = torch.Generator().manual_seed(0)
        self.text_calls, self.image_tokens, self.video_tokens, self.has = text_calls, image_tokens, video_tokens, has
        self.img_emb = object() if {"picture_reads_text", "dancer"} & has.keys() else None
        if "dancer" in has:  # it reads pictures, but not the text in place of one that is not there
            self.img_emb_refimage = object()
        self.mask = torch.randn(VIDEO_TOKENS, TEXT_TOKENS, generator=draw) if "text_mask" in has else None
        self.weights = torch.randn(BLOCKS, 6, WIDTH_D, WIDTH_D, generator=draw) * 0.15
        self.image = torch.randn(1, image_tokens, WIDTH_D, generator=draw)

    @property
    def class_obj(self) -> FakeWan:
        """What the host's executor of wrappers has beside its call."""
        return self

    def forward(self, x: Tensor, t: Tensor, context: Tensor, *rest: Any, added: AddedTerm | None = None) -> Tensor:
        (_, _, transformer_options), shape = rest, x.shape
        x = x.flatten(2).transpose(1, 2)  # b n d
        every_option = transformer_options
        for index, (wq, wk, wv, cq, ck, cv) in enumerate(self.weights):
            every_option["block_index"] = index
            transformer_options = {} if index in self.replayed else every_option
            own, cross = (
                {"options": transformer_options, "chosen": part.comfy_attention.function}
                for part in (self.blocks[index].self_attn, self.blocks[index].cross_attn)
            )
            heard_by = {"options": {}} if self.has.get("own_self_attention") else {}
            x = x + attention(x @ wq, x @ wk, x @ wv, **own | heard_by)
            if self.image_tokens:
                image = self.image.expand(len(x), -1, -1)
                x = x + attention(x @ cq, image @ ck, image @ cv, **cross)
            if "picture_reads_text" in self.has:
                x = x + attention(x @ cq, context @ cv, context @ ck, **cross)
            x = x + self.text(index, x @ cq, context @ ck, context @ cv, cross, added)
            transformer_options = every_option
            for patch in transformer_options.get("patches", {}).get("double_block", []):
                x = patch({"img": x, "block_index": index})["img"]
            if "vace" in self.has:
                x = x + attention(x @ wk, x @ wq, x @ wv, options=transformer_options)
                x = x + attention(x @ ck, context @ cq, context @ cv, options=transformer_options)
        return x.transpose(1, 2).reshape(shape)

    def text(self, index: int, q: Tensor, k: Tensor, v: Tensor, call: Options, added: AddedTerm | None) -> Tensor:
        heard = torch.zeros_like(q)
        masked = {} if self.mask is None else {"mask": self.mask}
        for number in range(self.text_calls):
            one = attention(q, k * (1 - number), v, **call, **masked)
            if added is not None:
                one = one + added(index, q)
            heard = heard + one * (1.5 if number == 0 else -0.5)
        return heard
