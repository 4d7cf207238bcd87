"""Keep the brightness and colour of the input: dusk is not always underexposure, and mist is not always a fault.

In two steps. A power of the whole picture makes it as dark as the input; it leaves black and white alone, so lamps stay
bright. Then a guided filter (He, Sun, Tang 2013) with the restored picture as the guide: in every window the input is
fitted by an affine function of the restored picture, per channel. What the fit cannot explain (noise, streaks, blocks)
stays removed. What it explains is the change of brightness and colour, and that is undone. All edges come from the
restored picture, so there are no halos beside them.

The fit uses means of cells (the fast variant of He and Sun 2015), so that noise and blur hardly matter. It is robust:
cells that streaks brighten count less. About half of the light that dense rain adds to a window still stays.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Image = TypeVar("Image", Tensor, NDArray[Any])
"""What `keep_tones` takes and gives back."""

_CELL_PX = 4
_MOST_CELLS = 512
"""Cells have at least `_CELL_PX`, and larger ones where the longer side would have more than this."""
_RADIUS = 4
"""Radius of the windows, in cells."""
_FLAT = (2 / 255) ** 2
"""Variance of the restored cells below which a window is taken for flat, so that its slope has to be assumed."""
_REFITS = 2
"""The first fit takes all cells alike; each further one gives less weight to those that the last one missed."""
_LARGEST_POWER = 6.0
"""A picture that the network made brighter than this power can undo keeps the rest for the fit in windows."""
_STRIPE_PX = 1 << 21
"""Pixels for which the coefficients are laid out at once; bounds the memory beside the result."""


def keep_tones(degraded: Image, restored: Image) -> Image:
    """Give a restored picture the brightness and colour that the degraded one has at large scales.

    Args:
        degraded: What was restored: `(H, W, 3)` array or `(B, 3, H, W)` tensor of floats in [0, 1].
        restored: The result, of the same type and shape.

    Returns:
        The details of `restored` with the tones of `degraded`, in [0, 1], of the type and shape of `restored`.

    Raises:
        ValueError: If the two differ in shape, are not floating point, or have another layout.
    """
    if isinstance(degraded, np.ndarray) and isinstance(restored, np.ndarray):
        first, second = (_to_tensor(image) for image in (degraded, restored))
        return _keep(first, second)[0].permute(1, 2, 0).numpy()
    if isinstance(degraded, Tensor) and isinstance(restored, Tensor):
        return _keep(degraded, restored)
    raise ValueError(f"expected two arrays or two tensors, got {type(degraded).__name__} and {type(restored).__name__}")


def _to_tensor(image: NDArray[Any]) -> Tensor:
    if image.ndim != 3:
        raise ValueError(f"an array must be (H, W, 3), got {image.shape}")
    # torch shares memory only with arrays that can be written to and do not run backwards.
    return torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]


def _keep(degraded: Tensor, restored: Tensor) -> Tensor:
    for image in (degraded, restored):
        if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
            raise ValueError(f"images must be floating point with three channels, got {image.dtype} {image.shape}")
    if degraded.shape != restored.shape:
        raise ValueError(f"both must have the same shape, got {tuple(degraded.shape)} and {tuple(restored.shape)}")
    if not restored.numel():
        return restored.clone()
    height, width = restored.shape[-2:]
    cell = max(_CELL_PX, math.ceil(max(height, width) / _MOST_CELLS))
    grid = (math.ceil(height / cell), math.ceil(width / cell))
    kept = restored ** _power(degraded, restored)
    slope, offset = _fit(F.adaptive_avg_pool2d(degraded, grid), F.adaptive_avg_pool2d(kept, grid))
    stripe = max(1, _STRIPE_PX // width)
    for top in range(0, height, stripe):
        rows = slice(top, min(top + stripe, height))
        part = kept[:, :, rows]
        part.mul_(_enlarged(slope, rows, height, width)).add_(_enlarged(offset, rows, height, width))
    return kept.clamp_(0, 1)


def _power(degraded: Tensor, restored: Tensor) -> Tensor:
    """Find the power of each restored picture that makes it as dark as the degraded one, `(B, 1, 1, 1)` from 1."""
    sample = (slice(None), slice(None), *(slice(None, None, max(1, side // 256)) for side in restored.shape[-2:]))
    wanted, values = degraded[sample].mean((1, 2, 3), keepdim=True), restored[sample]
    low, high = torch.ones_like(wanted), torch.full_like(wanted, _LARGEST_POWER)
    for _ in range(12):
        middle = (low + high) / 2
        bright = (values**middle).mean((1, 2, 3), keepdim=True) > wanted
        low, high = torch.where(bright, middle, low), torch.where(bright, high, middle)
    return low


def _fit(degraded: Tensor, restored: Tensor) -> tuple[Tensor, Tensor]:
    """Fit `degraded = slope * restored + offset` around each cell, all `(B, 3, h, w)`; outliers weigh little."""
    slope, offset = _weighted_fit(degraded, restored, torch.ones_like(restored))
    for _ in range(_REFITS):
        misfit = (degraded - slope * restored - offset).abs()
        weight = 1 / (1 + (misfit / (_window_mean(misfit) + 1 / 255)).square())
        slope, offset = _weighted_fit(degraded, restored, weight)
    return slope, offset


def _weighted_fit(degraded: Tensor, restored: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Fit in each window, then average the fits of the windows that hold a cell (equations 5 to 8 of the paper)."""
    total = _window_mean(weight)
    mean, wanted = _window_mean(weight * restored) / total, _window_mean(weight * degraded) / total
    variance = (_window_mean(weight * restored.square()) / total - mean.square()).clamp(min=0)
    covariance = _window_mean(weight * restored * degraded) / total - mean * wanted
    # In a flat window, details keep their size relative to the brightness, and never grow.
    assumed = (wanted / mean.clamp(min=1 / 255)).clamp(max=1)
    slope = ((covariance + _FLAT * assumed) / (variance + _FLAT)).clamp(min=0)
    return _window_mean(slope), _window_mean(wanted - slope * mean)


def _window_mean(cells: Tensor) -> Tensor:
    return F.avg_pool2d(cells, 2 * _RADIUS + 1, stride=1, padding=_RADIUS, count_include_pad=False)


def _enlarged(cells: Tensor, rows: slice, height: int, width: int) -> Tensor:
    """Interpolate cells `(B, C, h, w)` to some rows of the picture that has the given size."""
    places = torch.arange(rows.start, rows.stop, dtype=cells.dtype, device=cells.device)
    places = ((places + 0.5) * (cells.shape[-2] / height) - 0.5).clamp(0, cells.shape[-2] - 1)
    upper = places.floor().long()
    lower = (upper + 1).clamp(max=cells.shape[-2] - 1)
    lines = torch.lerp(cells[:, :, upper], cells[:, :, lower], (places - upper)[:, None])
    return F.interpolate(lines, (len(places), width), mode="bilinear", align_corners=False)
