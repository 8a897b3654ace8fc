"""Muon: momentum whose matrices are made orthogonal, in the scale of AdamW (arXiv 2502.16982)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)  # of an iteration that brings all singular values near 1
ITERATIONS = 5
RMS_OF_ADAMW = 0.2  # about the size of a number in an update of AdamW, at a learning rate of 1


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T, by Newton-Schulz iterations; rows columns."""
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x


def is_matrix(weight: Tensor) -> bool:
    """Whether it is a matrix, or a kernel that is one of each output's weights, of more than one row and column."""
    return weight.ndim > 1 and min(weight.flatten(1).shape) > 1


class Muon(torch.optim.AdamW):
    """AdamW for vectors; matrices, and kernels as matrices of each output's weights, go along orthogonal momentum."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update; gradients of matrices are used up."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None and is_matrix(gradient):
                    self._step_matrix(parameter, gradient.flatten(1), group)
                    parameter.grad = None  # what AdamW leaves as it is
        super().step()

    def _step_matrix(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        if "momentum" not in self.state[parameter]:
            self.state[parameter]["momentum"] = torch.zeros_like(gradient)
        momentum = self.state[parameter]["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        update = orthogonalised(gradient.lerp(momentum, MOMENTUM)).view(parameter.shape)
        length = group["lr"] * RMS_OF_ADAMW * max(gradient.shape) ** 0.5
        parameter.data.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-length)
