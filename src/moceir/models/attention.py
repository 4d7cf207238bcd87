"""Attention across channels (Restormer's MDTA) and its cross form, which mixes expert and shared features.

The attention matrix is channels x channels, so its size does not depend on the picture. Written as
``out(A v) = (W_out A) v``, the attention and the projection behind it collapse into one small matrix per image that is
applied to every pixel at once: one pass over the picture instead of two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from moceir.models.execution.pointwise import Pointwise
from moceir.models.execution.statistics import Statistics
from moceir.models.execution.stripes import Crop, by_stripes, unchanged
from moceir.models.layers import depthwise


def pixels_first(x: Tensor) -> Tensor:
    """View a channels_last ``(B, C, H, W)`` as ``(B, H*W, C)``."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def channel_squares(x: Tensor) -> Tensor:
    """Sum of the squares of each channel of ``(B, N, C)``: ``(B, C)``, in float32 at least.

    In two steps it takes torch a fifth of the time of ``linalg.vector_norm`` along the pixels.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32)).square().sum(dim=1)


class ChannelCosines(torch.autograd.Function):
    """Cosine of each channel of ``q`` with each of ``k``: ``(B, N, C)`` twice to ``(B, C, C)``.

    What autograd would derive from the formula gives the gradient of ``q`` channel by channel in memory, which all
    layers before it would have to turn round: half of the time of attention in training.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor) -> Tensor:
        """``q^T k / (|q| |k|)``."""
        q_norm = channel_squares(q).sqrt().clamp_min(1e-12).unsqueeze(2)
        k_norm = channel_squares(k).sqrt().clamp_min(1e-12).unsqueeze(1)
        cosines = (q.transpose(1, 2) @ k) / (q_norm * k_norm)
        ctx.save_for_backward(q, k, q_norm, k_norm, cosines)
        return cosines

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - made static by torch, not typed so
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of ``q`` and ``k``: along the other one, less the part along itself, which changes no angle."""
        q, k, q_norm, k_norm, cosines = ctx.saved_tensors
        (grad,) = grads
        across = (grad / (q_norm * k_norm)).to(q.dtype)
        along = grad * cosines
        q_along = (along.sum(2, keepdim=True) / q_norm**2).transpose(1, 2).to(q.dtype)
        k_along = (along.sum(1, keepdim=True) / k_norm**2).to(k.dtype)
        return (
            torch.addcmul(k @ across.transpose(1, 2), q, q_along, value=-1),
            torch.addcmul(q @ across, k, k_along, value=-1),
        )


class ChannelSimilarity:
    """Cosine of the angle between each query channel and each key channel, gathered from any number of stripes."""

    def __init__(self) -> None:
        self._whole: Tensor | None = None
        self.sums: Sequence[Tensor] = []
        """Squares of the queries, of the keys, and products of the two, ``(B, C)`` twice and ``(B, C, C)``."""

    def add(self, q: Tensor, k: Tensor) -> None:
        """Take in queries and keys of a stripe, ``(B, C, h, W)`` each."""
        q, k = pixels_first(q), pixels_first(k)
        if torch.is_grad_enabled():  # then there are no stripes
            self._whole = ChannelCosines.apply(q, k)  # pyright: ignore[reportAttributeAccessIssue] - torch says Any
            return
        squares = channel_squares(q)
        # In half precision, sums over many stripes would lose the last ones.
        part = [squares, channel_squares(k), (q.transpose(1, 2) @ k).to(squares.dtype)]
        self.sums = [a + b for a, b in zip(self.sums, part, strict=True)] if self.sums else part

    def matrix(self) -> Tensor:
        """The cosines, ``(B, C, C)``, queries first."""
        if self._whole is not None:
            return self._whole
        q_squares, k_squares, products = self.sums
        norms = q_squares.sqrt().clamp_min(1e-12).unsqueeze(2) * k_squares.sqrt().clamp_min(1e-12).unsqueeze(1)
        return products / norms


def channel_attention(
    project: Callable[..., tuple[Tensor, ...]],
    *maps: Tensor,
    reach: int,
    temperature: Tensor,
    out: nn.Conv2d,
    onto: Tensor | None = None,
    values_into: Tensor | None = None,
    whole: Statistics | None = None,
) -> Tensor:
    """Attend over channels and project: ``onto + out(softmax(norm(q) norm(k)^T * temperature) v)``.

    Args:
        project: ``q, k, v = project(crop, *maps)``, each ``(B, C, H, W)``; see ``by_stripes``.
        *maps: What they are computed from.
        reach: How many rows away a row of them can depend on.
        temperature: One factor per head, ``(heads, 1, 1)``.
        out: The 1x1 convolution behind the attention, C to C.
        onto: ``(B, C, H, W)`` that the result is added to; in stripes, in place.
        values_into: One of the maps that is needed no more: in stripes it is used up, the values take its place.
        whole: What gathers the sums of this attention, by the name of ``out``, and may put others in their place.

    Returns:
        ``(B, C, H, W)``.
    """
    similarity = ChannelSimilarity()

    def values(crop: Crop, *rows: Tensor) -> Tensor:
        q, k, v = project(crop, *rows)
        similarity.add(q, k)
        return v

    v = by_stripes(values, *maps, reach=reach, into=values_into)
    if whole is not None:
        similarity.sums = whole.exchange(out, similarity.sums)
    mixing = mixing_matrix(similarity.matrix(), temperature, out)

    def mix(_: Crop, v: Tensor) -> Tensor:
        pixels = pixels_first(v)
        y = pixels @ mixing if out.bias is None else torch.baddbmm(out.bias, pixels, mixing)
        return y.view(*v.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)

    return by_stripes(mix, v, into=v, onto=onto)


def mixing_matrix(similarity: Tensor, temperature: Tensor, out: nn.Conv2d) -> Tensor:
    """Softmax of each head's similarities and the projection behind it as one matrix, ``(B, C, C)``, values first."""
    batch, channels, _ = similarity.shape
    heads = temperature.shape[0]
    per_head = channels // heads
    # Only the diagonal blocks are attention of a head on itself. Cutting them out of the whole C x C product costs
    # little at these widths and spares the copies that splitting q and k by head would need.
    blocks = similarity.view(batch, heads, per_head, heads, per_head).diagonal(dim1=1, dim2=3)  # (B, c, c, heads)
    attention = torch.softmax(blocks * temperature.view(heads), dim=2)
    weight = out.weight.view(channels, heads, per_head)
    return torch.einsum("ohi,bijh->bhjo", weight, attention).reshape(batch, channels, channels)


