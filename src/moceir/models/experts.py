"""Complexity experts: the same computation at four ranks and window sizes, from cheap and local to wide and dear.

Source: MoCE-IR (arXiv 2411.18466), section 3.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.models.execution.pointwise import Pointwise
from moceir.models.execution.stripes import Crop, unchanged
from moceir.models.layers import ChannelLayerNorm, depthwise

EXPERT_REACH = 3
"""Rows beyond its windows that an expert sees, with its 7x7 kernels."""


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

    # Half-precision spectra exist on few devices and only for few sizes.
    precision = torch.promote_types(q.dtype, torch.float32)

    def spectrum(x: Tensor) -> Tensor:
        x = F.pad(x.to(precision), pad).reshape(batch, channels, rows, window, columns, window)
        return torch.fft.rfft2(x, dim=(3, 5))

    o = torch.fft.irfft2(spectrum(q) * spectrum(k), s=(window, window), dim=(3, 5))
    o = o.reshape(batch, channels, rows * window, columns * window)[..., :height, :width]
    return o.to(q.dtype).contiguous(memory_format=torch.channels_last)


class WindowFFTAttention(nn.Module):
    """Attention as a product of spectra: queries and keys meet by circular convolution inside each window."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.q = Pointwise(channels, channels, bias=False)
        self.q_depthwise = depthwise(channels, 3, bias=True)
        self.kv = Pointwise(channels, 2 * channels, bias=False)
        self.kv_depthwise = depthwise(2 * channels, 7, bias=True)
        self.norm = ChannelLayerNorm(channels)
        self.out = Pointwise(channels, channels, bias=True)

    def forward(self, x: Tensor, crop: Crop = unchanged) -> Tensor:
        """Map ``(B, r, H, W)`` to the same shape, or to the rows that ``crop`` leaves: whole windows from the top."""
        q = crop(self.q_depthwise(self.q(x)))
        k, v = crop(self.kv_depthwise(self.kv(x))).chunk(2, dim=1)
        return self.out(self.norm(window_convolution(q, k, self.window)) * v)


class Expert(nn.Module):
    """One complexity expert: ``x + expand(attention(reduce(x)) * SiLU(modulate(shared)))``."""

    def __init__(self, channels: int, rank: int, window: int) -> None:
        super().__init__()
        self.reduce = Pointwise(channels, rank, bias=False)
        self.modulate = Pointwise(channels, rank, bias=False)
        self.expand = Pointwise(rank, channels, bias=False)
        self.attention = WindowFFTAttention(rank, window)

    def forward(self, x: Tensor, shared: Tensor, crop: Crop = unchanged) -> Tensor:
        """Refine ``x`` under the guidance of ``shared``, both ``(B, C, H, W)``.

        The result has the same shape, or the rows that ``crop`` leaves (see ``by_stripes``).
        """
        attended = self.attention(self.reduce(x), crop)
        return crop(x) + self.expand(attended * F.silu(self.modulate(crop(shared))))
