"""A trained adapter as a file: what the loader reads of it is what was trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wan_core.adapters import AdapterFile, load_adapter
from wan_core.errors import InputError
from wan_core.training.lite import LiteSize, lite_adapter, lite_file


def test_the_file_of_an_adapter_is_that_adapter() -> None:
    generator = torch.Generator().manual_seed(0)
    size = LiteSize(tokens=5, token_d=20, resampler_d=128, resampler_depth=2)
    network = lite_adapter(size, width_d=96, blocks=5, generator=generator)
    tensors, metadata = lite_file(network.state_dict(), space_sha256="ab" * 32, dtype=torch.float32)
    files = {"ip_layers": AdapterFile("mine.safetensors", tensors, metadata)}
    loaded = load_adapter(files, content_sha256="cd", operations=nn, make_patcher=lambda network: None)
    assert (loaded.width_d, loaded.blocks, loaded.space_sha256) == (96, (0, 2, 4), "ab" * 32)
    assert loaded.network.params == network.params
    wanted = network.state_dict()
    found = loaded.network.state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_new_weights_keep_the_size_of_what_goes_through() -> None:
    network = lite_adapter(LiteSize(4, 64, 64, 2), width_d=96, blocks=3, generator=torch.Generator().manual_seed(0))
    z = nn.functional.normalize(torch.randn(256, 1, 512, generator=torch.Generator().manual_seed(1)), dim=-1)
    seen = network.resampler.proj_in(z)
    keys, values = network.ip.layers["2"](network.resampler(z))
    assert seen.std().item() == pytest.approx(1, abs=0.1) and keys.std().item() == pytest.approx(1, abs=0.15)
    assert not values.any()


def test_a_width_that_is_no_number_of_heads_is_refused() -> None:
    with pytest.raises(InputError, match="resampler_d: found 100; wanted a multiple of 64"):
        LiteSize(resampler_d=100)
