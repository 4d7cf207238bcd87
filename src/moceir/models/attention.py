"""Attention across channels (Restormer's MDTA) and its cross form, in which experts query the shared features.

The attention matrix compares channels, not pixels, so its size does not depend on the size of the picture.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from moceir.models.layers import INSIDE_BLOCK, INTO_BLOCK, OUT_OF_BLOCK, conv1x1, depthwise


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Compute ``softmax(cos(q, k) * temperature) v`` for each head.

    Args:
        q: Queries ``(B, C, H, W)``.
        k: Keys, the same shape.
        v: Values, the same shape.
        temperature: One factor per head, ``(heads, 1, 1)``.

    Returns:
        ``(B, C, H, W)``.
    """
    heads = len(temperature)
    queries, keys, values = (x.unflatten(1, (heads, -1)).flatten(3) for x in (q, k, v))  # (B, heads, C/heads, H*W)
    q_length, k_length = (x.square().sum(dim=-1, keepdim=True).sqrt().clamp_min(1e-12) for x in (queries, keys))
    cosines = queries @ keys.mT / (q_length * k_length.mT)
    attended = torch.softmax(cosines * temperature, dim=-1) @ values
    return attended.reshape(v.shape)


class ChannelAttention(nn.Module):
    """What MDTA and its cross form share: ``out(channel_attention(*project(...)))``."""

    wiring: ClassVar = {
        **dict.fromkeys(("qkv", "q", "k", "v", "kv"), INTO_BLOCK),
        **dict.fromkeys(("qkv_depthwise", "q_depthwise", "kv_depthwise"), INSIDE_BLOCK),
        "out": OUT_OF_BLOCK,
    }
    reach: ClassVar[int]
    """How many rows away a row of the projections can depend on."""

    out: nn.Conv2d
    """The projection behind the attention, C to C channels."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def project(self, *maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute queries, keys and values, each ``(B, C, H, W)``."""
        raise NotImplementedError

    def forward(self, *maps: Tensor) -> Tensor:
        """Attend over the channels of ``(B, C, H, W)`` maps; the result has the same shape."""
        return self.out(channel_attention(*self.project(*maps), self.temperature))


class MDTA(ChannelAttention):
    """Multi-Dconv head transposed attention. Source: Restormer (arXiv 2111.09881), section 3.1."""

    reach = 1

    def __init__(self, channels: int, heads: int, *, bias: bool) -> None:
        super().__init__(heads)
        self.qkv = conv1x1(channels, 3 * channels, bias=bias)
        self.qkv_depthwise = depthwise(3 * channels, 3, bias=bias)
        self.out = conv1x1(channels, channels, bias=bias)

    def project(  # pyright: ignore[reportIncompatibleMethodOverride] - each kind takes its own number of maps
        self, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute queries, keys and values of ``(B, C, H, W)``."""
        q, k, v = self.qkv_depthwise(self.qkv(x)).chunk(3, dim=1)
        return q, k, v


class CrossMDTA(ChannelAttention):
    """MDTA whose queries come from one feature map and whose keys and values from another (7x7 depthwise).

    Source: MoCE-IR (arXiv 2411.18466), section 3: the experts' features attend to the shared ones. With
    ``values_from_query``, the values come from the queries' map as well, and only the keys from the other.
    """

    reach = 3

    def __init__(self, channels: int, heads: int, *, values_from_query: bool = False) -> None:
        super().__init__(heads)
        self.values_from_query = values_from_query
        self.q = conv1x1(channels, channels, bias=False)
        self.q_depthwise = depthwise(channels, 3, bias=False)
        if values_from_query:
            self.k = conv1x1(channels, channels, bias=False)
            self.v = conv1x1(channels, channels, bias=False)
        else:
            self.kv = conv1x1(channels, 2 * channels, bias=False)
        self.kv_depthwise = depthwise(2 * channels, 7, bias=False)
        self.out = conv1x1(channels, channels, bias=False)

    def project(  # pyright: ignore[reportIncompatibleMethodOverride] - each kind takes its own number of maps
        self, query: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute queries of the experts' map and keys and values of the shared one, all ``(B, C, H, W)``."""
        kv = torch.cat([self.k(context), self.v(query)], dim=1) if self.values_from_query else self.kv(context)
        k, v = self.kv_depthwise(kv).chunk(2, dim=1)
        return self.q_depthwise(self.q(query)), k, v
