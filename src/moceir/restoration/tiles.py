"""Where overlapping tiles lie in a picture, and how much each counts where they meet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

STEP = 128
"""Tiles begin at multiples of this many pixels, where windows of the whole picture begin at every level (32 pixels at
a quarter of its resolution); and they overlap by as much."""
SMALLEST_TILE = 2 * STEP


def starts(side: int, tile: int) -> list[int]:
    """Where tiles begin along one side of the picture; the last one ends with the picture."""
    return list(range(0, max(side - STEP, 1), tile - STEP))


def ramp(start: int, length: int, side: int) -> NDArray[np.float32]:
    """Weights of one tile's pixels along one side; those of all tiles add up to 1 everywhere.

    Where two tiles overlap, one fades in and the other out over the middle half: pixels at the very edge of a tile,
    which saw the least of their surroundings, have no say.
    """
    weights = np.ones(length, np.float32)
    fade_in = (2 * (np.arange(STEP, dtype=np.float32) + 0.5) / STEP - 0.5).clip(0, 1)
    if start > 0:
        weights[:STEP] = fade_in
    if start + length < side:
        weights[-STEP:] = 1 - fade_in
    return weights


def tile_sides(largest: int) -> Iterator[int]:
    """Sides of tiles to try for a picture, from large to small."""
    side = -(-largest // STEP) * STEP
    while side > SMALLEST_TILE:
        side = max(side // 2 // STEP * STEP, SMALLEST_TILE)
        yield side
