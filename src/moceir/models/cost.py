"""What a picture costs: multiply-accumulates of the network by route and size, counted from its shape alone.

Convention:
    Convolutions and matrix products, one MAC per multiplication with its addition; biases, normalisation and
    activations are left out, as in published counts. The experts' FFTs are no MACs: they are stated beside them, in
    real operations. Sizes are those inside the network, padded to multiples of 8. Tests hold it to torch's counter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moceir.config import ModelConfig

Route = Sequence[Sequence[int]]
"""The experts taken, ``top_k`` in each decoder block, in order of execution (deep first)."""


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one picture of one size; each of its decoder blocks has a choice of experts.

    Attributes:
        fixed_macs: What every route pays.
        expert_macs: What each expert adds, one row per decoder block in order of execution (deep first), cheapest
            expert first.
        expert_fft_ops: Real operations of the FFTs of each expert, likewise.
        top_k: Experts per block.
    """

    fixed_macs: int
    expert_macs: tuple[tuple[int, ...], ...]
    expert_fft_ops: tuple[tuple[int, ...], ...]
    top_k: int

    def macs(self, route: Route) -> int:
        """Multiply-accumulates of a route."""
        return self.fixed_macs + _along(self.expert_macs, route)

    def fft_ops(self, route: Route) -> int:
        """Real operations of the experts' FFTs on a route."""
        return _along(self.expert_fft_ops, route)

    @property
    def cheapest(self) -> tuple[tuple[int, ...], ...]:
        """The route of least cost: the first experts of each block."""
        return (tuple(range(self.top_k)),) * len(self.expert_macs)

    @property
    def dearest(self) -> tuple[tuple[int, ...], ...]:
        """The route of greatest cost: the last experts of each block."""
        return tuple(tuple(range(len(row) - self.top_k, len(row))) for row in self.expert_macs)


def network_cost(config: ModelConfig, height: int, width: int) -> NetworkCost:
    """Count the cost of a picture.

    Args:
        config: Shape of the network.
        height: Of the picture, in pixels, from 1.
        width: Likewise.
    """
    rows, columns = config.padded_size(height, width)
    sides = [(rows >> level, columns >> level) for level in range(4)]
    pixels = [high * wide for high, wide in sides]
    c = [config.channels(level) for level in range(4)]

    def plain_blocks(level: int, blocks: int) -> int:
        return blocks * (_mdta(c[level], config.heads[level], pixels[level]) + _gdfn(c[level], pixels[level]))

    fixed = 2 * 27 * c[0] * pixels[0]  # the first and the last convolution, 3 channels to dim and back
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
    """``channel_attention``: similarity of all channels, its product with the projection, and the mixing of pixels."""
    return 2 * c * c * pixels + c * c * (c // heads)


def _mdta(c: int, heads: int, pixels: int) -> int:
    return (3 * c * c + 9 * 3 * c) * pixels + _attention(c, heads, pixels)


def _gdfn(c: int, pixels: int) -> int:
    return (4 * c * c + 9 * 4 * c + 2 * c * c) * pixels


def _decoder_block(config: ModelConfig, level: int, pixels: int) -> int:
    """A routed block without its experts."""
    c, heads = config.channels(level), config.heads[level]
    cross = (3 * c * c + 9 * c + 49 * 2 * c) * pixels + _attention(c, heads, pixels)
    router = (c + config.channels(3)) * config.experts
    projections = 4 if config.join == "added" else 3  # to_shared, to_experts, behind the experts, and what is added
    around = projections * c * c * pixels
    return around + _mdta(c, heads, pixels) + router + cross + _gdfn(c, pixels)


def _expert(c: int, rank: int, pixels: int) -> int:
    """Three projections between C and the rank; q, k, v and out within it; depthwise 3x3 and 7x7."""
    return (3 * c * rank + 4 * rank * rank + 9 * rank + 49 * 2 * rank) * pixels


def _fft_ops(height: int, width: int, window: int) -> int:
    """One channel: three real transforms of 2.5 N log2 N operations and a complex product, in whole windows."""
    windows = -(-height // window) * -(-width // window)
    n = window * window
    return round(windows * (3 * 2.5 * n * math.log2(n) + 6 * window * (window // 2 + 1)))
