"""An adapter in words."""

from __future__ import annotations

from torch import nn

from .adapter import Adapter, AdapterShape
from .lynx import LynxIpShape
from .shapes import shown_blocks


def label_of(shape: AdapterShape, stand_in_expert: str | None) -> str:
    """The kinds of parts and their sizes, in one line."""
    parts = []
    if shape.ip and shape.resampler:
        parts.append(f"{_version(shape.ip)} ({len(shape.ip.blocks)} blocks, {shape.resampler.tokens} tokens)")
    if shape.ref:
        parts.append(f"Lynx reference layers ({len(shape.ref.blocks)} blocks)")
    if shape.stand_in:
        expert = f", {stand_in_expert} noise" if stand_in_expert else ""
        parts.append(f"Stand-In ({len(shape.stand_in.blocks)} blocks, rank {shape.stand_in.rank_d}{expert})")
    return " + ".join(parts)


def report_on(adapter: Adapter) -> str:
    """The files, and one line for each part: blocks, sizes, how it is stored."""
    network, shape = adapter.network, adapter.network.shape
    lines = [f"{adapter.label}: {', '.join(adapter.names)}", f"model width {adapter.width_d}"]
    if shape.ip:
        registers = f" and {shape.ip.registers} registers" if shape.ip.registers else ""
        lines.append(
            f"IP layers of {_version(shape.ip)}: blocks {shown_blocks(shape.ip.blocks)}, "
            f"tokens of {shape.ip.token_d} numbers{registers}, {_storage(network.ip)}"
        )
    if shape.resampler:
        lines.append(
            f"resampler: {shape.resampler.tokens} tokens of {shape.resampler.token_d} numbers, "
            f"{shape.resampler.depth} layers, {_storage(network.resampler)}"
        )
    if shape.ref:
        lines.append(f"reference layers of Lynx full: blocks {shown_blocks(shape.ref.blocks)}, {_storage(network.ref)}")
    if shape.stand_in:
        expert = adapter.stand_in_expert
        made_for = f"for the {expert}-noise expert" if expert else "whose file names no expert"
        lines.append(
            f"Stand-In {made_for}: blocks {shown_blocks(shape.stand_in.blocks)}, rank {shape.stand_in.rank_d}, "
            f"{_storage(network.stand_in)}"
        )
    return "\n".join([*lines, *_expected_space(adapter)])


def _version(ip: LynxIpShape) -> str:
    return "Lynx full" if ip.is_full else "Lynx-lite"


def _storage(part: nn.Module) -> str:
    """How a part's weights are stored."""
    weights = list(part.parameters())
    types = sorted({str(weight.dtype).removeprefix("torch.") for weight in weights})
    return f"{sum(weight.nbytes for weight in weights) / 1e6:.1f} MB of {' and '.join(types)}"


def _expected_space(adapter: Adapter) -> list[str]:
    if adapter.network.ip is None:
        return []
    if adapter.space_sha256 is None:
        return ["expects identities of facexlib's IR-SE50; the files do not say which, so it is not checked"]
    return [f"expects identities of the recogniser with SHA-256 {adapter.space_sha256[:12]}"]
