"""Pictures with alpha: what is where nothing can be seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moceir.image_io.picture import Pixels

Floats = NDArray[np.float32]


def fill_transparent(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Give fully transparent pixels the colours of the visible ones around them.

    Programs leave anything there, mostly black or white, and a network would take the border for an edge and smear it
    into what can be seen.

    Args:
        rgb: ``(H, W, 3)``, colours not multiplied by alpha; integers, or floats in [0, 1].
        alpha: ``(H, W)``; its type may differ.

    Returns:
        ``(H, W, 3)`` of the same type; visible pixels are untouched.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return rgb
    weight = (alpha / (np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1)).astype(np.float32)[..., None]
    filled = _spread((rgb * weight).astype(np.float32, copy=False), weight)
    return np.where(hidden[..., None], (np.rint(filled) if rgb.dtype.kind == "u" else filled).astype(rgb.dtype), rgb)


def over_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Lay a picture on white paper: ``(H, W, 3)`` of the same type."""
    top = np.iinfo(rgb.dtype).max
    weight = (alpha / np.iinfo(alpha.dtype).max).astype(np.float32)[..., None]
    return np.rint(rgb * weight + top * (1 - weight)).astype(rgb.dtype)


def _spread(weighted: Floats, weight: Floats) -> Floats:
    """Colours everywhere from weighted colours ``(H, W, 3)`` and their weights ``(H, W, 1)``.

    Where there are none, they come from a picture of half the size, made the same way.
    """
    known = np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight > 0)
    height, width = weight.shape[:2]
    if weight.all() or max(height, width) == 1:
        return known
    coarse = _spread(_halve(weighted), _halve(weight))
    return np.where(weight > 0, known, coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width])


def _halve(values: Floats) -> Floats:
    """Sums over squares of four pixels, ``(ceil(H/2), ceil(W/2), C)``."""
    height, width = values.shape[:2]
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
