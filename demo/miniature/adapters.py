"""Identity adapters, with the keys of the published files: Stand-In, Lynx lite and Lynx full.

Layouts: WeChatCV/Stand-In (models/set_condition_branch.py) and bytedance/lynx (modules/lite, modules/full and
modules/common/resampler.py). Each function gives the miniature's sizes unless it is told others.
"""

from __future__ import annotations

from . import wan
from .table import Entry, Table, layer, norm, prefixed

EMBEDDING = 512
LITE_BLOCK_STEP = 2  # Lynx lite has a layer for every second block

RESAMPLER_WIDTH = 64
RESAMPLER_DEPTH = 2
RESAMPLER_HEAD = 64
QUERIES = 16
TOKEN_WIDTH = 80
FULL_TOKEN_WIDTH = 96
REGISTERS = 8
FF_FACTOR = 4

STAND_IN_RANK = 8

assert RESAMPLER_WIDTH % RESAMPLER_HEAD == 0


# Lynx


def resampler(token_width: int = TOKEN_WIDTH, width: int = RESAMPLER_WIDTH, depth: int = RESAMPLER_DEPTH) -> Table:
    """Embedding to 16 tokens: a Perceiver."""
    table = {"latents": Entry((1, QUERIES, width), std=1.0)} | prefixed("proj_in.", layer(EMBEDDING, width, gain=20.0))
    for index in range(depth):
        attention = (
            prefixed("norm1.", norm(width))
            | prefixed("norm2.", norm(width))
            | prefixed("to_q.", layer(width, width, bias=False))
            | prefixed("to_kv.", layer(width, 2 * width, bias=False))
            | prefixed("to_out.", layer(width, width, bias=False, gain=2.0))
        )
        feed_forward = (
            prefixed("0.", norm(width))
            | prefixed("1.", layer(width, FF_FACTOR * width, bias=False))
            | prefixed("3.", layer(FF_FACTOR * width, width, bias=False))
        )
        table |= prefixed(f"layers.{index}.0.", attention) | prefixed(f"layers.{index}.1.", feed_forward)
    return table | prefixed("proj_out.", layer(width, token_width)) | prefixed("norm_out.", norm(token_width))


def full_resampler() -> Table:
    """The resampler of Lynx full: the same with wider tokens."""
    return resampler(FULL_TOKEN_WIDTH)


def lite_ip_layers(width: int = wan.WIDTH, blocks: int = wan.BLOCKS, token_width: int = TOKEN_WIDTH) -> Table:
    """Key and value of the identity tokens in every second block of a Wan model."""
    table: Table = {}
    for index in range(len(range(0, blocks, LITE_BLOCK_STEP))):
        table |= prefixed(f"{index}.to_k_ip.", layer(token_width, width, bias=False))
        table |= prefixed(f"{index}.to_v_ip.", layer(token_width, width, bias=False))
    return table


def full_ip_layers(
    width: int = wan.WIDTH, blocks: int = wan.BLOCKS, token_width: int = FULL_TOKEN_WIDTH, registers: int = REGISTERS
) -> Table:
    """Key and value of the identity tokens in every block, and each block's own tokens."""
    table: Table = {}
    for index in range(blocks):
        table |= {f"{index}.registers": Entry((1, registers, token_width), std=1.0)}
        table |= prefixed(f"{index}.to_k_ip.", layer(token_width, width))
        table |= prefixed(f"{index}.to_v_ip.", layer(token_width, width))
    return table


def ref_layers(width: int = wan.WIDTH, blocks: int = wan.BLOCKS) -> Table:
    """Key and value of a reference picture's features in every block."""
    table: Table = {}
    for index in range(blocks):
        table |= prefixed(f"{index}.to_k_ref.", layer(width, width))
        table |= prefixed(f"{index}.to_v_ref.", layer(width, width))
    return table


# Stand-In


def stand_in(width: int = wan.WIDTH, blocks: int = wan.BLOCKS, rank: int = STAND_IN_RANK) -> Table:
    """Low-rank terms on query, key and value of the portrait's tokens in every block."""
    table: Table = {}
    for block in range(blocks):
        for name in ("q_loras", "k_loras", "v_loras"):
            term = prefixed("down.", layer(width, rank, bias=False)) | prefixed("up.", layer(rank, width, bias=False))
            table |= prefixed(f"blocks.{block}.self_attn.{name}.", term)
    return table
