"""Building blocks without any decision in them: normalisation, feed-forward, resampling, padding.

Every feature map is ``(B, C, H, W)`` in ``channels_last`` memory, so that the channel axis is the contiguous one:
LayerNorm and the many 1x1 convolutions then read memory in order and nothing has to be rearranged between them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from moceir.models.stripes import Crop, by_stripes, unchanged


def conv1x1(in_channels: int, out_channels: int, *, bias: bool) -> nn.Conv2d:
    """Pointwise convolution."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias)


def conv3x3(in_channels: int, out_channels: int, *, bias: bool) -> nn.Conv2d:
    """Dense 3x3 convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)


def depthwise(channels: int, kernel_size: int, *, bias: bool) -> Depthwise:
    """One ``kernel_size`` x ``kernel_size`` filter per channel, zero-padded so that the size is kept."""
    return Depthwise(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=bias)


class Depthwise(nn.Conv2d):
    """Depthwise convolution; wide kernels get their gradient on the CPU from `ColumnwiseGradient`."""

    def forward(self, input: Tensor) -> Tensor:
        """Filter ``(B, C, H, W)``; the result has the same shape."""
        pays = self.kernel_size[0] >= 5 and input.numel() >= COLUMNWISE_NUMBERS and input.device.type == "cpu"
        plain = torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or not torch.is_grad_enabled()
        if not pays or plain:
            return super().forward(input)
        return ColumnwiseGradient.apply(input, self.weight, self.bias)  # pyright: ignore[reportReturnType] - torch says Any


COLUMNWISE_NUMBERS = 2**17
"""Size of a map from which a weight's gradient is computed by columns: below, the padded copies cost what it saves."""


class ColumnwiseGradient(torch.autograd.Function):
    """Depthwise convolution whose weight's gradient is computed one column of the weight at a time.

    oneDNN (3.12, AVX2) takes three times as long for the gradient of one 7x7 weight as for those of seven 7x1 weights.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve ``(B, C, H, W)`` with ``(C, 1, k, k)``."""
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - made static by torch, not typed so
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Gradients of the map, the weight and the bias."""
        x, weight = ctx.saved_tensors
        (grad,) = grads
        reach = weight.shape[2] // 2
        (batch, channels, height, width), padded = x.shape, x.shape[3] + 2 * reach
        # All rows, padded with zeros, one behind the other: there a shift sideways is a view that begins later.
        pixels = batch * height * padded
        rows = x.new_zeros(pixels + 2 * reach, channels)
        rows[:pixels].view(batch, height, padded, channels)[:, :, reach : reach + width] = x.permute(0, 2, 3, 1)
        wide_grad = grad.new_zeros(batch, height, padded, channels)
        wide_grad[:, :, :width] = grad.permute(0, 2, 3, 1)
        wide_grad = wide_grad.permute(0, 3, 1, 2)

        def column(number: int) -> Tensor:
            shifted = rows[number : number + pixels].view(batch, height, padded, channels).permute(0, 3, 1, 2)
            return _gradients(shifted, weight[..., :1], wide_grad, (reach, 0), of_weight=True)

        return (
            _gradients(x, weight, grad, (reach, reach), of_weight=False),
            torch.cat([column(number) for number in range(weight.shape[3])], dim=3),
            grad.sum(dim=(0, 2, 3)) if ctx.biased else None,
        )


def _gradients(x: Tensor, weight: Tensor, grad: Tensor, padding: tuple[int, int], *, of_weight: bool) -> Tensor:
    """The gradient of a depthwise convolution's weight, or else that of its map."""
    wanted = [not of_weight, of_weight, False]
    ones, zeros = [1, 1], [0, 0]
    found = torch.ops.aten.convolution_backward(
        grad, x, weight, None, ones, list(padding), ones, False, zeros, len(weight), wanted
    )
    return found[int(of_weight)]


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
        self.expand = conv1x1(channels, 2 * hidden, bias=bias)
        self.depthwise = depthwise(2 * hidden, 3, bias=bias)
        self.out = conv1x1(hidden, channels, bias=bias)

    def forward(self, x: Tensor, before: Crop = unchanged, onto: Tensor | None = None) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape; ``before`` and ``onto`` are as for ``MDTA``."""

        def rows(crop: Crop, x: Tensor, *base: Tensor) -> Tensor:
            gate, value = crop(self.depthwise(self.expand(before(x)))).chunk(2, dim=1)
            return sum(map(crop, base), start=self.out(F.gelu(gate) * value))

        return by_stripes(rows, x, reach=1) if onto is None else by_stripes(rows, x, onto, reach=1, into=onto)


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
