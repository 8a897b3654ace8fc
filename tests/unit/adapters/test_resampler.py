from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from wan_core.adapters.resampler import Resampler, ResamplerParams, attention_fp32

SHAPE = ResamplerParams(width_d=24, depth=2, inner_d=128, feed_forward_d=40, tokens=5, embedding_d=512, token_d=16)


def resampler() -> Resampler:
    torch.manual_seed(0)
    network = Resampler(SHAPE, operations=nn)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """One head and one query at a time."""
    out = torch.empty_like(q)
    d = q.shape[-1] // heads
    for row in range(len(q)):
        for head in range(heads):
            part = slice(head * d, (head + 1) * d)
            for n in range(q.shape[1]):
                scores = torch.tensor([torch.dot(q[row, n, part], key) / math.sqrt(d) for key in k[row, :, part]])
                weights = scores.exp() / scores.exp().sum()
                out[row, n, part] = sum(w * value for w, value in zip(weights, v[row, :, part], strict=True))
    return out


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
def test_attention_is_the_sum_over_keys_in_fp32(stored: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, n, 12, generator=draw).to(stored) for n in (3, 4, 4))
    wanted = plain_attention(q.float(), k.float(), v.float(), 3)
    torch.testing.assert_close(attention_fp32(q, k, v, 4), wanted, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_the_resampler_is_the_published_formula() -> None:
    network = resampler()
    w = network.state_dict()
    embeddings = torch.randn(2, 3, 512, generator=torch.Generator().manual_seed(2))

    def layer_norm(x: Tensor, key: str) -> Tensor:
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(var + 1e-5) * w[f"{key}.weight"] + w[f"{key}.bias"]

    x = embeddings @ w["proj_in.weight"].T + w["proj_in.bias"]
    latents = w["latents"].repeat(2, 1, 1)
    for layer in range(SHAPE.depth):
        key = f"layers.{layer}.0"
        normed = layer_norm(latents, f"{key}.norm2")
        source = torch.cat((layer_norm(x, f"{key}.norm1"), normed), dim=1)
        k, v = (source @ part.T for part in w[f"{key}.to_kv.weight"].split(SHAPE.inner_d))
        heard = plain_attention(normed @ w[f"{key}.to_q.weight"].T, k, v, SHAPE.inner_d // 64)
        latents = latents + heard @ w[f"{key}.to_out.weight"].T
        hidden = layer_norm(latents, f"layers.{layer}.1.0") @ w[f"layers.{layer}.1.1.weight"].T
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        latents = latents + hidden @ w[f"layers.{layer}.1.3.weight"].T
    expected = layer_norm(latents @ w["proj_out.weight"].T + w["proj_out.bias"], "norm_out")
    assert expected.shape == (2, 5, 16)
    torch.testing.assert_close(network(embeddings), expected, atol=1e-5, rtol=1e-5)
