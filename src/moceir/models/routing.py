"""The router: which complexity experts an image needs, and the loss that keeps all of them in use.

Source: MoCE-IR (arXiv 2411.18466), section 3.3, on the noisy top-k gating of Shazeer et al. (arXiv 1701.06538).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.errors import ConfigError
from moceir.models.experts import Expert
from moceir.models.layers import Wiring, conv1x1

LARGEST_EFFORT = 1e6
"""Efforts beyond this count as this one: scores no longer matter there, and float32 would overflow far above."""


class RoutingDecision(NamedTuple):
    """What the router of one decoder block decided for each image of a batch.

    Attributes:
        experts: Chosen experts, best first, ``(B, k)`` int64.
        gates: What their features are multiplied by, ``(B, k)``: softmax weights, not renormalised over the k (see
            ``ModelConfig.gate``).
        logits: Scores of all experts before any noise, ``(B, n)``.
        balance_loss: Scalar that is small when the experts share the work as the bias asks; zero outside training.
        departed: Whether an effort has led an image away from the routers' own route, here or in an earlier block,
            ``(B,)`` bool.
    """

    experts: Tensor
    gates: Tensor
    logits: Tensor
    balance_loss: Tensor
    departed: Tensor


def join_decisions(decisions: Sequence[RoutingDecision]) -> RoutingDecision:
    """Join the decisions of one block on several batches, in their order."""
    experts, gates, logits, _, departed = (
        torch.cat([torch.atleast_1d(part) for part in parts]) for parts in zip(*decisions, strict=True)
    )
    return RoutingDecision(experts, gates, logits, decisions[0].balance_loss, departed)


class RoutingRequest(NamedTuple):
    """What a caller asks of the router of one decoder block.

    Attributes:
        noise: Standard normal routing noise ``(B, n)``, in training only.
        experts: Experts to use instead of the router's choice, ``(B, k)`` int64.
        effort: Shift of the choice towards cheap (below 0) or costly experts (above 0); see `with_effort`.
        departed: `RoutingDecision.departed` of the block before; None for the first.
    """

    noise: Tensor | None = None
    experts: Tensor | None = None
    effort: float = 0.0
    departed: Tensor | None = None


def routing_requests(
    config: ModelConfig, images: int, noise: Tensor | None, routes: Tensor | None, effort: float
) -> list[RoutingRequest]:
    """Check what a caller asks of the routers, and split it into one request per decoder block, deep first.

    Raises:
        ConfigError: If the routes have another shape or type than ``(decoder blocks, images, top_k)`` int64, name an
            expert that does not exist or name one twice for an image; if the effort is not a finite number, or is given
            beside routes.
    """
    if not math.isfinite(effort):
        raise ConfigError(
            f"effort is {effort}; give a finite number, for example -1 for less and 1 for more than the routers choose"
        )
    if routes is not None and effort:
        raise ConfigError("given routes leave nothing for an effort to choose; give one of the two")
    if routes is not None:
        check_routes(routes, config, images)
    blocks = range(config.routed_blocks)
    return [
        RoutingRequest(
            noise=None if noise is None else noise[block],
            experts=None if routes is None else routes[block],
            effort=effort,
        )
        for block in blocks
    ]


def check_routes(routes: Tensor, config: ModelConfig, images: int) -> Tensor:
    """Return routes that fit the network.

    Raises:
        ConfigError: If they do not; see `routing_requests`.
    """
    shape = (config.routed_blocks, images, config.top_k)
    if routes.shape != shape or routes.dtype != torch.int64:
        raise ConfigError(
            f"routes are {tuple(routes.shape)} of {routes.dtype}; expected (decoder blocks, images, top_k) = {shape} "
            "of torch.int64"
        )
    if routes.numel() and not (routes.min() >= 0 and routes.max() < config.experts):
        msg = f"routes name experts from {routes.min()} to {routes.max()}; the network has 0 to {config.experts - 1}"
        raise ConfigError(msg)
    if (routes.sort(dim=-1).values.diff(dim=-1) == 0).any():
        raise ConfigError(f"routes name an expert twice for one image; give {config.top_k} different ones per block")
    return routes


def with_effort(
    scores: Tensor, own: Tensor, complexity: Tensor, effort: float, departed: Tensor
) -> tuple[Tensor, Tensor]:
    """Shift a router's choice towards cheap or costly experts.

    Every score moves by the effort times its expert's complexity. The first block where this changes the choice takes
    the changed one, and all blocks after it the cheapest experts (for a positive effort, the costliest): what the
    routers would have chosen there on their own is no longer known. So less effort never costs more, whatever the
    network, and none never more than the routers' own choice (``docs/routing.md`` has the argument).

    Args:
        scores: Scores of all experts, cheapest first, ``(B, n)``.
        own: The router's own choice, ``(B, k)``.
        complexity: Complexity of each expert, ``(n,)``.
        effort: What the score of the costliest expert gains.
        departed: Which images left the routers' own route before this block, ``(B,)`` bool.

    Returns:
        Experts ``(B, k)``: the router's own choice as it is, or others in the order of their shifted scores; and which
        images have now left the routers' own route, ``(B,)`` bool.
    """
    top_k = own.shape[-1]
    effort = min(max(effort, -LARGEST_EFFORT), LARGEST_EFFORT)
    shifted = (scores.float() + effort * complexity).topk(top_k).indices
    # The own choice stands where the shift gains nothing: rounding must not reverse it.
    changed = (complexity[shifted].sum(-1) - complexity[own].sum(-1)) * effort > 0
    end = torch.arange(top_k, device=own.device)
    if effort > 0:
        end = end + (len(complexity) - top_k)
    chosen = torch.where(changed.unsqueeze(-1), shifted, own)
    return torch.where(departed.unsqueeze(-1), end, chosen), departed | changed


def shifted_decisions(
    decisions: Sequence[RoutingDecision], complexities: Sequence[Tensor], effort: float
) -> list[RoutingDecision]:
    """Predict what an effort makes of the routers' own decisions, without running the network.

    Up to where it leaves their route, it depends on nothing else; so this is what the network would decide.

    Args:
        decisions: The routers' own, one per decoder block, deep first.
        complexities: Of the experts of each block.
        effort: See `with_effort`.
    """
    shifted: list[RoutingDecision] = []
    departed = decisions[0].departed
    for decision, complexity in zip(decisions, complexities, strict=True):
        experts, departed = with_effort(decision.logits, decision.experts, complexity, effort, departed)
        gates = decision.logits.softmax(dim=-1).gather(-1, experts)
        shifted.append(decision._replace(experts=experts, gates=gates, departed=departed))
    return shifted


def squared_variation(x: Tensor) -> Tensor:
    """Compute the squared coefficient of variation of a vector (unbiased standard deviation over mean)."""
    return (x.std() / (x.mean() + 1e-8)) ** 2


class Router(nn.Module):
    """Linear scores from the mean feature and the frequency embedding, then softmax and top-k."""

    wiring: ClassVar = {"from_features": Wiring("stream", "inner"), "from_frequency": Wiring("inner", "inner")}
    complexity: Tensor

    def __init__(self, config: ModelConfig, level: int, complexity: Sequence[float]) -> None:
        super().__init__()
        self.top_k = config.top_k
        self.bias_to_cheap = config.complexity_bias
        self.straight_through = config.gate != "softmax"
        self.noise_std = 1 / config.experts
        self.from_features = nn.Linear(config.channels(level), config.experts, bias=False)
        self.from_frequency = nn.Linear(config.channels(3), config.experts, bias=False)
        self.register_buffer("complexity", torch.tensor(complexity, dtype=torch.float32))

    def forward(self, x: Tensor, embedding: Tensor, request: RoutingRequest) -> RoutingDecision:
        """Route each image by its features ``(B, C, H, W)`` and its frequency embedding ``(B, D)``."""
        return self.decide(x.mean(dim=(2, 3)), embedding, request)

    def decide(self, feature: Tensor, embedding: Tensor, request: RoutingRequest) -> RoutingDecision:
        """Route each image by its mean feature ``(B, C)`` and its frequency embedding ``(B, D)``."""
        logits = self.from_features(feature) + self.from_frequency(embedding)
        noisy = logits if request.noise is None else logits + request.noise * self.noise_std
        chances = torch.softmax(noisy, dim=-1)
        experts, departed = request.experts, request.departed
        if departed is None:
            departed = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        if experts is None:
            experts = chances.topk(self.top_k, dim=-1).indices
            if request.effort:
                experts, departed = with_effort(noisy, experts, self.complexity, request.effort, departed)
        gates = chances.gather(-1, experts)
        if self.straight_through:
            gates = gates + (gates / gates.sum(dim=-1, keepdim=True) - gates).detach()
        balance = logits.new_zeros(()) if request.noise is None else self.balance_loss(logits, noisy)
        return RoutingDecision(experts, gates, logits, balance, departed)

    def balance_loss(self, logits: Tensor, noisy: Tensor) -> Tensor:
        """Average the importance and load imbalances of ``(B, n)`` logits, without and with noise, to a scalar.

        With the complexity bias on, importance counts in parameters: equal shares then mean that cheap experts are
        chosen more often than costly ones.
        """
        importance = torch.softmax(logits, dim=-1).sum(dim=0)
        if self.bias_to_cheap:
            importance = importance * self.complexity
        threshold = noisy.topk(self.top_k, dim=-1).values[:, -1:]
        chosen = 1 - torch.special.ndtr((threshold - logits) / self.noise_std)
        return 0.5 * squared_variation(importance) + 0.5 * squared_variation(chosen.mean(dim=0))


class ExpertMixture(nn.Module):
    """A router, its experts, and the projection behind them."""

    def __init__(self, config: ModelConfig, level: int) -> None:
        super().__init__()
        channels = config.channels(level)
        shapes = zip(config.expert_ranks(level), config.expert_windows(), strict=True)
        self.experts = nn.ModuleList(Expert(channels, rank, window) for rank, window in shapes)
        sizes = [sum(p.numel() for p in expert.parameters()) for expert in self.experts]
        self.router = Router(config, level, [size / max(sizes) for size in sizes])
        self.out = conv1x1(channels, channels, bias=False)
        self.residual = config.gate == "residual"

    def forward(
        self, x: Tensor, shared: Tensor, embedding: Tensor, request: RoutingRequest
    ) -> tuple[Tensor, RoutingDecision]:
        """Give each image of ``(B, C, H, W)`` to its experts; return the same shape and the decision."""
        decision = self.router(x, embedding, request)
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            image, choice = torch.where(decision.experts == number)
            if image.numel():
                gate = decision.gates[image, choice].view(-1, 1, 1, 1)
                refined = gate * expert(x[image], shared[image])
                mixed = mixed.index_add(0, image, refined.to(mixed.dtype))  # types may differ under autocast
        return self.out(self.completed(mixed, x, decision.gates)), decision

    def completed(self, mixed: Tensor, x: Tensor, gates: Tensor) -> Tensor:
        """With residual gates ``(B, k)``, add the input ``(B, C, H, W)`` times what the gates lack to 1.

        They sum to 1, so this changes no value, but it takes ``x``, which all experts add, out of the gates' gradient.
        """
        return mixed + (1 - gates.sum(dim=-1)).view(-1, 1, 1, 1) * x if self.residual else mixed
