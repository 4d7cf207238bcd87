"""Memory that a picture needs, predicted."""

from __future__ import annotations

from moceir.config import ModelConfig
from moceir.models.execution.stripes import CPU_STRIPE_BYTES, DEVICE_STRIPE_BYTES, WIDEST
from moceir.models.experts import EXPERT_REACH

FULL_MAPS = 3
"""Feature maps of the network's width that a routed block needs at full resolution; nothing else needs as many."""
IMAGE_BYTES = 24
"""Bytes per pixel of the picture and its padded copy, as 32-bit floats."""
ENLARGED_BYTES = 36
"""Bytes per pixel of an enlarged picture: the result of the tail and its copy in [0, 1], as 32-bit floats, and as much
again as one of them: peaks of the same picture differ by nearly that much between runs."""
SLACK = 1.1
"""Factor for what the allocator needs beyond what is asked of it."""
WINDOW_STRIPES = 12
"""Intermediates of the largest expert in a stripe of its windows, in maps of the network's width."""
FIXED_BYTES = 64 * 2**20
"""Memory of kernels and their scratch, whatever the size. With the three constants above, every peak that
``benchmarks/memory.py`` measured is below the prediction."""


def peak_bytes(config: ModelConfig, height: int, width: int, batch: int = 1, device: str = "cpu") -> int:
    """Predict the peak memory of restoring pictures whole, beside the loaded network, in bytes.

    Args:
        config: Shape of the network.
        height: Of each picture, in pixels.
        width: Likewise.
        batch: Pictures at a time.
        device: Kind of device, for example ``cpu``.
    """
    rows, columns = config.padded_size(height, width)
    pixel = 4 * config.dim  # channels times columns are the same at all levels
    maps = FULL_MAPS * pixel * rows * columns
    stripe_rows = min(rows, config.expert_windows()[-1] + 2 * EXPERT_REACH)
    stripe = WINDOW_STRIPES * pixel * stripe_rows * columns
    other_stripes = 4 * (CPU_STRIPE_BYTES if device == "cpu" else DEVICE_STRIPE_BYTES)
    whole = 4 * WIDEST * pixel * rows * columns  # where a picture is too small to be cut
    work = SLACK * maps + stripe
    if config.scale > 1:  # when the picture is enlarged, one of the maps is left
        work = max(work, (pixel + ENLARGED_BYTES * config.scale**2) * rows * columns)
    return round(batch * (work + IMAGE_BYTES * rows * columns) + min(other_stripes, batch * whole)) + FIXED_BYTES


def needed_bytes(config: ModelConfig, height: int, width: int, tile: int | None, batch: int, device: str) -> int:
    """Predict the peak memory of restoring pictures, whole or in tiles, beside the loaded network, in bytes.

    Args:
        config: Shape of the network.
        height: Of each picture, in pixels.
        width: Likewise.
        tile: Side of the tiles in pixels; None for whole pictures.
        batch: Pictures at a time.
        device: Kind of device, for example ``cpu``.
    """
    if tile is None:
        return peak_bytes(config, height, width, batch, device)
    pictures = batch * IMAGE_BYTES * height * width
    if config.scale > 1:
        pictures += batch * ENLARGED_BYTES * height * width * config.scale**2
    return pictures + peak_bytes(config, min(tile, height), min(tile, width), batch, device)
