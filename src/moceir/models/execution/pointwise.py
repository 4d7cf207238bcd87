"""1x1 convolutions as matrix products.

On processors, torch gathers the gradient of the weights of so narrow a convolution badly with several threads: its own
gradients take up to four times as long. On CUDA devices, a convolution needs some 50 ms of preparation for each new
shape, and a matrix product none.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PIXELS_AT_A_TIME = 2048
"""Pixels of a partial gradient of the weights, about: so many fit into a cache, and give work to all threads, which one
tall and narrow product would not."""


def is_conv1x1(part: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Tell whether a module is a plain 1x1 convolution."""
    return type(part) is nn.Conv2d and part.kernel_size == (1, 1)


class LinearConv(nn.Conv2d):
    """A 1x1 convolution of channels_last maps as one matrix product."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, D, H, W)``."""
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class PixelProductConv(nn.Conv2d):
    """A 1x1 convolution of channels_last maps with gradients from `PixelProduct`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, D, H, W)``."""
        # In mixed precision, gradients are left to torch.
        if not torch.is_grad_enabled() or torch.is_autocast_enabled(input.device.type):
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
        """Compute the gradients of ``x``, the weights and the bias, each if it is wanted."""
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
