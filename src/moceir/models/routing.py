"""The router: which complexity experts an image needs, and the loss that keeps all of them in use.

Source: MoCE-IR (arXiv 2411.18466), section 3.3, on the noisy top-k gating of Shazeer et al. (arXiv 1701.06538).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.errors import ConfigError
from moceir.models.execution.pointwise import Pointwise
from moceir.models.execution.statistics import Statistics, mean_feature
from moceir.models.execution.stripes import Crop, by_stripes
from moceir.models.experts import EXPERT_REACH, Expert


class RoutingDecision(NamedTuple):
    """What the router of one decoder block decided for each image of a batch.

    Attributes:
        experts: Chosen experts, best first, ``(B, k)`` int64.
        gates: What their features are multiplied by, ``(B, k)``: softmax weights, not renormalised over the k (see
            ``ModelConfig.gate``).
        logits: Scores of all experts before any noise, ``(B, n)``.
        balance_loss: Scalar that is small when the experts share the work as the bias asks; zero outside training.
    """

    experts: Tensor
    gates: Tensor
    logits: Tensor
    balance_loss: Tensor


def check_routes(routes: Tensor, config: ModelConfig, images: int) -> Tensor:
    """Give back routes that fit the network, ``(decoder blocks, images, top_k)`` int64.

    Raises:
        ConfigError: If shape or type are others, or an image would get an expert twice or one that is not there.
    """
    shape = (sum(config.decoder_blocks), images, config.top_k)
    if routes.shape != shape or routes.dtype != torch.int64:
        msg = (
            f"routes are {tuple(routes.shape)} of {routes.dtype}; expected (decoder blocks, images, top_k) = {shape} "
            "of torch.int64"
        )
        raise ConfigError(msg)
    if routes.numel() and not (routes.min() >= 0 and routes.max() < config.experts):
        msg = f"routes name experts from {routes.min()} to {routes.max()}; the network has 0 to {config.experts - 1}"
        raise ConfigError(msg)
    if (routes.sort(dim=-1).values.diff(dim=-1) == 0).any():
        raise ConfigError(f"routes name an expert twice for one image; give {config.top_k} different ones per block")
    return routes


class Effort:
    """Shifts the choices of all routers for one batch towards cheap or dear experts; each batch needs its own.

    Every score moves by the shift times its expert's complexity. The first block where this changes the choice takes
    the changed one, and all blocks behind it the cheapest experts (for a positive shift, the dearest): what the routers
    would have chosen there on their own is no longer known. Hence less effort never costs more, whatever the network,
    and none never more than the routers' own choice (``docs/routing.md`` has the argument).

    Args:
        shift: What the score of the dearest expert gains; below 0 for less effort, above 0 for more.

    Raises:
        ConfigError: If the shift is no finite number.
    """

    def __init__(self, shift: float) -> None:
        if not math.isfinite(shift):
            raise ConfigError(
                f"effort is {shift}; give a finite number, as -1 for less and 1 for more than the routers choose"
            )
        self.shift = shift
        self._departed: Tensor | None = None
        """Which images have left the routers' own route, ``(B,)``."""

    def choose(self, scores: Tensor, own: Tensor, complexity: Tensor) -> Tensor:
        """Choose the experts of the next block.

        Args:
            scores: Of all experts, cheapest first, ``(B, n)``.
            own: The router's own choice, ``(B, k)``.
            complexity: Of each expert, ``(n,)``.

        Returns:
            Experts ``(B, k)``: its own choice as it is, or others in the order of their shifted scores.
        """
        top_k = own.shape[-1]
        shifted = (scores.float() + self.shift * complexity).topk(top_k).indices
        # Its own choice stands where the shift gains nothing: rounding must not turn it round.
        gain = (complexity[shifted].sum(-1) - complexity[own].sum(-1)) * self.shift
        changed = gain > 0
        if self._departed is None:
            self._departed = torch.zeros_like(changed)
        end = torch.arange(top_k, device=own.device)
        end = end if self.shift < 0 else end + (len(complexity) - top_k)
        chosen = torch.where(changed.unsqueeze(-1), shifted, own)
        chosen = torch.where(self._departed.unsqueeze(-1), end, chosen)
        self._departed = self._departed | changed
        return chosen


Steering = Tensor | Effort | None
"""What decides on experts: a given route ``(B, k)``, the router's scores shifted by an effort, or the router alone."""


def shifted_decisions(
    decisions: Sequence[RoutingDecision], complexities: Sequence[Tensor], shift: float
) -> list[RoutingDecision]:
    """What an effort makes of the routers' own decisions.

    Up to where it leaves their route, they are all that it depends on: so this is what the network would decide.

    Args:
        decisions: The routers' own, one per decoder block, deep first.
        complexities: Of the experts of each block.
        shift: See `Effort`.
    """
    effort = Effort(shift)
    shifted: list[RoutingDecision] = []
    for decision, complexity in zip(decisions, complexities, strict=True):
        experts = effort.choose(decision.logits, decision.experts, complexity)
        gates = decision.logits.softmax(dim=-1).gather(-1, experts)
        shifted.append(decision._replace(experts=experts, gates=gates))
    return shifted


def squared_variation(x: Tensor) -> Tensor:
    """Squared coefficient of variation of a vector (unbiased standard deviation over mean)."""
    return (x.std() / (x.mean() + 1e-8)) ** 2


