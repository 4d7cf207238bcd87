"""Channel attention in one pass over the picture instead of two, from sums that any number of stripes gather.

``out(A v) = (W_out A) v``: the attention and the projection behind it collapse into one small matrix per image, which
is applied to every pixel at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def pixels_first(x: Tensor) -> Tensor:
    """View a channels_last ``(B, C, H, W)`` as ``(B, H*W, C)``."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def channel_squares(x: Tensor) -> Tensor:
    """Sum the squares of each channel of ``(B, N, C)``: ``(B, C)``, in float32 at least.

    In two steps it takes torch a fifth of the time of ``linalg.vector_norm`` along the pixels.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32)).square().sum(dim=1)


class ChannelCosines:
    """Cosine of the angle between each query channel and each key channel, gathered stripe by stripe."""

    def __init__(self) -> None:
        self.sums: Sequence[Tensor] = ()
        """Squares of the queries, of the keys, and products of the two, ``(B, C)`` twice and ``(B, C, C)``."""

    def add(self, q: Tensor, k: Tensor) -> None:
        """Take in queries and keys of a stripe, ``(B, C, h, W)`` each."""
        q, k = pixels_first(q), pixels_first(k)
        squares = channel_squares(q)
        # In half precision, sums over many stripes would lose the last ones.
        part = [squares, channel_squares(k), (q.transpose(1, 2) @ k).to(squares.dtype)]
        self.sums = [a + b for a, b in zip(self.sums, part, strict=True)] if self.sums else part

    def matrix(self) -> Tensor:
        """Return the cosines, ``(B, C, C)``, queries first."""
        q_squares, k_squares, products = self.sums
        norms = q_squares.sqrt().clamp_min(1e-12).unsqueeze(2) * k_squares.sqrt().clamp_min(1e-12).unsqueeze(1)
        return products / norms


def mixing_matrix(cosines: Tensor, temperature: Tensor, out: nn.Conv2d) -> Tensor:
    """Fold each head's softmax and the projection behind it into one matrix, ``(B, C, C)``, values first.

    Args:
        cosines: Of all query and key channels, ``(B, C, C)``.
        temperature: One factor per head, ``(heads, 1, 1)``.
        out: The projection, C to C channels.
    """
    batch, channels, _ = cosines.shape
    heads = temperature.shape[0]
    per_head = channels // heads
    # Only the diagonal blocks are attention of a head on itself. Cutting them out of the whole C x C product costs
    # little at these widths and saves the copies that splitting q and k by head would need.
    blocks = cosines.view(batch, heads, per_head, heads, per_head).diagonal(dim1=1, dim2=3)  # (B, c, c, heads)
    attention = torch.softmax(blocks * temperature.view(heads), dim=2)
    weight = out.weight.view(channels, heads, per_head)
    # The cosines are float32 even if the weights are not.
    return torch.einsum("ohi,bijh->bhjo", weight, attention.to(weight.dtype)).reshape(batch, channels, channels)


def mix(v: Tensor, mixing: Tensor, out: nn.Conv2d) -> Tensor:
    """Apply a mixing matrix and the projection's bias to values ``(B, C, H, W)``; the result has the same shape."""
    pixels = pixels_first(v)
    mixed = pixels @ mixing if out.bias is None else torch.baddbmm(out.bias, pixels, mixing)
    return mixed.view(*v.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
