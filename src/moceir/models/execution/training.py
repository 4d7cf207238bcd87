"""Training: the same layers with gradients that cost less.

On processors: 1x1 convolutions as matrix products, and channel attention with gradients that keep channels_last maps.
For a compiler, shapes must not change from step to step: each expert gets the whole batch, and what is not its own
counts nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from moceir.models.attention import MDTA, ChannelAttention, CrossMDTA
from moceir.models.execution.attention import channel_squares, mix, mixing_matrix, pixels_first
from moceir.models.execution.pointwise import LinearConv, PixelProductConv, is_conv1x1
from moceir.models.execution.views import Network, view
from moceir.models.routing import ExpertMixture, RoutingDecision, RoutingRequest


def for_training(network: Network, *, fixed_shapes: bool = False) -> Network:
    """Create a view of a network whose gradients cost less than those of the plain one.

    Args:
        network: The network, or a part of it. Its weights become channels_last, which changes no value.
        fixed_shapes: Give each expert the whole batch: more work, but of shapes that depend on no route. Compilers, and
            the convolutions of accelerators, prepare themselves for each shape anew, which takes many times as long as
            a step.
    """
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stubs lack this overload

    def choose(part: nn.Module) -> type[nn.Module] | None:
        if is_conv1x1(part):
            return LinearConv if part.weight.is_cuda or fixed_shapes else PixelProductConv
        if isinstance(part, ExpertMixture) and fixed_shapes:
            return AllAtOnceMixture
        if isinstance(part, MDTA):
            return TrainingMDTA
        return TrainingCrossMDTA if isinstance(part, CrossMDTA) else None

    return view(network, choose)


class CosinesWithGradient(torch.autograd.Function):
    """Cosine of each channel of ``q`` with each of ``k``: ``(B, N, C)`` twice to ``(B, C, C)``.

    What autograd would derive from the formula gives the gradient of ``q`` channel by channel in memory, which all
    layers before it would have to turn round: half of the time of attention in training.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor) -> Tensor:
        """Compute ``q^T k / (|q| |k|)``."""
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
        """Compute the gradients of ``q`` and ``k``: along the other one, less the part along itself."""
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


class _FusedAttention(ChannelAttention):
    def forward(self, *maps: Tensor) -> Tensor:
        q, k, v = self.project(*maps)
        cosines: Any = CosinesWithGradient.apply(pixels_first(q), pixels_first(k))
        return mix(v, mixing_matrix(cosines, self.temperature, self.out), self.out)


class TrainingMDTA(_FusedAttention, MDTA):
    """`MDTA` with cheaper gradients."""


class TrainingCrossMDTA(_FusedAttention, CrossMDTA):
    """`CrossMDTA` with cheaper gradients."""


class AllAtOnceMixture(ExpertMixture):
    """`ExpertMixture` in which every expert works on the whole batch, weighted by its gates, most of them zero."""

    def forward(
        self, x: Tensor, shared: Tensor, embedding: Tensor, request: RoutingRequest
    ) -> tuple[Tensor, RoutingDecision]:
        """Do as `ExpertMixture` does."""
        decision = self.router(x, embedding, request)
        gates = torch.zeros_like(decision.logits, dtype=decision.gates.dtype)
        gates = gates.scatter(1, decision.experts, decision.gates)[..., None, None, None]
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            mixed = mixed + gates[:, number] * expert(x, shared)
        return self.out(self.completed(mixed, x, decision.gates)), decision
