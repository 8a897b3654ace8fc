"""The text encoder, a small UMT5, and its tokenizer, trained on the prompts of the demo.

Layout: the host's UMT5-XXL file, which carries the sentencepiece model as bytes.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from . import wan
from .table import Entry, Table, fill, joined, layer, prefixed

PROMPTS = Path(__file__).parent / "prompts.txt"
VOCABULARY = 480  # 3 marks, 256 bytes, letters and short pieces
WIDTH = wan.TEXT_WIDTH
HEADS = 4
HEAD_WIDTH = 16
FF_WIDTH = 128
BLOCKS = 2
BUCKETS = 32


def rms(width: int) -> Table:
    """A normalisation without bias."""
    return {"weight": Entry((width,), std=0.02, centre=1.0)}


def block() -> Table:
    """Self-attention with its own position bias (UMT5 has one per block) and a gated feed-forward; no biases."""
    inner = HEADS * HEAD_WIDTH
    parts = {
        "layer.0.SelfAttention.q.": layer(WIDTH, inner, bias=False, gain=HEAD_WIDTH**-0.5),
        "layer.0.SelfAttention.k.": layer(WIDTH, inner, bias=False),
        "layer.0.SelfAttention.v.": layer(WIDTH, inner, bias=False),
        "layer.0.SelfAttention.o.": layer(inner, WIDTH, bias=False),
        "layer.0.SelfAttention.relative_attention_bias.": {"weight": Entry((BUCKETS, HEADS), std=1.0)},
        "layer.0.layer_norm.": rms(WIDTH),
        "layer.1.DenseReluDense.wi_0.": layer(WIDTH, FF_WIDTH, bias=False),
        "layer.1.DenseReluDense.wi_1.": layer(WIDTH, FF_WIDTH, bias=False),
        "layer.1.DenseReluDense.wo.": layer(FF_WIDTH, WIDTH, bias=False),
        "layer.1.layer_norm.": rms(WIDTH),
    }
    return joined(parts)


def network() -> Table:
    """The encoder half of UMT5."""
    table: Table = {"shared.weight": Entry((VOCABULARY, WIDTH), std=1.0)}
    for index in range(BLOCKS):
        table |= prefixed(f"encoder.block.{index}.", block())
    return table | prefixed("encoder.final_layer_norm.", rms(WIDTH))


def tokenizer() -> bytes:
    """A sentencepiece model with UMT5's marks; byte pieces let it read any language."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PROMPTS.read_text(encoding="utf-8").splitlines()),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def text_encoder(name: str) -> dict[str, Tensor]:
    """The network and its tokenizer as one state dict."""
    return fill(network(), name) | {"spiece_model": torch.frombuffer(bytearray(tokenizer()), dtype=torch.uint8)}
