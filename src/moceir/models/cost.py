"""Cost of a picture in multiply-accumulates (MACs), computed in closed form from the shape of the network.

Convention:
    One MAC is a multiplication with its addition. Convolutions and matrix products are counted. Biases, normalisation
    and activations are not, as in published counts. The FFTs of the experts are counted separately, in real operations.
    Sizes are those inside the network, padded to multiples of 8. The tests compare the counts with torch's counter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moceir.config import ModelConfig

Route = Sequence[Sequence[int]]
"""Indices of the experts taken: ``top_k`` for each decoder block, in order of execution (deep first)."""


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a picture of one size, by route.

    Attributes:
        fixed_macs: MACs on every route.
        expert_macs: MACs of each expert. Rows are decoder blocks in order of execution (deep first); columns are
            experts, cheapest first.
        expert_fft_ops: Real operations of the FFTs of each expert, in the same order.
        top_k: Number of experts per block.
    """

    fixed_macs: int
    expert_macs: tuple[tuple[int, ...], ...]
    expert_fft_ops: tuple[tuple[int, ...], ...]
    top_k: int

    def macs(self, route: Route) -> int:
        """Return the MACs of a route, without FFTs."""
        return self.fixed_macs + _along(self.expert_macs, route)

    def fft_ops(self, route: Route) -> int:
        """Return the real operations of the FFTs on a route."""
        return _along(self.expert_fft_ops, route)

    @property
    def cheapest(self) -> tuple[tuple[int, ...], ...]:
        """Cheapest route: the first ``top_k`` experts of each block."""
        return (tuple(range(self.top_k)),) * len(self.expert_macs)

    @property
    def dearest(self) -> tuple[tuple[int, ...], ...]:
        """Most expensive route: the last ``top_k`` experts of each block."""
        return tuple(tuple(range(len(row) - self.top_k, len(row))) for row in self.expert_macs)


def network_cost(config: ModelConfig, height: int, width: int) -> NetworkCost:
    """Compute the cost of a picture.

    Args:
        config: Shape of the network.
        height: Height of the picture in pixels, at least 1.
        width: Width of the picture in pixels, at least 1.
    """
    rows, columns = config.padded_size(height, width)
    sides = [(rows >> level, columns >> level) for level in range(4)]
    pixels = [high * wide for high, wide in sides]
    c = [config.channels(level) for level in range(4)]

    def plain_blocks(level: int, blocks: int) -> int:
        return blocks * (_mdta(c[level], config.heads[level], pixels[level]) + _gdfn(c[level], pixels[level]))

    # First and last convolution, from 3 channels to dim and back to those of scale^2 pixels.
    fixed = 27 * c[0] * pixels[0] * (1 + config.scale**2)
    fixed += 9 * c[3] * pixels[3] + 4 * c[3] ** 2  # frequency embedding
    fixed += plain_blocks(3, config.latent_blocks) + plain_blocks(0, config.refinement_blocks)
    for level, blocks in config.encoder_stages:
        fixed += plain_blocks(level, blocks) + 9 * c[level] * (c[level] // 2) * pixels[level]
    expert_macs: list[tuple[int, ...]] = []
    expert_fft_ops: list[tuple[int, ...]] = []
    for level, blocks in config.decoder_stages:
        fixed += 9 * c[level + 1] * 2 * c[level + 1] * pixels[level + 1] + 2 * c[level] ** 2 * pixels[level]
        fixed += blocks * _decoder_block(config, level, pixels[level])
        ranks, windows = config.expert_ranks(level), config.expert_windows()
        expert_macs += [tuple(_expert(c[level], rank, pixels[level]) for rank in ranks)] * blocks
        ffts = tuple(rank * _fft_ops(*sides[level], window) for rank, window in zip(ranks, windows, strict=True))
        expert_fft_ops += [ffts] * blocks
    return NetworkCost(fixed, tuple(expert_macs), tuple(expert_fft_ops), config.top_k)


def _along(costs: Sequence[Sequence[int]], route: Route) -> int:
    return sum(row[expert] for row, experts in zip(costs, route, strict=True) for expert in experts)


def _attention(c: int, heads: int, pixels: int) -> int:
    """Count attention and its projection as ``moceir.models.execution.attention`` computes them.

    These are the cosines of all pairs of channels, the mixing matrix, and its product with the values.
    """
    return 2 * c * c * pixels + c * c * (c // heads)


def _mdta(c: int, heads: int, pixels: int) -> int:
    return (3 * c * c + 9 * 3 * c) * pixels + _attention(c, heads, pixels)


def _gdfn(c: int, pixels: int) -> int:
    return (4 * c * c + 9 * 4 * c + 2 * c * c) * pixels


def _decoder_block(config: ModelConfig, level: int, pixels: int) -> int:
    """Count a routed block without its experts."""
    c, heads = config.channels(level), config.heads[level]
    cross = (3 * c * c + 9 * c + 49 * 2 * c) * pixels + _attention(c, heads, pixels)
    router = (c + config.channels(3)) * config.experts
    projections = 4 if config.join == "added" else 3  # to_shared, to_experts, mixture.out and added
    around = projections * c * c * pixels
    return around + _mdta(c, heads, pixels) + router + cross + _gdfn(c, pixels)


def _expert(c: int, rank: int, pixels: int) -> int:
    """Count three projections between C and the rank, the 1x1 q, k, v and out, and the depthwise 3x3 and 7x7."""
    return (3 * c * rank + 4 * rank * rank + 9 * rank + 49 * 2 * rank) * pixels


def _fft_ops(height: int, width: int, window: int) -> int:
    """Count one channel: per window, three real transforms of 2.5 N log2 N operations and a complex product."""
    windows = -(-height // window) * -(-width // window)
    n = window * window
    return round(windows * (3 * 2.5 * n * math.log2(n) + 6 * window * (window // 2 + 1)))
