"""The parts of a picture's way through Wan, against complex numbers and written-out sums."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wan_core.adapters.tokens import Grid
from wan_core.adapters.wan import attend, modulated, picture_tokens, rope_positions, rotate, unrotate

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


def test_modulation_scales_and_shifts() -> None:
    x, shift, scale = (torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    torch.testing.assert_close(modulated(x, shift, scale), x * (1 + scale) + shift)


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
