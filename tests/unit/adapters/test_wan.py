"""The parts of a picture's way through Wan, against complex numbers and written-out sums."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tests.unit.adapters.some_locks import lock_of, locked
from wan_core.adapters.kv_cache import KvCache
from wan_core.adapters.lynx import IpTerm
from wan_core.adapters.stand_in import StandIn, StandInParams, StandInTerm
from wan_core.adapters.tokens import Grid
from wan_core.adapters.wan import attend, picture_tokens, rope_positions, rotate, unrotate

TOKENS, HEADS, HEAD_D = 5, 2, 6


def angles() -> Tensor:
    return torch.rand(TOKENS, HEAD_D // 2, generator=torch.Generator().manual_seed(0)) * 6


def matrices() -> Tensor:
    turn = angles()
    rows = torch.stack((turn.cos(), -turn.sin(), turn.sin(), turn.cos()), dim=-1)
    return rows.unflatten(-1, (2, 2))[None, :, None]  # 1 n 1 d/2 2 2


def heads() -> Tensor:
    return torch.randn(2, TOKENS, HEADS, HEAD_D, generator=torch.Generator().manual_seed(1))


def test_rotation_is_the_product_with_a_complex_number() -> None:
    x = heads()
    turned = (
        torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        * torch.polar(torch.ones(TOKENS, HEAD_D // 2), angles())[None, :, None]
    )
    torch.testing.assert_close(rotate(x, matrices()), torch.view_as_real(turned).flatten(-2))


@pytest.mark.parametrize("at_once", [2, 4096])
def test_the_rotation_comes_off_again(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_core.adapters.wan.TOKENS_AT_ONCE", at_once)
    x = heads()
    torch.testing.assert_close(unrotate(rotate(x, matrices()), matrices()), x)


def test_attention_is_the_softmax_of_scaled_products() -> None:
    q, k, v = (torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    for head, (qh, kh, vh) in enumerate(zip(q.split(3, -1), k.split(3, -1), v.split(3, -1), strict=True)):
        wanted = (qh @ kh.transpose(1, 2) / 3**0.5).softmax(-1) @ vh
        torch.testing.assert_close(attend(q, k, v, heads=2)[..., 3 * head : 3 * head + 3], wanted)


class Patches(nn.Module):
    """The parts of a Wan model that read a picture's latent and its places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch_embedding = nn.Conv3d(channels, 8, kernel_size=(1, 2, 2), stride=(1, 2, 2))

    def rope_embedder(self, ids: Tensor) -> Tensor:
        return ids[:, None]  # 1 1 n 3


def test_a_latent_of_too_few_channels_is_filled_up_with_zeros() -> None:
    """As an image-to-video model reads it, whose further channels hold what it continues."""
    wan, latent = Patches(channels=7), torch.randn(2, 4, 1, 4, 6, generator=torch.Generator().manual_seed(1))
    tokens, grid = picture_tokens(wan, latent)
    filled = torch.cat((latent, torch.zeros(2, 3, 1, 4, 6)), dim=1)
    assert grid == Grid(1, 2, 3)
    torch.testing.assert_close(tokens, wan.patch_embedding(filled).flatten(2).transpose(1, 2))


def test_positions_count_from_their_start_columns_fastest() -> None:
    found = rope_positions(Patches(channels=4), Grid(1, 2, 3), (-1, 10, 20), torch.device("cpu"))
    wanted = [[-1, 10 + row, 20 + column] for row in range(2) for column in range(3)]
    assert found[0, :, 0].tolist() == wanted


# The portrait's keys and values


def turned(x: Tensor, ids: Tensor) -> Tensor:
    """x (n d) of two heads turned by its places (n 3) as complex numbers, the way in which ``Portrayed`` does it."""
    angle = (ids.double() @ SPEEDS.double())[:, None]  # n 1 d/2
    pairs = torch.view_as_complex(x.double().unflatten(-1, (2, -1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(1).float()


SPEEDS = torch.tensor([[0.1, 0.2], [0.03, 0.5], [0.7, 0.04]])  # by axis, of the two pairs of a head


class Portrayed(Patches):
    """A model of one block, as far as a portrait goes through it."""

    def __init__(self) -> None:
        super().__init__(channels=4)
        self.freq_dim, self.time_embedding, self.time_projection = 6, nn.Identity(), nn.Linear(6, 48)
        attention = {name: nn.Linear(8, 8) for name in "qkvo"} | {"norm_q": nn.Identity(), "norm_k": nn.ReLU()}
        parts = dict.fromkeys(("norm1", "norm2", "ffn"), nn.Identity()) | {"modulation": torch.zeros(1, 6, 8)}
        self.blocks = [SimpleNamespace(self_attn=SimpleNamespace(num_heads=2, **attention), **parts)]

    def rope_embedder(self, ids: Tensor) -> Tensor:
        angle = ids @ SPEEDS
        rows = (angle.cos(), -angle.sin(), angle.sin(), angle.cos())
        return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))[:, None]  # 1 1 n d/2 2 2


def test_a_portrait_has_low_rank_terms_its_own_place_and_the_time_0() -> None:
    """K = turn(norm(W h + U D h)), V = W h + U D h with h modulated by the embedding of 0: ones, then zeros."""
    wan, latent = Portrayed(), torch.randn(1, 4, 1, 4, 6)
    lora = StandIn(StandInParams(8, 2, (0,)), operations=nn)
    context = SimpleNamespace(wan=wan, like=latent, corner=(-1, 5, 7), portraits_between=1)
    ((k, v),) = StandInTerm(lora, latent, expert=None).keys_values(context).values()

    attention, terms = wan.blocks[0].self_attn, lora.layers["0"]
    shift, scale = wan.time_projection(torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])).split(8)[:2]
    h = picture_tokens(wan, latent)[0][0] * (1 + scale) + shift  # n d
    ids = torch.tensor([[-1, 5 + 2 + row, 7 + 3 + column] for row in range(2) for column in range(3)])
    wanted_k = attention.norm_k(attention.k(h) + h @ terms.k_loras.down.weight.T @ terms.k_loras.up.weight.T)
    torch.testing.assert_close(k[0], turned(wanted_k, ids), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(v[0], attention.v(h) + h @ terms.v_loras.down.weight.T @ terms.v_loras.up.weight.T)


def test_keys_of_lynx_full_are_normed_by_each_model_though_they_share_a_cache() -> None:
    """The experts of one run have norms of their own for the same identity."""
    k, cache = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(2)), KvCache(1 << 20, 0)
    lock = replace(lock_of(locked("full")), ip=IpTerm({0: (k, k)}, is_normed_by_model=True))
    for factor in (2.0, 3.0):
        norm = SimpleNamespace(norm_k=lambda x, factor=factor: factor * x)
        wan = SimpleNamespace(blocks=[SimpleNamespace(cross_attn=norm)])
        context = SimpleNamespace(wan=wan, like=k, weights_key=factor, recall=partial(cache.get, k.device))
        assert torch.equal(lock.keys_values(lock.ip, context)[0][0], factor * k)
