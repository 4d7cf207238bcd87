"""Layers written so that the compiler of an accelerator can fuse them: same parameters, same results, other kernels.

Depthwise convolutions become sums of shifted products, window spectra become products with constant matrices, and
norms keep the type of their input. None of this pays on a processor, and on an accelerator only if it is compiled.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.models.experts import WindowFFTAttention
from moceir.models.layers import ChannelLayerNorm


def _wide(x: Tensor) -> Tensor:
    """In float32 at least, for sums."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def shifted_products(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve each channel with its own kernel, zero-padded so that the size is kept.

    Args:
        x: ``(B, C, H, W)``.
        weight: ``(C, 1, K, K)``, K odd.
        bias: ``(C,)``.

    Returns:
        ``(B, C, H, W)`` in the type of ``x``; sums are in float32.
    """
    height, width = x.shape[-2:]
    size = weight.shape[-1]
    padded = F.pad(x, (size // 2,) * 4)
    taps = _wide(weight)[:, 0, :, :, None, None]
    total: Any = 0.0 if bias is None else _wide(bias)[:, None, None]
    for row in range(size):
        for column in range(size):
            part = padded[..., row : row + height, column : column + width]
            total = total + _wide(part) * taps[:, row, column]
    return total.to(x.dtype)


class ShiftedDepthwise(nn.Conv2d):
    """Depthwise convolution as a sum of shifted products."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        return shifted_products(input, self.weight, self.bias)


def pixel_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Normalise the channels of each pixel of ``(B, C, H, W)``; the result keeps the type, sums are in float32."""
    wide = _wide(x)
    variance, mean = torch.var_mean(wide, dim=1, correction=0, keepdim=True)
    normed = (wide - mean) * torch.rsqrt(variance + epsilon)
    return (normed * _wide(weight)[:, None, None] + _wide(bias)[:, None, None]).to(x.dtype)


class PixelNorm(ChannelLayerNorm):
    """LayerNorm over the channels of each pixel that stays in half precision where its input is."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``; the result has the same shape."""
        return pixel_norm(input, self.weight, self.bias, self.eps)


def _spectrum_matrices(window: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the Fourier transform of a window, ``(window, window)`` each.

    Made where they are used, at each call: a recorded step must not copy anything to its device.
    """
    steps = torch.arange(window, dtype=torch.float64, device=like.device)
    angles = 2 * math.pi / window * (steps[:, None] * steps).remainder(window)
    precision = torch.promote_types(like.dtype, torch.float32)
    return angles.cos().to(precision), angles.sin().to(precision)


def window_products(q: Tensor, k: Tensor, window: int) -> Tensor:
    """Convolve circularly within windows, like ``experts.window_convolution``, by products with constant matrices.

    With ``F = C - iS``, the spectrum of a window is ``F x F``. Of a real window, half of the columns are enough.

    Args:
        q: ``(B, C, H, W)``, any H and W; zero-padded at the bottom and right to whole windows.
        k: The same shape.
        window: Side of the square windows, in pixels.

    Returns:
        ``(B, C, H, W)`` in the type of ``q``; spectra and sums are in float32.
    """
    batch, channels, height, width = q.shape
    rows, columns = -(-height // window), -(-width // window)
    pad = (0, columns * window - width, 0, rows * window - height)
    half = window // 2 + 1
    cosines, sines = _spectrum_matrices(window, q)
    # What the columns left out would add: all but the first and the middle one count twice.
    columns_kept = torch.arange(half, device=q.device)
    twice = 2 - ((columns_kept == 0) | (columns_kept == half - 1)).to(cosines.dtype)

    def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.pad(_wide(x), pad).reshape(batch, channels, rows, window, columns, window).transpose(3, 4)
        across_c, across_s = x @ cosines[:, :half], x @ sines[:, :half]
        return cosines @ across_c - sines @ across_s, -(cosines @ across_s + sines @ across_c)

    # Autocast would turn these products into ones of half precision.
    with torch.autocast(q.device.type, enabled=False):
        (q_real, q_imaginary), (k_real, k_imaginary) = spectrum(q), spectrum(k)
        real = q_real * k_real - q_imaginary * k_imaginary
        imaginary = q_real * k_imaginary + q_imaginary * k_real
        down_real = (cosines @ real - sines @ imaginary) * twice
        down_imaginary = (cosines @ imaginary + sines @ real) * twice
        o = (down_real @ cosines[:half] - down_imaginary @ sines[:half]) / window**2
    o = o.transpose(3, 4).reshape(batch, channels, rows * window, columns * window)[..., :height, :width]
    return o.to(q.dtype).contiguous(memory_format=torch.channels_last)


class WindowProductAttention(WindowFFTAttention):
    """Attention within windows by products with constant matrices."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Combine queries, keys and values, each ``(B, r, H, W)``."""
        return self.out(self.norm(window_products(q, k, self.window)) * v)


def dense_gates(experts: Tensor, gates: Tensor, count: int) -> Tensor:
    """Spread the gates of chosen experts over all experts, without indexing.

    Args:
        experts: Chosen ones, ``(B, k)``.
        gates: Their gates, ``(B, k)``.
        count: Experts in all.

    Returns:
        ``(B, count)``, zero where an expert was not chosen.
    """
    chosen = experts[..., None] == torch.arange(count, device=experts.device)
    return (chosen * gates[..., None]).sum(dim=1)


def faster_class(part: nn.Module) -> type[nn.Module] | None:
    """Return the class from this file that computes the same as a layer with the same parameters; None for none."""
    if type(part) is nn.Conv2d and part.groups == part.in_channels > 1:
        return ShiftedDepthwise
    others: dict[type[nn.Module], type[nn.Module]] = {
        ChannelLayerNorm: PixelNorm,
        WindowFFTAttention: WindowProductAttention,
    }
    return others.get(type(part))
