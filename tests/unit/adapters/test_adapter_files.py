"""Every published layout loads with its sizes and its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from demo.miniature import adapters
from demo.miniature.table import Table
from tests.unit.adapters.adapter_files import (
    FULL,
    KINDS,
    LAYOUTS,
    LITE,
    STAND_IN,
    StateDict,
    by_block,
    load,
    meta,
    named,
    prefixed,
    said,
    selected,
    weights,
)
from wan_core.adapters.adapter import AdapterParams
from wan_core.adapters.adapter_files import AdapterFile
from wan_core.adapters.lynx import LynxIpParams, LynxRefParams
from wan_core.adapters.report import describe_adapter, shown_blocks
from wan_core.adapters.resampler import ResamplerParams
from wan_core.adapters.stand_in import StandInParams

EVERY_BLOCK = (0, 1, 2, 3)
LITE_PARAMS = AdapterParams(LynxIpParams(96, 80, (0, 2), 0), ResamplerParams(64, 2, 64, 256, 16, 512, 80))
FULL_PARAMS = AdapterParams(LynxIpParams(96, 96, EVERY_BLOCK, 8), ResamplerParams(64, 2, 64, 256, 16, 512, 96))
REF_PARAMS, STAND_IN_PARAMS = LynxRefParams(96, EVERY_BLOCK), StandInParams(96, 8, EVERY_BLOCK)
PARAMS = {
    "lite": LITE_PARAMS,
    "full": FULL_PARAMS,
    "ref": AdapterParams(ref=REF_PARAMS),
    "stand-in": AdapterParams(stand_in=STAND_IN_PARAMS),
    "full with ref": replace(FULL_PARAMS, ref=REF_PARAMS),
    "everything": replace(FULL_PARAMS, ref=REF_PARAMS, stand_in=STAND_IN_PARAMS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads_from_every_layout(kind: str, layout: Callable[[StateDict], StateDict]) -> None:
    adapter = load(selected(KINDS[kind], layout))
    assert adapter.network.params == PARAMS[kind]
    assert adapter.width_d == 96
    assert adapter.blocks == ((0, 2) if kind == "lite" else EVERY_BLOCK)
    assert adapter.names == tuple(f"{slot}.safetensors" for slot in KINDS[kind])
    assert adapter.patcher == ("loads", adapter.network)
    assert (adapter.content_sha256, adapter.stand_in_expert) == ("cd" * 32, None)
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in adapter.network.parameters())
    assert adapter.network.training is False


def file_key(key: str) -> str:
    """The official key, with its prefix, of a key of a network of everything; the block is the number."""
    part, rest = key.split(".", 1)
    if part == "resampler":
        return rest
    _, block, leaf = rest.split(".", 2)
    return f"blocks.{block}.self_attn.{leaf}" if part == "stand_in" else f"{block}.{leaf}"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_weight_comes_to_its_place(layout: Callable[[StateDict], StateDict]) -> None:
    network = load(selected(KINDS["everything"], layout)).network
    wanted = {key: tensor for table in KINDS["everything"].values() for key, tensor in weights(table).items()}
    found = {file_key(key): tensor for key, tensor in network.state_dict().items()}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_lite_layers_by_block_may_be_in_any_blocks() -> None:
    layers = by_block(weights(LITE["ip_layers"]))
    layers = {key.replace("blocks.2.", "blocks.7."): value for key, value in layers.items()}
    files = selected(LITE) | {"ip_layers": AdapterFile("a", layers, {})}
    assert load(files).blocks == (0, 7)


@pytest.mark.parametrize(
    "stored", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_weights_stay_as_they_are_stored(stored: torch.dtype) -> None:
    files = selected(KINDS["everything"], lambda state_dict: {key: t.to(stored) for key, t in state_dict.items()})
    adapter = load(files)
    assert {parameter.dtype for parameter in adapter.network.parameters()} == {stored}
    assert str(stored).removeprefix("torch.") in describe_adapter(adapter)


# Sizes


REAL = {  # parameters of the published files; Stand-In's 16-bit file has 314,599,728 bytes with its header
    "stand_in": ({"stand_in": adapters.stand_in(5120, 40, 128)}, {"stand_in": 157_286_400}),
    "lite": (
        {"ip_layers": adapters.lite_ip_layers(5120, 40, 2048), "resampler": adapters.resampler(2048, 1280, 4)},
        {"ip": 419_430_400, "resampler": 81_978_624},
    ),
    "full": (
        {"ip_layers": adapters.full_ip_layers(5120, 40, 5120, 16), "resampler": adapters.resampler(5120, 1280, 4)},
        {"ip": 2_100_838_400, "resampler": 85_920_000},
    ),
    "ref": ({"ref_layers": adapters.ref_layers(5120, 40)}, {"ref": 2_097_561_600}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", REAL)
def test_the_real_files_have_the_published_sizes(kind: str, layout: Callable[[StateDict], StateDict]) -> None:
    tables, counts = REAL[kind]
    adapter = load({slot: AdapterFile(slot, layout(meta(table)), {}) for slot, table in tables.items()})
    found = {name: sum(p.numel() for p in part.parameters()) for name, part in adapter.network.named_children()}
    assert found == counts
    assert adapter.width_d == 5120
    assert adapter.blocks == tuple(range(0, 40, 2 if kind == "lite" else 1))


# Our own file


def own(ip: dict[str, Callable[[], Table]], **metadata: str) -> dict[str, AdapterFile]:
    both = {key: tensor for table in ip.values() for key, tensor in weights(table).items()}
    return {"ip_layers": AdapterFile("own.safetensors", both, {"format_version": "1"} | metadata)}


@pytest.mark.parametrize("tables", [LITE, FULL])
def test_our_own_file_holds_both_parts(tables: dict[str, Callable[[], Table]]) -> None:
    adapter, apart = load(own(tables, wancast_space_sha256="ab" * 32)), load(selected(tables))
    assert adapter.network.params == apart.network.params
    assert adapter.space_sha256 == "ab" * 32
    wanted = apart.network.state_dict()
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in adapter.network.state_dict().items())


def test_our_own_file_may_leave_the_resampler_to_a_file_of_its_own() -> None:
    assert load(said(selected(LITE), "ip_layers", format_version="1")).network.params == LITE_PARAMS


# What files say


@pytest.mark.parametrize("slot", ["ip_layers", "resampler"])
def test_the_adapter_carries_the_space_that_a_file_names(slot: str) -> None:
    assert load(said(selected(LITE), slot, wancast_space_sha256="ab" * 32, format="pt")).space_sha256 == "ab" * 32
    assert load(said(selected(LITE), slot, format="pt")).space_sha256 is None


EXPERTS = {
    "Stand-In_wan2.2_T2V_A14B_low.ckpt": "low",
    "standin/wan22_HighNoise_fp16.safetensors": "high",
    "low\\Stand-In_wan2.1_T2V_14B_ver1.0_fp16.safetensors": None,
    "stand_in_high_to_low.safetensors": None,
    "slow_highlights.safetensors": None,
}


@pytest.mark.parametrize(("name", "expert"), EXPERTS.items())
def test_a_stand_in_file_is_for_the_expert_that_its_name_says(name: str, expert: str | None) -> None:
    assert load(named(selected(STAND_IN), "stand_in", name)).stand_in_expert == expert


def test_the_metadata_of_a_stand_in_file_says_more_than_its_name() -> None:
    files = named(selected(STAND_IN), "stand_in", "stand_in_high.safetensors")
    assert load(said(files, "stand_in", wancast_expert="low")).stand_in_expert == "low"


def test_the_label_and_the_report_name_every_part() -> None:
    adapter = load(named(selected(KINDS["everything"]), "stand_in", "stand_in_high.ckpt"))
    assert adapter.label == (
        "Lynx full (4 blocks, 16 tokens) + Lynx reference layers (4 blocks) + Stand-In (4 blocks, rank 8, high noise)"
    )
    assert describe_adapter(adapter).splitlines() == [
        f"{adapter.label}: ip_layers.safetensors, resampler.safetensors, ref_layers.safetensors, stand_in_high.ckpt",
        "model width 96",
        "IP layers of Lynx full: blocks 0-3, tokens of 96 numbers and 8 registers, 0.3 MB of float32",
        "resampler: 16 tokens of 96 numbers, 2 layers, 0.6 MB of float32",
        "reference layers of Lynx full: blocks 0-3, 0.3 MB of float32",
        "Stand-In for the high-noise expert: blocks 0-3, rank 8, 0.1 MB of float32",
        "expects identities of facexlib's IR-SE50; the files do not say which, so it is not checked",
    ]


def test_the_report_of_stand_in_alone_expects_no_recogniser() -> None:
    adapter = load(selected(STAND_IN))
    assert adapter.label == "Stand-In (4 blocks, rank 8)"
    assert "whose file names no expert" in describe_adapter(adapter)
    assert "expects" not in describe_adapter(adapter)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [(tuple(range(40)), "0-39"), (tuple(range(0, 40, 2)), "0, 2, ..., 38"), ((0, 2), "0, 2"), ((1, 2, 7), "1, 2, 7")]
    + [((0, 1, 2, 3), "0-3"), ((0, 1, 2, 5), "0, 1, 2, 5"), ((4,), "4")],
)
def test_blocks_in_words(blocks: tuple[int, ...], words: str) -> None:
    assert shown_blocks(blocks) == words


def test_nothing_that_came_in_is_changed() -> None:
    files = selected(KINDS["everything"], prefixed)
    before = {slot: {key: tensor.clone() for key, tensor in file.state_dict.items()} for slot, file in files.items()}
    load(files)
    assert all(before[slot].keys() == file.state_dict.keys() for slot, file in files.items())
    assert all(torch.equal(t, before[slot][key]) for slot, file in files.items() for key, t in file.state_dict.items())
