"""Which attention call of a Wan block is which, told from the lengths and the order of the calls.

A call whose keys are as many as the text tokens is a text cross-attention, until the ``double_block`` patch marks the
block's end (blocks of VACE and injected audio attend after it, with the same block index). Self-attention is the first
call of a block with as many keys as queries. Only when the video has as many tokens as the text does the order alone
decide: in each block self-attention comes first. A model that reads CLIP pictures and got none sends the text into that
attention too, before the one that is for the text. All state lives in one forward pass.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from torch import Tensor


class Call(Enum):
    """What an attention call is, as far as an identity is concerned."""

    SELF = "self"
    TEXT = "text"
    OTHER = "other"


class CallOrder:
    """Tells the attention calls of one forward pass apart."""

    def __init__(self, text_tokens: int, *, picture_reads_text: bool = False) -> None:
        self.text_tokens = text_tokens
        self.picture_reads_text = picture_reads_text  # the call for a CLIP picture that is not there gets the text
        self.block: int | None = None
        self.in_block = False
        self.seen_self_attention = False  # in this block
        self.seen_as_long_as_text = False  # in this block: a call with keys as many as the text tokens
        self.text_calls = 0  # in this block
        self.ended: set[int] = set()  # blocks that ran in this pass

    def classify_next(self, q: Tensor, k: Tensor, block: int | None) -> Call:
        """Takes note of the next attention call, and says what it is."""
        if block != self.block:
            self.block, self.in_block = block, block is not None
            self.seen_self_attention = self.seen_as_long_as_text = False
            self.text_calls = 0
        if not self.in_block or q.ndim != 3:
            return Call.OTHER
        is_square = q.shape[1] == k.shape[1]
        if k.shape[1] == self.text_tokens and (not is_square or self.seen_as_long_as_text):
            self.text_calls += 1
            return Call.OTHER if self.picture_reads_text and self.text_calls == 1 else Call.TEXT
        self.seen_as_long_as_text |= k.shape[1] == self.text_tokens
        if is_square and not self.seen_self_attention:
            self.seen_self_attention = True
            return Call.SELF
        return Call.OTHER

    @torch.compiler.disable
    def end_block(self, args: dict[str, Any]) -> dict[str, Any]:
        """The ``double_block`` patch: the block has run, and whatever attends before the next one is not ours."""
        self.block, self.in_block = args["block_index"], False
        self.ended.add(args["block_index"])
        return args
