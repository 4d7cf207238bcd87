"""Image operations shared by several degradations: reflection, blurs, splatting and smooth random fields."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows of points splatted at once; limits temporary memory on large photographs to tens of megabytes.
_SPLAT_ROWS = 8192
# Longer side of the grid on which the guided filter is fitted.
_GUIDE_PX = 96


def reflect_pad(images: Tensor, pad: int) -> Tensor:
    """Pad pictures by reflection, repeatedly if they are smaller than the padding.

    ``torch.nn.functional.pad`` requires a padding smaller than the picture; this function accepts any size from 1x1.

    Args:
        images: ``(B, C, H, W)``.
        pad: Pixels to add on each side.

    Returns:
        ``(B, C, H + 2 pad, W + 2 pad)``.
    """

    def indices(size: int) -> Tensor:
        period = max(2 * (size - 1), 1)
        position = torch.arange(-pad, size + pad, device=images.device).remainder(period)
        return (size - 1) - (position - (size - 1)).abs()

    return images[..., indices(images.shape[-2]), :][..., indices(images.shape[-1])]


def convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each picture with its own kernel, reflecting at the border.

    Works in the Fourier domain: kernels can exceed 30 pixels, for which direct convolution is many times slower.

    Args:
        images: ``(B, C, H, W)``.
        kernels: Centred kernels ``(B, K, K)``, K odd.

    Returns:
        ``(B, C, H, W)``.
    """
    height, width = images.shape[-2:]
    radius = kernels.shape[-1] // 2
    padded = reflect_pad(images, radius)
    # Multiples of 16 avoid slow prime lengths. The wrap-around falls into the border that is cropped below.
    size = [math.ceil(length / 16) * 16 for length in padded.shape[-2:]]
    # torch has no types for its Fourier transforms.
    spectrum = cast("Tensor", torch.fft.rfft2(padded, s=size))  # pyright: ignore[reportUnknownMemberType]
    response = cast("Tensor", torch.fft.rfft2(kernels, s=size))  # pyright: ignore[reportUnknownMemberType]
    full = cast("Tensor", torch.fft.irfft2(spectrum * response[:, None], s=size))  # pyright: ignore[reportUnknownMemberType]
    return full[..., 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def gaussian_blur(plane: Tensor, sigma_px: float) -> Tensor:
    """Blur one plane with a Gaussian, with zeros beyond the border.

    Args:
        plane: ``(H, W)``.
        sigma_px: Standard deviation in pixels.

    Returns:
        ``(H, W)``.
    """
    radius = max(1, math.ceil(3 * sigma_px))
    steps = torch.arange(-radius, radius + 1, dtype=plane.dtype, device=plane.device)
    kernel = torch.exp(-0.5 * (steps / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    rows = F.conv2d(plane[None, None], kernel.view(1, 1, -1, 1), padding=(radius, 0))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1), padding=(0, radius))[0, 0]


def splat(y_px: Tensor, x_px: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """Add weighted points to an empty plane, distributing each over its four nearest pixels.

    Args:
        y_px: Rows ``(N, P)``, fractional; pixel centres are at integers. Points outside the plane are dropped.
        x_px: Columns ``(N, P)``.
        weight: Weights of the points, ``(N, P)``.
        height: Height of the plane in pixels.
        width: Width of the plane in pixels.

    Returns:
        ``(H, W)``.
    """
    # A rim around the plane (one pixel above and left, two below and right) collects points outside: they are clamped
    # to it, so that all four neighbours of every point exist.
    stride = width + 3
    plane = weight.new_zeros((height + 3) * stride)
    parts = math.ceil(len(y_px) / _SPLAT_ROWS) or 1
    for ys, xs, ws in zip(y_px.chunk(parts), x_px.chunk(parts), weight.chunk(parts), strict=True):
        y, x = ys.clamp(-1, height).flatten(), xs.clamp(-1, width).flatten()
        top, left = y.floor(), x.floor()
        index = (top.long() + 1) * stride + (left.long() + 1)
        right = x - left
        lower = ws.flatten() * (y - top)
        upper = ws.flatten() - lower
        lower_right, upper_right = lower * right, upper * right
        for step, share in (
            (0, upper - upper_right),
            (1, upper_right),
            (stride, lower - lower_right),
            (stride + 1, lower_right),
        ):
            plane[step:].index_add_(0, index, share)
    return plane.view(height + 3, stride)[1 : height + 1, 1 : width + 1]


def stretch(field: Tensor) -> Tensor:
    """Scale each ``(C, H, W)`` field of a batch to the range [0, 1]; constant fields become 0."""
    low = field.amin((1, 2, 3), keepdim=True)
    return (field - low) / (field.amax((1, 2, 3), keepdim=True) - low).clamp(min=1e-6)


def smooth_noise(images: Tensor, cells: int, generator: torch.Generator) -> Tensor:
    """Draw a low-frequency random field for each picture.

    Args:
        images: Pictures ``(B, 3, H, W)`` that define shape, dtype and device.
        cells: Approximate number of bumps along each side; a second octave adds bumps of half the size and strength.
        generator: Source of randomness.

    Returns:
        ``(B, 1, H, W)`` in [0, 1].
    """
    batch, _, height, width = images.shape
    field = images.new_zeros(batch, 1, height, width)
    for grid, weight in ((cells, 1.0), (2 * cells, 0.5)):
        knots = torch.randn(batch, 1, grid, grid, generator=generator, dtype=images.dtype, device=images.device)
        field = field + weight * F.interpolate(knots, size=(height, width), mode="bicubic", align_corners=False)
    return stretch(field)


def guided_filter(guide: Tensor, target: Tensor, radius_share: float = 0.06, epsilon: float = 1e-3) -> Tensor:
    """Smooth ``target`` but preserve the edges of ``guide`` (He, Sun, Tang 2010; coarse-grid variant of 2015).

    The linear coefficients are fitted on a grid of at most 96 pixels, so the cost hardly depends on the picture size.

    Args:
        guide: ``(B, 1, H, W)`` in [0, 1].
        target: ``(B, 1, H, W)``.
        radius_share: Radius of the window as a fraction of the longer side.
        epsilon: Variance below which the guide counts as flat.

    Returns:
        ``(B, 1, H, W)``.
    """
    size = (guide.shape[-2], guide.shape[-1])
    scale = min(1.0, _GUIDE_PX / max(size))
    grid = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    radius = max(1, round(radius_share * max(grid)))

    # Products with band matrices are faster than pooling on such a small grid, and handle all planes at once.
    rows, columns = window_means(grid[0], radius, guide), window_means(grid[1], radius, guide)

    def means(*planes: Tensor) -> Tensor:
        return rows @ torch.cat(planes, dim=1) @ columns.T

    small, wanted = F.adaptive_avg_pool2d(guide, grid), F.adaptive_avg_pool2d(target, grid)
    mean_small, mean_wanted, mean_product, mean_square = means(small, wanted, small * wanted, small**2).split(1, dim=1)
    slope = (mean_product - mean_small * mean_wanted) / (mean_square - mean_small**2 + epsilon)
    offset = mean_wanted - slope * mean_small
    coefficients = F.interpolate(means(slope, offset), size=size, mode="bilinear", align_corners=False)
    return coefficients[:, :1] * guide + coefficients[:, 1:]


def window_means(size: int, radius: int, like: Tensor) -> Tensor:
    """Build the ``(size, size)`` matrix of sliding-window means, with windows truncated at the ends."""
    steps = torch.arange(size, device=like.device)
    band = ((steps[:, None] - steps).abs() <= radius).to(like.dtype)
    return band / band.sum(1, keepdim=True)


def luma(images: Tensor) -> Tensor:
    """Compute the luma ``(B, 1, H, W)`` of ``(B, 3, H, W)`` RGB pictures (BT.601)."""
    return images[:, :1] * 0.299 + images[:, 1:2] * 0.587 + images[:, 2:] * 0.114


def lift(images: Tensor, amount: Tensor, level: float) -> Tensor:
    """Lay a thin veil over pictures: values below ``level`` move towards it, brighter ones stay.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1].
        amount: Opacity of the veil, ``(B, 1, 1, 1)`` in [0, 1].
        level: Brightness of the veil in [0, 1].

    Returns:
        ``(B, 3, H, W)``, nowhere darker than ``images``.
    """
    return images + amount * (level - images).clamp(min=0)
