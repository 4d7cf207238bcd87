"""Complexity experts: the same computation at growing ranks and window sizes, from cheap and local to wide and costly.

Source: MoCE-IR (arXiv 2411.18466), section 3.2.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.models.layers import (
    INSIDE_BLOCK,
    INTO_BLOCK,
    OUT_OF_BLOCK,
    ChannelLayerNorm,
    conv1x1,
    depthwise,
)

EXPERT_REACH = 3
"""Rows beyond its windows that an expert sees, through its 7x7 kernels."""


def window_convolution(q: Tensor, k: Tensor, window: int) -> Tensor:
    """Circularly convolve ``q`` with ``k`` within each window of each channel.

    Args:
        q: ``(B, C, H, W)``, any H and W; zero-padded at the bottom and right to whole windows.
        k: The same shape.
        window: Side of the square windows, in pixels.

    Returns:
        ``(B, C, H, W)``.
    """
    batch, channels, height, width = q.shape
    rows, columns = -(-height // window), -(-width // window)
    pad = (0, columns * window - width, 0, rows * window - height)

    # Half-precision spectra exist on few devices and for few sizes only.
    precision = torch.promote_types(q.dtype, torch.float32)

    def spectrum(x: Tensor) -> Tensor:
        x = F.pad(x.to(precision), pad).reshape(batch, channels, rows, window, columns, window)
        return torch.fft.rfft2(x, dim=(3, 5))

    o = torch.fft.irfft2(spectrum(q) * spectrum(k), s=(window, window), dim=(3, 5))
    return o.reshape(batch, channels, rows * window, columns * window)[..., :height, :width].to(q.dtype)


class WindowFFTAttention(nn.Module):
    """Attention as a product of spectra: queries and keys meet by circular convolution inside each window."""

    wiring: ClassVar = dict.fromkeys(("q", "q_depthwise", "kv", "kv_depthwise", "norm", "out"), INSIDE_BLOCK)

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.q = conv1x1(channels, channels, bias=False)
        self.q_depthwise = depthwise(channels, 3, bias=True)
        self.kv = conv1x1(channels, 2 * channels, bias=False)
        self.kv_depthwise = depthwise(2 * channels, 7, bias=True)
        self.norm = ChannelLayerNorm(channels)
        self.out = conv1x1(channels, channels, bias=True)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute queries, keys and values of ``(B, r, H, W)``."""
        k, v = self.kv_depthwise(self.kv(x)).chunk(2, dim=1)
        return self.q_depthwise(self.q(x)), k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Combine queries, keys and values, each ``(B, r, H, W)``; windows begin at the top left."""
        return self.out(self.norm(window_convolution(q, k, self.window)) * v)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, r, H, W)`` to the same shape."""
        return self.attend(*self.project(x))


class Expert(nn.Module):
    """One complexity expert: ``x + expand(attention(reduce(x)) * SiLU(modulate(shared)))``."""

    wiring: ClassVar = {"reduce": INTO_BLOCK, "modulate": INTO_BLOCK, "expand": OUT_OF_BLOCK}

    def __init__(self, channels: int, rank: int, window: int) -> None:
        super().__init__()
        self.reduce = conv1x1(channels, rank, bias=False)
        self.modulate = conv1x1(channels, rank, bias=False)
        self.expand = conv1x1(rank, channels, bias=False)
        self.attention = WindowFFTAttention(rank, window)

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        """Refine ``x`` under the guidance of ``shared``, both ``(B, C, H, W)``; the result has the same shape."""
        return self.refine(x, shared, self.attention(self.reduce(x)))

    def refine(self, x: Tensor, shared: Tensor, attended: Tensor) -> Tensor:
        """Add the modulated attention ``(B, r, H, W)`` to ``x``."""
        return x + self.expand(attended * F.silu(self.modulate(shared)))
