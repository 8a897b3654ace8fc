"""Stand-In (arXiv 2508.07901, WeChatCV/Stand-In): low-rank terms on query, key and value of the reference's tokens.

They act on the reference's own stream through the model and are no LoRA of the model: nothing is merged into it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..weights import Factory, Operations

LAYERS = ("q", "k", "v")


@dataclass(frozen=True, slots=True)
class StandInShape:
    """The sizes of a Stand-In file."""

    width_d: int  # of the Wan model
    rank_d: int  # of the low-rank terms
    blocks: tuple[int, ...]  # of the Wan model, ascending


class LowRank(nn.Module):
    """One low-rank term without a scale, b n d -> b n d."""

    def __init__(self, width_d: int, rank_d: int, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.down = operations.Linear(width_d, rank_d, bias=False, **factory)
        self.up = operations.Linear(rank_d, width_d, bias=False, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


class StandIn(nn.Module):
    """The terms of every block that the file has, keyed by block and layer."""

    def __init__(self, shape: StandInShape, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.blocks = shape.blocks
        self.layers = nn.ModuleDict(
            {
                str(block): nn.ModuleDict(
                    {
                        f"{layer}_loras": LowRank(shape.width_d, shape.rank_d, operations=operations, **factory)
                        for layer in LAYERS
                    }
                )
                for block in shape.blocks
            }
        )

    def delta(self, block: int, layer: str, x: Tensor) -> Tensor:
        """What a block's ``layer`` ("q", "k" or "v") gives more for the reference's tokens x, b n d -> b n d."""
        return self.layers[str(block)][f"{layer}_loras"](x)
