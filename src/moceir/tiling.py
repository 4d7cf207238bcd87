"""The fallback for pictures that do not fit into memory: overlapping tiles on one route, blended where they meet.

Channel attention compares channels over the whole picture, so that a tile's result is close to the whole's but not the
same. Two things keep seams out of sight: all tiles take the same experts, and each blends into its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision, shifted_decisions

STEP = 128
"""Tiles begin at multiples of this many pixels, where windows of the whole picture begin at every level (32 pixels at
a quarter of its resolution); and they overlap by as much."""
SMALLEST_TILE = 2 * STEP
PROBES = 5
"""Tiles that are asked for the route, spread over the picture."""


def restore_in_tiles(
    network: MoCEIR, images: Tensor, tile: int, routes: Tensor | None = None, effort: float = 0.0
) -> tuple[Tensor, list[RoutingDecision]]:
    """Restore a picture tile by tile.

    Args:
        network: The network.
        images: ``(B, 3, H, W)`` float RGB in [0, 1].
        tile: Side of the tiles in pixels, a multiple of `STEP` from `SMALLEST_TILE`.
        routes: The routes to take, ``(decoder blocks, B, top_k)``. None takes in each block the experts of the highest
            scores on average over some tiles: scores are linear in the mean of the features, so that this is the
            decision on the mean features of these tiles.
        effort: Shift of that decision towards cheap (below 0) or dear experts (above 0).

    Returns:
        The batch, same shape, and for each block the decision that all tiles share.
    """
    height, width = images.shape[-2:]
    tops, lefts = starts(height, tile), starts(width, tile)
    cuts = {(top, left): images[..., top : top + tile, left : left + tile] for top in tops for left in lefts}
    asked = list(cuts) if len(cuts) <= PROBES else spread(tops, lefts)
    decisions = _mean_decisions([network.restore_with_routing(cuts[place], routes=routes)[1] for place in asked])
    if effort:
        decisions = shifted_decisions(decisions, [router.complexity for router in network.routers()], effort)
    route = torch.stack([decision.experts for decision in decisions])
    restored = torch.zeros_like(images)
    for (top, left), cut in cuts.items():
        part = network.restore_with_routing(cut, routes=route)[0]
        rows, columns = ramp(top, cut.shape[-2], height).to(part), ramp(left, cut.shape[-1], width).to(part)
        restored[..., top : top + tile, left : left + tile] += part * rows.view(-1, 1) * columns
    return restored, decisions


def spread(tops: list[int], lefts: list[int]) -> list[tuple[int, int]]:
    """`PROBES` of all tiles, or less: one in each row and each column of a grid laid over the picture."""
    middles = [(2 * i + 1, 2 * (2 * i % PROBES) + 1) for i in range(PROBES)]
    places = [(tops[y * len(tops) // (2 * PROBES)], lefts[x * len(lefts) // (2 * PROBES)]) for y, x in middles]
    return list(dict.fromkeys(places))


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


def _mean_decisions(probes: list[list[RoutingDecision]]) -> list[RoutingDecision]:
    """One decision per block from the mean scores of all probes.

    The experts of the probes where all took the same, as on forced routes.
    """
    decisions: list[RoutingDecision] = []
    for block in zip(*probes, strict=True):
        logits = torch.stack([decision.logits for decision in block]).mean(dim=0)
        chances = logits.softmax(dim=-1)
        agreed = all(torch.equal(decision.experts, block[0].experts) for decision in block)
        top_k = block[0].experts.shape[-1]
        experts = block[0].experts if agreed else chances.topk(top_k, dim=-1).indices
        decisions.append(RoutingDecision(experts, chances.gather(-1, experts), logits, block[0].balance_loss))
    return decisions