class Router(nn.Module):
    """Linear scores from the mean feature and the frequency embedding, then softmax and top-k."""

    complexity: Tensor

    def __init__(
        self,
        channels: int,
        embedding: int,
        complexity: Sequence[float],
        top_k: int,
        *,
        bias_to_cheap: bool,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        self.straight_through = straight_through
        experts = len(complexity)
        self.top_k = top_k
        self.bias_to_cheap = bias_to_cheap
        self.noise_std = 1 / experts
        self.from_features = nn.Linear(channels, experts, bias=False)
        self.from_frequency = nn.Linear(embedding, experts, bias=False)
        self.register_buffer("complexity", torch.tensor(complexity, dtype=torch.float32))

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        noise: Tensor | None,
        steering: Steering = None,
        whole: Statistics | None = None,
    ) -> RoutingDecision:
        """Route each image.

        Args:
            x: Features ``(B, C, H, W)``.
            embedding: Frequency embedding ``(B, D)``.
            noise: Standard normal ``(B, n)``, only in training; None makes the decision deterministic.
            steering: What takes other experts than the best ones; their gates are the softmax values all the same.
            whole: Statistics of the pictures that the features are parts of.
        """
        logits = self.from_features(mean_feature(self, x, whole)) + self.from_frequency(embedding)
        noisy = logits if noise is None else logits + noise * self.noise_std
        chances = torch.softmax(noisy, dim=-1)
        experts = steering if isinstance(steering, Tensor) else chances.topk(self.top_k, dim=-1).indices
        if isinstance(steering, Effort):
            experts = steering.choose(noisy, experts, self.complexity)
        gates = chances.gather(-1, experts)
        if self.straight_through:
            gates = gates + (gates / gates.sum(dim=-1, keepdim=True) - gates).detach()
        balance = logits.new_zeros(()) if noise is None else self.balance_loss(logits, noisy)
        return RoutingDecision(experts, gates, logits, balance)

    def balance_loss(self, logits: Tensor, noisy: Tensor) -> Tensor:
        """Mean of the importance and load imbalances, each ``(B, n)`` logits to a scalar.

        With the complexity bias on, importance counts in parameters: equal shares then mean that cheap experts are
        chosen more often than dear ones.
        """
        importance = torch.softmax(logits, dim=-1).sum(dim=0)
        if self.bias_to_cheap:
            importance = importance * self.complexity
        threshold = noisy.topk(self.top_k, dim=-1).values[:, -1:]
        chosen = 1 - torch.special.ndtr((threshold - logits) / self.noise_std)
        return 0.5 * squared_variation(importance) + 0.5 * squared_variation(chosen.mean(dim=0))


class ExpertMixture(nn.Module):
    """A router, its experts, and the projection behind them."""

    def __init__(
        self,
        channels: int,
        embedding: int,
        ranks: Sequence[int],
        windows: Sequence[int],
        top_k: int,
        *,
        bias_to_cheap: bool,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Expert(channels, r, w) for r, w in zip(ranks, windows, strict=True))
        sizes = [sum(p.numel() for p in expert.parameters()) for expert in self.experts]
        complexity = [size / max(sizes) for size in sizes]
        self.router = Router(
            channels, embedding, complexity, top_k, bias_to_cheap=bias_to_cheap, straight_through=straight_through
        )
        self.out = Pointwise(channels, channels, bias=False)
        self.all_at_once = False
        """Whether, in training, each expert gets the whole batch and what is not its own counts nothing.

        More work, but of shapes that do not change from step to step: compilers and the convolutions of accelerators
        prepare themselves for each shape anew, which takes many times as long as a step.
        """

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        shared: Tensor,
        noise: Tensor | None,
        steering: Steering = None,
        whole: Statistics | None = None,
    ) -> tuple[Tensor, RoutingDecision]:
        """Give each image of ``(B, C, H, W)`` to its experts; returns the same shape and the decision.

        In stripes, ``x`` is used up: the result takes its place.
        """
        decision = self.router(x, embedding, noise, steering, whole)
        if self.all_at_once and torch.is_grad_enabled():
            return self._all_at_once(x, shared, decision), decision
        shares: list[tuple[Any, Tensor, Tensor]] = []  # the expert, its images, their gates
        for e, expert in enumerate(self.experts):
            image, choice = torch.where(decision.experts == e)
            if image.numel():
                shares.append((expert, image, decision.gates[image, choice].view(-1, 1, 1, 1)))

        def mix(crop: Crop, x: Tensor, shared: Tensor) -> Tensor:
            if len(shares) == 1 and len(shares[0][1]) == len(x):  # nothing to select or to put back
                expert, _, gate = shares[0]
                return self.out(gate * expert(x, shared, crop))
            mixed = torch.zeros_like(crop(x))
            for expert, image, gate in shares:
                refined = gate * expert(x[image], shared[image], crop)
                mixed = mixed.index_add(0, image, refined.to(mixed.dtype))  # autocast may differ between the two
            return self.out(mixed)

        window = max(expert.attention.window for expert, _, _ in shares)
        return by_stripes(mix, x, shared, reach=EXPERT_REACH, align=window, into=x), decision

    def _all_at_once(self, x: Tensor, shared: Tensor, decision: RoutingDecision) -> Tensor:
        gates = torch.zeros_like(decision.logits, dtype=decision.gates.dtype)
        gates = gates.scatter(1, decision.experts, decision.gates)[..., None, None, None]
        mixed = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            mixed = mixed + gates[:, e] * expert(x, shared)
        return self.out(mixed)
