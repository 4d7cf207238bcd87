"""1x1 convolutions whose gradients are matrix products: on processors torch's own take up to four times as long.

torch gathers the gradient of the weights of so narrow a convolution badly with several threads.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PIXELS_AT_A_TIME = 2048
"""Of how many pixels a partial gradient of the weights is, about: so many fit into a cache, and make work for all
threads, which one tall and narrow product would not."""


class Pointwise(nn.Conv2d):
    """1x1 convolution of maps whose channels are last in memory."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, D, H, W)``."""
        if input.is_cuda:  # a matrix product needs no preparation, a convolution some 50 ms for each new shape
            return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        device = input.device.type
        # Compiled, and in mixed precision, gradients are left to torch.
        by_torch = torch.compiler.is_compiling() or torch.is_autocast_enabled(device)
        if device != "cpu" or not torch.is_grad_enabled() or by_torch:
            return super().forward(input)
        mapped: Any = PixelProduct.apply(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return mapped.permute(0, 3, 1, 2)


class PixelProduct(torch.autograd.Function):
    """``x W^T + b`` of ``(B, H, W, C)``, with the gradient of the weights gathered from groups of pixels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Map ``(B, H, W, C)`` by ``(D, C)`` to ``(B, H, W, D)``."""
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - made static by torch, not typed so
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of ``x``, the weights and the bias, each if it is wanted."""
        x, weight = ctx.saved_tensors
        (grad,) = grads
        of_x = grad @ weight if ctx.needs_input_grad[0] else None
        of_weight = of_bias = None
        if ctx.needs_input_grad[1]:
            inputs, outputs = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
            groups = math.gcd(len(inputs), max(len(inputs) // PIXELS_AT_A_TIME, 1))
            parts = inputs.unflatten(0, (groups, -1)).transpose(1, 2) @ outputs.unflatten(0, (groups, -1))
            of_weight = parts.sum(dim=0).t()
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum(dim=(0, 1, 2))
        return of_x, of_weight, of_bias
