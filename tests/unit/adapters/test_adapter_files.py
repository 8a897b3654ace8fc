from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wan_core.adapters.files import SPACE_KEY, load_lynx_lite
from wan_core.adapters.lynx import LynxAdapter, LynxLite, LynxShape
from wan_core.adapters.resampler import ResamplerShape
from wan_core.errors import InputError

StateDict = dict[str, Tensor]


def shape_of(
    width_d: int = 32, blocks: tuple[int, ...] = (0, 2), depth: int = 1, inner_d: int = 64, tokens: int = 4
) -> LynxShape:
    resampler = ResamplerShape(
        width_d=24, depth=depth, inner_d=inner_d, feed_forward_d=40, tokens=tokens, embedding_d=512, token_d=16
    )
    return LynxShape(width_d=width_d, blocks=blocks, resampler=resampler)


def random_network(shape: LynxShape) -> LynxLite:
    torch.manual_seed(0)
    network = LynxLite(shape, operations=nn)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def official(network: LynxLite) -> tuple[StateDict, StateDict]:
    """The two files as ByteDance publishes them: the n-th adapter is on block 2n."""
    layers = {}
    for block, layer in network.ip_layers.items():
        for key, value in layer.state_dict().items():
            layers[f"{int(block) // 2}.{key}"] = value
    return layers, network.resampler.state_dict()


def by_block(network: LynxLite) -> tuple[StateDict, StateDict]:
    """The two files in the layout by block."""
    layers = {}
    for block, layer in network.ip_layers.items():
        for key, value in layer.state_dict().items():
            layers[f"blocks.{block}.cross_attn.ip_adapter.{key}"] = value
    return layers, network.resampler.state_dict()


def prefixed(files: tuple[StateDict, StateDict]) -> tuple[StateDict, StateDict]:
    layers, resampler = files
    return {f"diffusion_model.{key}": value for key, value in layers.items()}, resampler


def load(files: tuple[StateDict, StateDict], metadata: dict[str, str] | None = None) -> LynxAdapter:
    layers, resampler = files
    return load_lynx_lite(
        layers,
        resampler,
        metadata=metadata or {},
        ip_layers_name="a",
        resampler_name="b",
        operations=nn,
        make_patcher=lambda network: ("loads", network),
    )


SHAPES = [
    shape_of(),
    shape_of(width_d=48, blocks=(0, 2, 4, 6, 8), depth=3),
    shape_of(blocks=(0,), inner_d=192, tokens=1),
]


LAYOUTS = [official, by_block, lambda network: prefixed(official(network)), lambda network: prefixed(by_block(network))]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_sizes_and_output_survive_a_round_trip(
    shape: LynxShape, layout: Callable[[LynxLite], tuple[StateDict, StateDict]]
) -> None:
    original = random_network(shape)
    adapter = load(layout(original))
    assert adapter.shape == shape
    assert (adapter.width_d, adapter.blocks) == (shape.width_d, shape.blocks)
    z = torch.randn(2, 512, generator=torch.Generator().manual_seed(1))
    tokens = original.tokens(z)
    assert torch.equal(adapter.network.tokens(z), tokens)
    for block in shape.blocks:
        for found, wanted in zip(
            adapter.network.keys_values(block, tokens), original.keys_values(block, tokens), strict=True
        ):
            assert torch.equal(found, wanted)
    assert not any(tensor.is_meta for tensor in adapter.network.state_dict().values())


def test_the_adapter_carries_its_loader_and_the_space_that_its_file_names() -> None:
    files = official(random_network(shape_of()))
    adapter = load(files, {SPACE_KEY: "ab" * 32, "format": "pt"})
    assert adapter.patcher == ("loads", adapter.network)
    assert adapter.space_sha256 == "ab" * 32
    assert load(files, {"format": "pt"}).space_sha256 is None


def test_the_layout_by_block_may_hold_any_blocks() -> None:
    assert load(by_block(random_network(shape_of(blocks=(1, 2, 7))))).blocks == (1, 2, 7)