class MDTA(nn.Module):
    """Multi-Dconv head transposed attention. Source: Restormer (arXiv 2111.09881), section 3.1."""

    def __init__(self, channels: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = Pointwise(channels, 3 * channels, bias=bias)
        self.qkv_depthwise = depthwise(3 * channels, 3, bias=bias)
        self.out = Pointwise(channels, channels, bias=bias)

    def forward(
        self, x: Tensor, before: Crop = unchanged, onto: Tensor | None = None, whole: Statistics | None = None
    ) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape.

        Args:
            x: The map to attend over.
            before: What is done to each of its pixels first.
            onto: Map that the result is added to; in stripes, in place.
            whole: Statistics of the picture that the map is a part of.
        """

        def project(crop: Crop, x: Tensor) -> tuple[Tensor, ...]:
            return crop(self.qkv_depthwise(self.qkv(before(x)))).chunk(3, dim=1)

        return channel_attention(
            project, x, reach=1, temperature=self.temperature, out=self.out, onto=onto, whole=whole
        )


class CrossMDTA(nn.Module):
    """MDTA whose queries come from one feature map and whose keys and values from another (7x7 depthwise).

    Source: MoCE-IR (arXiv 2411.18466), section 3: the experts' features attend to the shared ones. With
    ``values_from_query`` the values come from the queries' map as well, and only the keys from the other.
    """

    def __init__(self, channels: int, heads: int, *, values_from_query: bool = False) -> None:
        super().__init__()
        self.values_from_query = values_from_query
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = Pointwise(channels, channels, bias=False)
        self.q_depthwise = depthwise(channels, 3, bias=False)
        if values_from_query:
            self.k, self.v = (Pointwise(channels, channels, bias=False) for _ in range(2))
        else:
            self.kv = Pointwise(channels, 2 * channels, bias=False)
        self.kv_depthwise = depthwise(2 * channels, 7, bias=False)
        self.out = Pointwise(channels, channels, bias=False)

    def forward(
        self, query: Tensor, context: Tensor, onto: Tensor | None = None, whole: Statistics | None = None
    ) -> Tensor:
        """Attend from ``query`` to ``context``, both ``(B, C, H, W)``; the result has the same shape.

        In stripes, the result is added to ``onto`` in place and ``query`` is used up. ``whole`` is as for ``MDTA``.
        """

        def project(crop: Crop, query: Tensor, context: Tensor) -> tuple[Tensor, ...]:
            q = crop(self.q_depthwise(self.q(query)))
            kv = torch.cat([self.k(context), self.v(query)], dim=1) if self.values_from_query else self.kv(context)
            return q, *crop(self.kv_depthwise(kv)).chunk(2, dim=1)

        return channel_attention(
            project,
            query,
            context,
            reach=3,
            temperature=self.temperature,
            out=self.out,
            onto=onto,
            values_into=query,
            whole=whole,
        )
