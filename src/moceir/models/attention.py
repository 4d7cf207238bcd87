"""Attention across channels (Restormer's MDTA) and its cross form, which mixes expert and shared features.

The attention matrix is channels x channels, so its size does not depend on the picture. Written as
``out(A v) = (W_out A) v``, the attention and the projection behind it collapse into one small matrix per image that is
applied to every pixel at once: one pass over the picture instead of two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from moceir.models.layers import conv1x1, depthwise


def pixels_first(x: Tensor) -> Tensor:
    """View a channels_last ``(B, C, H, W)`` as ``(B, H*W, C)``."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


class ChannelCosines(torch.autograd.Function):
    """Cosine of each channel of ``q`` with each of ``k``: ``(B, N, C)`` twice to ``(B, C, C)``.

    What autograd would derive from the formula gives the gradient of ``q`` channel by channel in memory, which all
    layers before it would have to turn round: half of the time of attention in training.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor) -> Tensor:
        """``q^T k / (|q| |k|)``."""
        q_norm = torch.linalg.vector_norm(q, dim=1).clamp_min(1e-12).unsqueeze(2)
        k_norm = torch.linalg.vector_norm(k, dim=1).clamp_min(1e-12).unsqueeze(1)
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


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor, out: nn.Conv2d) -> Tensor:
    """Attend over channels and project: ``out(softmax(norm(q) norm(k)^T * temperature) v)``.

    Args:
        q: Queries ``(B, C, H, W)``.
        k: Keys, same shape.
        v: Values, same shape.
        temperature: One factor per head, ``(heads, 1, 1)``.
        out: The 1x1 convolution behind the attention, C to C.

    Returns:
        ``(B, C, H, W)``.
    """
    batch, channels, height, width = q.shape
    heads = temperature.shape[0]
    per_head = channels // heads
    q, k, v = pixels_first(q), pixels_first(k), pixels_first(v)
    similarity: Tensor = ChannelCosines.apply(q, k)  # pyright: ignore[reportAssignmentType] - torch types it as Any
    # Only the diagonal blocks are attention of a head on itself. Cutting them out of the whole C x C product costs
    # little at these widths and spares the copies that splitting q and k by head would need.
    blocks = similarity.view(batch, heads, per_head, heads, per_head).diagonal(dim1=1, dim2=3)  # (B, c, c, heads)
    attention = torch.softmax(blocks * temperature.view(heads), dim=2)
    weight = out.weight.view(channels, heads, per_head)
    mixing = torch.einsum("ohi,bijh->bhjo", weight, attention).reshape(batch, channels, channels)
    y = v @ mixing if out.bias is None else torch.baddbmm(out.bias, v, mixing)
    return y.view(batch, height, width, channels).permute(0, 3, 1, 2)


class MDTA(nn.Module):
    """Multi-Dconv head transposed attention. Source: Restormer (arXiv 2111.09881), section 3.1."""

    def __init__(self, channels: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = conv1x1(channels, 3 * channels, bias=bias)
        self.qkv_depthwise = depthwise(3 * channels, 3, bias=bias)
        self.out = conv1x1(channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        q, k, v = self.qkv_depthwise(self.qkv(x)).chunk(3, dim=1)
        return channel_attention(q, k, v, self.temperature, self.out)


class CrossMDTA(nn.Module):
    """MDTA whose queries come from one feature map and whose keys and values from another (7x7 depthwise).

    Source: MoCE-IR (arXiv 2411.18466), section 3: the experts' features attend to the shared ones.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = conv1x1(channels, channels, bias=False)
        self.q_depthwise = depthwise(channels, 3, bias=False)
        self.kv = conv1x1(channels, 2 * channels, bias=False)
        self.kv_depthwise = depthwise(2 * channels, 7, bias=False)
        self.out = conv1x1(channels, channels, bias=False)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Attend from ``query`` to ``context``, both ``(B, C, H, W)``; the result has the same shape."""
        q = self.q_depthwise(self.q(query))
        k, v = self.kv_depthwise(self.kv(context)).chunk(2, dim=1)
        return channel_attention(q, k, v, self.temperature, self.out)