@torch.no_grad()
def test_keys_are_normalised_and_values_are_not() -> None:
    adapter = load(official(random_network(shape_of())))
    tokens = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(2))
    k, v = adapter.network.keys_values(2, tokens)
    weights = official(adapter.network)[0]
    raw = tokens @ weights["1.to_k_ip.weight"].T
    torch.testing.assert_close(k, raw / torch.sqrt((raw**2).mean(-1, keepdim=True) + 1e-5))
    torch.testing.assert_close(v, tokens @ weights["1.to_v_ip.weight"].T)


Files = tuple[StateDict, StateDict]


def layers_with(**changes: Tensor) -> Callable[[Files], Files]:
    return lambda files: ({**files[0], **{key.replace("__", "."): value for key, value in changes.items()}}, files[1])


def layers_without(*keys: str) -> Callable[[Files], Files]:
    return lambda files: ({key: value for key, value in files[0].items() if key not in keys}, files[1])


def resampler_with(**changes: Tensor) -> Callable[[Files], Files]:
    return lambda files: (files[0], {**files[1], **{key.replace("__", "."): value for key, value in changes.items()}})


def resampler_without(*keys: str) -> Callable[[Files], Files]:
    return lambda files: (files[0], {key: value for key, value in files[1].items() if key not in keys})


ONE = torch.zeros(1)
BAD_FILES = {
    "ip_layers: found the resampler; wanted the IP layers of Lynx-lite. Swap the two files.": lambda f: (f[1], f[0]),
    "resampler: found IP layers; wanted the resampler of Lynx-lite. Swap the two files.": lambda f: (f[0], f[0]),
    "ip_layers: found Stand-In weights; wanted the ip_layers file of Lynx-lite": lambda f: (
        {"blocks.0.self_attn.q_loras.down.weight": ONE},
        f[1],
    ),
    "ip_layers: found the reference layers of Lynx full": lambda f: ({"0.to_k_ref.weight": ONE}, f[1]),
    "ip_layers: found the IP layers of Lynx full": layers_with(**{"0__registers": ONE}),
    "found the IP layers of Lynx full; wanted": layers_with(**{"0__to_k_ip__bias": ONE}),
    "resampler: found Stand-In weights": lambda f: (f[0], {"blocks.0.self_attn.v_loras.up.weight": ONE}),
    "ip_layers: found unknown keys: extra, mask; wanted only <n>.to_k_ip.weight": layers_with(extra=ONE, mask=ONE),
    "ip_layers: found an empty file": lambda f: ({}, f[1]),
    "ip_layers: found a file without to_v_ip of block 2": layers_without("1.to_v_ip.weight"),
    "found a file without to_k_ip of block 0, to_v_ip of block 0": layers_without(
        "0.to_k_ip.weight", "0.to_v_ip.weight"
    ),
    "ip_layers: found layers of shapes [(32, 16), (48, 16)]": layers_with(
        **{"1__to_v_ip__weight": torch.zeros(48, 16)}
    ),
    "resampler: found a file without latents, proj_in.weight, norm_out.weight (it has x)": lambda f: (f[0], {"x": ONE}),
    "resampler: found a file without a usable layers.0.0.to_q.weight": resampler_without("layers.0.0.to_q.weight"),
    "found a file without a usable latents": resampler_with(latents=ONE),
    "resampler: found a file without layers.0.0.norm1.bias": resampler_without("layers.0.0.norm1.bias"),
    "resampler: found a file with the unknown resampler.pos_emb.weight": resampler_with(pos_emb__weight=ONE),
    "with a wrong shape of resampler.proj_out.bias": resampler_with(proj_out__bias=ONE),
    "resampler: found attention of width 65; wanted a multiple of 64": resampler_with(
        layers__0__0__to_q__weight=torch.zeros(65, 24)
    ),
    "resampler: found embeddings of 256 numbers; wanted 512": resampler_with(proj_in__weight=torch.zeros(24, 256)),
    "resampler: found tokens of 20 numbers; wanted 16, as the IP layers take them": resampler_with(
        proj_out__weight=torch.zeros(20, 24)
    ),
}


@pytest.mark.parametrize(("message", "spoil"), BAD_FILES.items())
def test_a_file_that_does_not_fit_is_named(message: str, spoil: Callable[[Files], Files]) -> None:
    with pytest.raises(InputError) as caught:
        load(spoil(official(random_network(shape_of()))))
    assert message in str(caught.value).replace("without resampler.", "without ")
