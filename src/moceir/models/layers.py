"""Building blocks without any decision in them: normalisation, feed-forward, resampling, padding.

Every feature map is ``(B, C, H, W)`` in ``channels_last`` memory, so that the channel axis is the contiguous one:
LayerNorm and the many 1x1 convolutions then read memory in order and nothing has to be rearranged between them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.models.execution.pointwise import Pointwise
from moceir.models.execution.stripes import Crop, by_stripes, unchanged


def conv3x3(in_channels: int, out_channels: int, *, bias: bool) -> nn.Conv2d:
    """Dense 3x3 convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)


def depthwise(channels: int, kernel_size: int, *, bias: bool) -> nn.Conv2d:
    """One ``kernel_size`` x ``kernel_size`` filter per channel, zero-padded so that the size is kept."""
    return nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=bias)


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel (eps 1e-5), for ``(B, C, H, W)`` feature maps."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``; the result has the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GDFN(nn.Module):
    """Gated depthwise feed-forward network: ``out(GELU(a) * b)`` with ``a, b = split(dw3(expand(x)))``.

    Source: Restormer (arXiv 2111.09881), section 3.2. The hidden width is twice the channels.
    """

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        hidden = 2 * channels
        self.expand = Pointwise(channels, 2 * hidden, bias=bias)
        self.depthwise = depthwise(2 * hidden, 3, bias=bias)
        self.out = Pointwise(hidden, channels, bias=bias)

    def forward(self, x: Tensor, before: Crop = unchanged, onto: Tensor | None = None) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape; ``before`` and ``onto`` are as for ``MDTA``."""

        def rows(crop: Crop, x: Tensor) -> Tensor:
            gate, value = crop(self.depthwise(self.expand(before(x)))).chunk(2, dim=1)
            return self.out(F.gelu(gate) * value)

        return by_stripes(rows, x, reach=1, onto=onto)


class Downsample(nn.Sequential):
    """``(B, C, H, W)`` to ``(B, 2C, H/2, W/2)``: 3x3 convolution to C/2, then pixel-unshuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__(conv3x3(channels, channels // 2, bias=False), nn.PixelUnshuffle(2))


class Upsample(nn.Sequential):
    """``(B, C, H, W)`` to ``(B, C/2, 2H, 2W)``: 3x3 convolution to 2C, then pixel-shuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__(conv3x3(channels, 2 * channels, bias=False), nn.PixelShuffle(2))


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Extend ``(B, C, H, W)`` at the bottom and right by reflection until both sides are multiples.

    Unlike ``F.pad(mode="reflect")`` the reflection bounces as often as needed, so a 1x1 image can be padded too.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        missing = -size % multiple
        if missing:
            period = max(2 * (size - 1), 1)
            phase = torch.arange(size + missing, device=images.device) % period
            images = images.index_select(axis, torch.minimum(phase, period - phase))
    return images
