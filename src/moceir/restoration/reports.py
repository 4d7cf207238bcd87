"""Reports on routing: the route of one picture with its cost and reach, and how often each expert works."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from moceir.config import ModelConfig
from moceir.errors import require_extra
from moceir.models.cost import Route, network_cost
from moceir.models.experts import EXPERT_REACH
from moceir.models.routing import RoutingDecision

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True)
class BlockReport:
    """The decision of one decoder block for one picture; lists over experts run from the cheapest to the dearest.

    Attributes:
        level: Where the block works: at 1 / 2**level of the resolution.
        experts: The chosen experts, best first.
        probabilities: The router's softmax values, before any effort.
        scores: The router's scores, before the softmax.
        ranks: Inner width of each expert, in channels.
        reach_px: Side of the square of picture pixels whose features an expert brings together: its window with the
            reach of its kernels on either side. (Attention over channels, in all blocks, sees the whole picture.)
        gmacs: Cost of each expert for this picture, 10^9 multiply-accumulates.
    """

    level: int
    experts: tuple[int, ...]
    probabilities: tuple[float, ...]
    scores: tuple[float, ...]
    ranks: tuple[int, ...]
    reach_px: tuple[int, ...]
    gmacs: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class RoutingReport:
    """The experts that worked on one picture, and their cost as ``moceir.models.cost`` counts it.

    Attributes:
        blocks: The decoder blocks in order of execution (deep first).
        gmacs: Cost of the picture on the route taken, 10^9 multiply-accumulates.
        cheapest_gmacs: Cost on the cheapest route.
        dearest_gmacs: Cost on the dearest route.
    """

    blocks: tuple[BlockReport, ...]
    gmacs: float
    cheapest_gmacs: float
    dearest_gmacs: float

    @property
    def experts(self) -> tuple[tuple[int, ...], ...]:
        """The route: experts taken in each decoder block."""
        return tuple(block.experts for block in self.blocks)

    @property
    def gate_vector(self) -> tuple[float, ...]:
        """The routers' scores of all experts in all blocks, one after the other."""
        return tuple(score for block in self.blocks for score in block.scores)

    @property
    def cost_position(self) -> float:
        """The cost's position between the cheapest (0) and the dearest route (1)."""
        span = self.dearest_gmacs - self.cheapest_gmacs
        return (self.gmacs - self.cheapest_gmacs) / span if span else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the report that `to_json` gave, as read from JSON."""
        blocks: list[Mapping[str, Any]] = content["blocks"]
        lists = [{name: tuple(value) for name, value in block.items() if isinstance(value, list)} for block in blocks]
        made = tuple(BlockReport(level=block["level"], **values) for block, values in zip(blocks, lists, strict=True))
        return cls(made, content["gmacs"], content["cheapest_gmacs"], content["dearest_gmacs"])

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the probabilities as a map of blocks and experts, with ranks and reach, the choice outlined.

        Args:
            axes: Where to draw; a new figure if None.

        Raises:
            MissingExtraError: If matplotlib is not installed.
        """
        require_extra("matplotlib", "inspect")
        from matplotlib import pyplot as plt  # noqa: PLC0415 - an extra, only figures need it
        from matplotlib.patches import Rectangle  # noqa: PLC0415

        if axes is None:
            axes = plt.figure(layout="constrained").subplots()
        rows = [block.probabilities for block in self.blocks]
        axes.imshow(rows, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for row, block in enumerate(self.blocks):
            for expert, share in enumerate(block.probabilities):
                colour = "white" if share < 0.5 else "black"
                text = f"{share:.0%}\nrank {block.ranks[expert]}, {block.reach_px[expert]} px"
                axes.text(expert, row, text, ha="center", va="center", color=colour, fontsize=8)
            for expert in block.experts:
                place = (expert - 0.46, row - 0.46)
                axes.add_patch(Rectangle(place, 0.92, 0.92, fill=False, edgecolor="#d55e00", linewidth=2.5))
        axes.set_xticks(range(len(rows[0])), [f"expert {e}" for e in range(len(rows[0]))])
        axes.set_xlabel("probability; rank, in channels; side of the pixels brought together; taken ones outlined")
        axes.set_yticks(range(len(rows)), block_names(block.level for block in self.blocks))
        return axes


def routing_reports(
    config: ModelConfig, decisions: Sequence[RoutingDecision], height: int, width: int
) -> list[RoutingReport]:
    """Describe what the routers decided, one report per image of a batch.

    Args:
        config: Shape of the network.
        decisions: One per decoder block.
        height: Of the pictures, in pixels.
        width: Likewise.
    """
    cost = network_cost(config, height, width)
    levels = config.routed_levels
    ends = [cost.macs(route) / 1e9 for route in (cost.cheapest, cost.dearest)]
    experts = [decision.experts.tolist() for decision in decisions]
    scores = [decision.logits.float() for decision in decisions]
    chances = [block.softmax(dim=-1).tolist() for block in scores]
    reports: list[RoutingReport] = []
    for i in range(len(experts[0]) if experts else 0):
        blocks = tuple(
            BlockReport(
                level=level,
                experts=tuple(experts[b][i]),
                probabilities=tuple(chances[b][i]),
                scores=tuple(scores[b][i].tolist()),
                ranks=config.expert_ranks(level),
                reach_px=tuple((window + 2 * EXPERT_REACH) << level for window in config.expert_windows()),
                gmacs=tuple(macs / 1e9 for macs in cost.expert_macs[b]),
            )
            for b, level in enumerate(levels)
        )
        taken = cost.macs([block.experts for block in blocks]) / 1e9
        reports.append(RoutingReport(blocks, taken, *ends))
    return reports


def block_names(levels: Iterable[int]) -> list[str]:
    """Return names of decoder blocks, in order of execution, with their resolution: ``block 0 (1/4)``."""
    return [f"block {number} (1/{2**level})" for number, level in enumerate(levels)]


@dataclasses.dataclass(frozen=True)
class ExpertUsage:
    """Counts of how often experts worked on the pictures of several groups (tasks, folders).

    Attributes:
        counts: By group: how often each expert (columns, cheapest first) was taken in each decoder block (rows).
    """

    counts: Mapping[str, Sequence[Sequence[int]]]

    @classmethod
    def of_routes(cls, routes: Mapping[str, Sequence[Route]], experts: int) -> Self:
        """Count.

        Args:
            routes: The routes of each group's pictures.
            experts: How many each block has.
        """
        counts: dict[str, list[list[int]]] = {}
        for group, taken in routes.items():
            blocks = zip(*taken, strict=True)
            counts[group] = [[sum(list(e).count(x) for e in block) for x in range(experts)] for block in blocks]
        return cls(counts)

    def shares(self, group: str) -> list[list[float]]:
        """Return the counts of a group as shares of each block's total."""
        return [[count / max(sum(row), 1) for count in row] for row in self.counts[group]]

    def percent_rows(self) -> list[list[str]]:
        """List table rows: the group, then per block the shares of experts 0, 1, ... in percent: ``3 / 3 / 0 / 94``."""
        return [
            [group, *(" / ".join(f"{100 * share:.0f}" for share in block) for block in self.shares(group))]
            for group in self.counts
        ]

    def entropy_bits(self, group: str) -> list[float]:
        """Return how evenly each block spreads a group over its experts, from 0 (one expert) to log2 of them."""
        return [sum(-share * math.log2(share) for share in row if share) for row in self.shares(group)]

    def dead(self) -> list[tuple[int, int]]:
        """Return block and expert for each expert that worked on no picture of any group."""
        return [
            (block, expert)
            for block, rows in enumerate(zip(*self.counts.values(), strict=True))
            for expert, counts in enumerate(zip(*rows, strict=True))
            if not sum(counts)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return counts, shares and entropies of each group, as JSON can hold them."""
        measures = {"shares": self.shares, "entropy_bits": self.entropy_bits}
        return {
            group: {"counts": counts, **{name: measure(group) for name, measure in measures.items()}}
            for group, counts in self.counts.items()
        }
