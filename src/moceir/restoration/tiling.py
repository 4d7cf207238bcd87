"""The fallback for pictures that do not fit into memory: overlapping tiles, blended where they meet.

Attention compares channels over the whole picture, and routers average over it. All tiles share these sums, so that
they are treated as parts of one picture. They are gathered in two passes: over a sample of the picture, which decides
on the route; then over tiles side by side, as parts of what the sample shows, which takes as long as restoring the
picture once. What still differs from the whole picture: in each layer the second pass sums up features that earlier
layers made with the sums of the sample, and near their borders tiles do not see all that is around them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from moceir.models.execution import Statistics, for_inference
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision

STEP = 128
"""Tiles begin at multiples of this many pixels, where windows of the whole picture begin at every level (32 pixels at
a quarter of its resolution); and they overlap by as much."""
SMALLEST_TILE = 2 * STEP
PATCH = 64
"""Side of the patches of a sample: small ones see more of the picture, and more borders that it does not have."""


def restore_in_tiles(
    network: MoCEIR, images: Tensor, tile: int, routes: Tensor | None = None, effort: float = 0.0
) -> tuple[Tensor, list[RoutingDecision]]:
    """Restore a picture tile by tile, close to what it is restored to whole.

    Args:
        network: The network.
        images: ``(B, 3, H, W)`` float RGB in [0, 1].
        tile: Side of the tiles in pixels, a multiple of `STEP` from `SMALLEST_TILE`.
        routes: The routes to take, ``(decoder blocks, B, top_k)``. None leaves them to the routers, on a sample of the
            picture.
        effort: Shift of their decision towards cheap (below 0) or dear experts (above 0).

    Returns:
        The batch, same shape, and for each block the decision that all tiles share.
    """
    height, width = images.shape[-2:]
    of_sample = Statistics()
    sampled = for_inference(network, of_sample)
    decisions = sampled.restore_with_routing(sample(images, tile), routes=routes, effort=effort)[1]
    routes = torch.stack([decision.experts for decision in decisions])
    of_parts = Statistics(basis=of_sample)
    gathering = for_inference(network, of_parts)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            part = images[..., top : top + tile, left : left + tile]
            gathering.restore_with_routing(part, routes=routes)
    restoring = for_inference(network, Statistics(basis=of_parts))
    restored = torch.zeros_like(images)
    for top in starts(height, tile):
        for left in starts(width, tile):
            cut = images[..., top : top + tile, left : left + tile]
            part, decisions = restoring.restore_with_routing(cut, routes=routes)
            rows, columns = ramp(top, cut.shape[-2], height).to(part), ramp(left, cut.shape[-1], width).to(part)
            restored[..., top : top + tile, left : left + tile] += part * rows.view(-1, 1) * columns
    return restored, decisions


def image_sizes(height: int, width: int, tile: int) -> Iterator[tuple[int, int]]:
    """List the height and width of each image that the network processes in `restore_in_tiles`, in pixels."""
    yield len(spread(height, tile)), len(spread(width, tile))
    for begins in (lambda side: range(0, side, tile), lambda side: starts(side, tile)):
        for top in begins(height):
            for left in begins(width):
                yield min(tile, height - top), min(tile, width - left)


def sample(images: Tensor, side: int) -> Tensor:
    """Patches of ``(B, 3, H, W)`` from all over the picture, side by side, not larger than ``side`` either way.

    They keep the resolution, without which noise and texture would not be what they are.
    """
    for axis in (-2, -1):
        picked = spread(images.shape[axis], side)
        images = images.index_select(axis, picked.to(images.device))
    return images


def spread(length: int, side: int) -> Tensor:
    """Positions of the pixels of `sample` along one side of the picture: all, or as many as fit in equal distances."""
    if length <= side:
        return torch.arange(length)
    patches = side // PATCH
    firsts = [(2 * i + 1) * length // (2 * patches) - PATCH // 2 for i in range(patches)]
    return torch.cat([torch.arange(first, first + PATCH) for first in firsts])


def starts(side: int, tile: int) -> list[int]:
    """Where tiles begin along one side of the picture; the last one ends with the picture."""
    return list(range(0, max(side - STEP, 1), tile - STEP))


def ramp(start: int, length: int, side: int) -> Tensor:
    """Weights of one tile's pixels along one side; those of all tiles add up to 1 everywhere.

    Where two tiles overlap, one fades in and the other out over the middle half: pixels at the very edge of a tile,
    which saw the least of their surroundings, have no say.
    """
    weights = torch.ones(length)
    fade_in = (2 * (torch.arange(STEP) + 0.5) / STEP - 0.5).clamp(0, 1)
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
