"""Building blocks without a decision in them: convolutions, normalisation, feed-forward, resampling, padding.

Feature maps are ``(B, C, H, W)``.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.errors import ImageError


class Wiring(NamedTuple):
    """Which channels a layer reads and writes; growth into a wider network follows it (``moceir.weights.growth``).

    ``stream`` is the residual stream, ``inner`` the channels inside a block (heads, hidden layers, experts), and
    ``joined`` the upsampled stream followed by the skip connection.
    """

    reads: Literal["stream", "inner", "joined"] = "stream"
    writes: Literal["stream", "inner"] = "stream"


INTO_BLOCK = Wiring("stream", "inner")
INSIDE_BLOCK = Wiring("inner", "inner")
OUT_OF_BLOCK = Wiring("inner", "stream")


def conv1x1(in_channels: int, out_channels: int, *, bias: bool) -> nn.Conv2d:
    """Create a convolution that mixes the channels of each pixel."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias)


def conv3x3(in_channels: int, out_channels: int, *, bias: bool) -> nn.Conv2d:
    """Create a dense 3x3 convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)


def depthwise(channels: int, kernel_size: int, *, bias: bool) -> nn.Conv2d:
    """Create one ``kernel_size`` x ``kernel_size`` filter per channel, zero-padded so that the size is kept."""
    return nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=bias)


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel (eps 1e-5), for ``(B, C, H, W)`` feature maps."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``; the result has the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GDFN(nn.Module):
    """Gated depthwise feed-forward network: ``contract(GELU(a) * b)`` with ``a, b = split(depthwise3(expand(x)))``.

    Source: Restormer (arXiv 2111.09881), section 3.2. The hidden width is twice the channels.
    """

    wiring: ClassVar = {"expand": INTO_BLOCK, "depthwise": INSIDE_BLOCK, "out": OUT_OF_BLOCK}

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        hidden = 2 * channels
        self.expand = conv1x1(channels, 2 * hidden, bias=bias)
        self.depthwise = depthwise(2 * hidden, 3, bias=bias)
        self.out = conv1x1(hidden, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        return self.contract(self.depthwise(self.expand(x)))

    def contract(self, hidden: Tensor) -> Tensor:
        """Gate and project the hidden maps, ``(B, 4C, H, W)`` to ``(B, C, H, W)``."""
        gate, value = hidden.chunk(2, dim=1)
        return self.out(F.gelu(gate) * value)


class FrequencyEmbedding(nn.Module):
    """One vector per image, ``(B, D)``, that tells the routers how much fine structure the latent features hold."""

    wiring: ClassVar = {"mlp.0": INTO_BLOCK, "mlp.2": INSIDE_BLOCK}

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.high_pass = depthwise(channels, 3, bias=False)
        laplacian = torch.full((3, 3), -1.0)
        laplacian[1, 1] = 8.0
        self.high_pass.weight = nn.Parameter(laplacian.expand(channels, 1, 3, 3).clone(), requires_grad=False)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, latent: Tensor) -> Tensor:
        """Embed ``(B, D, H/8, W/8)``."""
        return self.mlp(self.detail(latent).mean(dim=(2, 3)))

    def detail(self, latent: Tensor) -> Tensor:
        """Filter the latent features; the result has the same shape."""
        return F.gelu(self.high_pass(latent))


class Downsample(nn.Sequential):
    """``(B, C, H, W)`` to ``(B, 2C, H/2, W/2)``: 3x3 convolution to C/2, then pixel-unshuffle."""

    wiring: ClassVar = {"0": INTO_BLOCK}

    def __init__(self, channels: int) -> None:
        super().__init__(conv3x3(channels, channels // 2, bias=False), nn.PixelUnshuffle(2))


class Upsample(nn.Sequential):
    """``(B, C, H, W)`` to ``(B, C/2, 2H, 2W)``: 3x3 convolution to 2C, then pixel-shuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__(conv3x3(channels, 2 * channels, bias=False), nn.PixelShuffle(2))


class Enlargement(nn.Sequential):
    """``(B, C, H, W)`` to ``(B, 3, sH, sW)``: 3x3 convolution to 3s^2, then pixel-shuffle; zero before training.

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network" (arXiv 1609.05158).
    """

    wiring: ClassVar = {"0": Wiring("stream", "inner")}

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__(conv3x3(channels, 3 * scale**2, bias=False), nn.PixelShuffle(scale))
        nn.init.zeros_(self.get_submodule("0").get_parameter("weight"))


BICUBIC_REACH = 2
"""Rows and columns by which a pixel of ``bicubic`` depends on its surroundings."""


def bicubic(images: Tensor, scale: int) -> Tensor:
    """Enlarge ``(B, C, H, W)`` to ``(B, C, sH, sW)`` by cubic convolution; pixels at the border are repeated.

    Written as sums of shifted pictures, which keep the type under autocast and which every exporter knows. Torch's own
    has another kernel (a = -3/4).
    Source: Keys, "Cubic convolution interpolation for digital image processing" (IEEE TASSP 1981), a = -1/2.
    """
    if scale == 1:
        return images
    enlarged = F.pad(images, (BICUBIC_REACH,) * 4, mode="replicate")
    for axis in (2, 3):
        size = images.shape[axis]
        phases: list[Tensor] = []
        for phase in range(scale):
            centre = (phase + 0.5) / scale - 0.5
            taps = [(shift, _cubic(abs(centre - shift))) for shift in range(-BICUBIC_REACH, BICUBIC_REACH + 1)]
            first, *others = (
                enlarged.narrow(axis, BICUBIC_REACH + shift, size) * weight for shift, weight in taps if weight
            )
            phases.append(sum(others, start=first))
        enlarged = torch.stack(phases, dim=axis + 1).flatten(axis, axis + 1)
    return enlarged


def _cubic(distance: float) -> float:
    if distance >= 2:
        return 0.0
    if distance > 1:
        return ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return (1.5 * distance - 2.5) * distance**2 + 1


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Extend ``(B, C, H, W)`` at the bottom and right by reflection until both sides are multiples.

    Unlike ``F.pad(mode="reflect")``, the reflection bounces as often as needed, so even a 1x1 image can be padded.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        missing = -size % multiple
        if missing:
            period = max(2 * (size - 1), 1)
            phase = torch.arange(size + missing, device=images.device) % period
            images = images.index_select(axis, torch.minimum(phase, period - phase))
    return images


def check_images(images: Tensor) -> Tensor:
    """Return a batch that the network takes.

    Raises:
        ImageError: If the input is not a floating ``(B, 3, H, W)`` with at least one pixel.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel() or not images.is_floating_point():
        raise ImageError(
            f"the network takes float images (B, 3, H, W) in [0, 1], got {tuple(images.shape)} of {images.dtype}; "
            "use moceir.Restorer for uint8 arrays and single pictures"
        )
    return images
