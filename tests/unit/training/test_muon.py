"""Muon against singular values, and beside AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wan_core.training.muon import RMS_OF_ADAMW, Muon, orthogonalised


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (8, 8)])
def test_an_orthogonal_matrix_has_the_directions_of_the_given_one_and_singular_values_near_1(
    shape: tuple[int, int],
) -> None:
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    given = 1e-3 * u @ torch.diag(torch.linspace(0.01, 1, 8)) @ v
    sizes = u.mT @ orthogonalised(given) @ v.mT
    torch.testing.assert_close(sizes - torch.diag(sizes.diagonal()), torch.zeros_like(sizes), rtol=0, atol=1e-4)
    assert sizes.diagonal().min() > 0.65 and sizes.diagonal().max() < 1.3


def test_kernels_go_along_orthogonal_momentum_and_vectors_as_adamw_says() -> None:
    torch.manual_seed(0)
    vectors = [nn.Parameter(torch.randn(5, *rest)) for rest in ((), (1, 1))]  # a scale is a vector too
    alone = [nn.Parameter(value.detach().clone()) for value in vectors]
    kernel = nn.Parameter(torch.randn(5, 3, 2, 2))
    before, rate, decay = kernel.detach().clone(), 0.01, 0.1
    muon = Muon([kernel, *vectors], lr=rate, weight_decay=decay)
    adamw = torch.optim.AdamW(alone, lr=rate, weight_decay=decay)
    kernel.grad = torch.randn_like(kernel)
    along = orthogonalised(kernel.grad.flatten(1)).view_as(kernel)  # at first momentum points where the gradient does
    for one, other in zip(vectors, alone, strict=True):
        one.grad = torch.randn_like(one)
        other.grad = one.grad.clone()
    muon.step()
    adamw.step()
    wanted = before * (1 - rate * decay) - rate * RMS_OF_ADAMW * 12**0.5 * along
    torch.testing.assert_close(kernel.detach(), wanted, rtol=1e-4, atol=1e-6)
    for one, other in zip(vectors, alone, strict=True):
        assert torch.equal(one, other)
