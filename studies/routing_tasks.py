"""Measure how routes and tasks are related, on validation pictures: used by ``routing_study.py``.

Every picture occurs once with each task, so that its content cannot tell the tasks apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import log2, nan, sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import torch
from routing_cost import as_tensor, forced_routes, route_of, score
from torch import Tensor

from moceir.config import ModelConfig
from moceir.degradations import CDD11, parse
from moceir.evaluation.report import markdown_table
from moceir.insight.learning import COMPOSITES
from moceir.insight.signatures import UNKNOWN, Signatures, confusion, confusion_rows, learn_signatures
from moceir.insight.validation import Sighting, degraded_centres
from moceir.models.cost import Route
from moceir.models.network import MoCEIR
from moceir.models.routing import Router, RoutingDecision, RoutingRequest
from moceir.restoration.reports import ExpertUsage, block_names

PATCH_PX = 128
SHUFFLES, RANDOM_ROUTERS = 200, 20
WHOLE = "whole route"


def signature_tables(
    config: ModelConfig, learnt: Signatures, seen: list[Sighting], unseen: list[Sighting]
) -> list[str]:
    """Format the confusion table, the guesses for composites, and the success with each kind of feature alone."""
    singles = [sighting for sighting in unseen if sighting.task in learnt.tasks]
    each = min(Counter(sighting.task for sighting in unseen).values())
    lead = (
        f"Learnt from {learnt.fitted_on} training pictures per task; {each} unseen ones of each row; centres of "
        f"{learnt.patch_px} px, seed {learnt.seed}. {_outcome(learnt.confusion, learnt.tasks)[0]} of the single tasks "
        "are told rightly."
    )
    header = ("", "right", *learnt.tasks, UNKNOWN)
    features = ("features (single tasks)", "right", UNKNOWN, "wrong")
    return [
        lead,
        "",
        *markdown_table(header, confusion_rows(learnt.confusion, learnt.tasks)),
        "",
        *markdown_table(("composite", "unknown", "one of its parts", "wrong"), _composite_rows(learnt)),
        "",
        *markdown_table(features, _feature_rows(config, learnt, seen, singles)),
    ]


def _composite_rows(learnt: Signatures) -> list[list[str]]:
    rows: list[list[str]] = []
    for name in COMPOSITES:
        row, parts = learnt.confusion[name], parse(CDD11[name]).names
        total = sum(row.values())
        unknown, part = row.get(UNKNOWN, 0), sum(row.get(task, 0) for task in parts)
        rows.append([name, *(f"{count / total:.0%}" for count in (unknown, part, total - unknown - part))])
    return rows


def _feature_rows(
    config: ModelConfig, learnt: Signatures, seen: list[Sighting], singles: list[Sighting]
) -> list[list[str]]:
    gates = config.experts * config.routed_blocks
    told = gates + config.channels(3)
    parts = {
        "all": slice(None),
        "scores of the routers alone": slice(gates),
        "frequency embedding alone": slice(gates, told),
        "what the network changed alone": slice(told, None),
    }
    rows: list[list[str]] = []
    for name, part in parts.items():
        known, asked = ([s._replace(features=s.features[part]) for s in group] for group in (seen, singles))
        cut = learn_signatures(known, learnt.tasks, weights="", patch_px=learnt.patch_px, seed=learnt.seed)
        rows.append([name, *_outcome(confusion(cut, asked), learnt.tasks)])
    return rows


def _outcome(table: dict[str, dict[str, int]], tasks: Sequence[str]) -> tuple[str, str, str]:
    """Compute the shares of the single tasks' pictures that were guessed right, called unknown, or guessed wrong."""
    rows = {task: table[task] for task in tasks}
    total = sum(sum(row.values()) for row in rows.values())
    right = sum(row.get(task, 0) for task, row in rows.items()) / total
    unknown = sum(row.get(UNKNOWN, 0) for row in rows.values()) / total
    return f"{right:.0%}", f"{unknown:.0%}", f"{1 - right - unknown:.0%}"


def validation_pairs(files: Sequence[Path], tasks: Sequence[str], most: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the task, degraded and clean ``(1, 3, H, W)`` in [0, 1] of the pictures that signatures are tested on."""
    for task, pair in degraded_centres(files, tasks, most=most, patch_px=PATCH_PX, seed=0):
        yield task, pair.degraded[None], pair.clean[None]


def mutual_information_bits(pairs: Sequence[tuple[object, object]]) -> float:
    """Compute the mutual information of two columns from their frequencies; few rows bias it upwards."""
    joint, left, right = (Counter(column) for column in (pairs, [a for a, _ in pairs], [b for _, b in pairs]))
    total = len(pairs)
    return sum(n / total * log2(n * total / left[a] / right[b]) for (a, b), n in joint.items())


class Information(NamedTuple):
    """How much a column of choices tells about the task.

    Attributes:
        bits: Mutual information with the tasks.
        chance: Mean mutual information with shuffled tasks.
        largest: Largest mutual information with shuffled tasks.
    """

    bits: float
    chance: float
    largest: float

    @classmethod
    def of(cls, tasks: Sequence[str], column: Sequence[object]) -> Information:
        """Measure a column, with the same shuffles for every column."""
        generator = torch.Generator().manual_seed(0)
        orders = [torch.randperm(len(tasks), generator=generator).tolist() for _ in range(SHUFFLES)]
        bits = mutual_information_bits(list(zip(tasks, column, strict=True)))
        chance = [mutual_information_bits([(tasks[i], x) for i, x in zip(o, column, strict=True)]) for o in orders]
        return cls(bits, mean(chance), max(chance))

    @property
    def beyond_chance(self) -> float:
        """The bits without those that a small number of pictures only seems to give."""
        return self.bits - self.chance


def information_tables(network: MoCEIR, files: Sequence[Path], tasks: Sequence[str], most: int) -> list[str]:
    """Measure the mutual information of task and expert, by block and for the whole route, with two controls; usage."""
    seen: list[str] = []
    routes: list[Route] = []
    inputs: list[list[tuple[Tensor, Tensor]]] = []
    for task, degraded, _ in validation_pairs(files, tasks, most):
        decisions, told = _watch_routers(network, degraded)
        seen.append(task)
        routes.append(route_of(decisions))
        inputs.append(told)
    columns = route_columns(network.config, routes)
    random = [route_columns(network.config, _random_routes(network, inputs, seed)) for seed in range(RANDOM_ROUTERS)]
    found = {name: Information.of(seen, column) for name, column in columns.items()}
    drawn = {name: [Information.of(seen, other[name]).beyond_chance for other in random] for name in columns}
    rows = [
        [name, *map("{:.3f}".format, _information_cells(found[name], drawn[name], columns[name]))] for name in columns
    ]
    known = mutual_information_bits(list(zip(seen, seen, strict=True)))
    lead = (
        f"{len(seen)} unseen pictures, {len(tasks)} tasks ({known:.2f} bits), {SHUFFLES} shuffles, "
        f"{RANDOM_ROUTERS} draws of random routers. {reading(found, drawn, known)}"
    )
    controls = ("shuffled: mean", "largest", "beyond chance", "random routers: mean", "largest")
    usage = ExpertUsage.of_routes(
        {task: [route for route, t in zip(routes, seen, strict=True) if t == task] for task in tasks},
        network.config.experts,
    )
    return [
        lead,
        "",
        *markdown_table(("", "bits", *controls, "entropy of the choice"), rows),
        "",
        "Share of the pictures that went to experts 0, 1, ... (cheapest first), in %:",
        "",
        *markdown_table(("", *block_names(network.config.routed_levels)), usage.percent_rows()),
    ]


def _information_cells(found: Information, drawn: Sequence[float], column: Sequence[object]) -> tuple[float, ...]:
    entropy = mutual_information_bits(list(zip(column, column, strict=True)))
    return (*found, found.beyond_chance, mean(drawn), max(drawn), entropy)


def reading(found: dict[str, Information], drawn: dict[str, list[float]], known: float) -> str:
    """Sum the table up: the whole route against chance, and the mean of the blocks against random routers."""
    whole, blocks = found[WHOLE], [name for name in found if name != WHOLE]
    chance = "more than any shuffle" if whole.bits > whole.largest else "no more than a shuffle can"
    own = mean([found[name].beyond_chance for name in blocks])
    random = [mean(draw) for draw in zip(*(drawn[name] for name in blocks), strict=True)]
    as_much = sum(value >= own for value in random)
    return (
        f"**Beyond chance the whole route tells {whole.beyond_chance:.2f} of the {known:.2f} bits, {chance}. A single "
        f"block tells {own:.2f} on average, with random routers {mean(random):.2f}; {as_much} of {len(random)} random "
        f"sets of routers tell as much in their blocks, and "
        f"{sum(value >= whole.beyond_chance for value in drawn[WHOLE])} by the whole route.**"
    )


def route_columns(config: ModelConfig, routes: Sequence[Route]) -> dict[str, list[object]]:
    """List the choices for all pictures, by block and as whole routes."""
    names = block_names(config.routed_levels)
    columns: dict[str, list[object]] = {name: [tuple(r[i]) for r in routes] for i, name in enumerate(names)}
    columns[WHOLE] = [tuple(map(tuple, route)) for route in routes]
    return columns


def _watch_routers(network: MoCEIR, image: Tensor) -> tuple[list[RoutingDecision], list[tuple[Tensor, Tensor]]]:
    """Restore an image; return the decisions and each router's inputs: mean feature ``(1, C, 1, 1)``, embedding."""
    told: list[tuple[Tensor, Tensor]] = []

    def note(_module: object, inputs: tuple[Tensor, Tensor, RoutingRequest]) -> None:
        told.append((inputs[0].mean(dim=(2, 3), keepdim=True), inputs[1].clone()))

    watched = [router.register_forward_pre_hook(note) for router in network.routers()]
    try:
        return network.restore_with_routing(image)[1], told
    finally:
        for handle in watched:
            handle.remove()


def _random_routes(network: MoCEIR, inputs: Sequence[list[tuple[Tensor, Tensor]]], seed: int) -> list[Route]:
    """Let routers with random weights choose, from the inputs of the network's own routers."""
    blocks: list[list[list[int]]] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for number, (level, own) in enumerate(zip(network.config.routed_levels, network.routers(), strict=True)):
            drawn = Router(network.config, level, own.complexity.tolist())
            features, embeddings = (
                torch.cat(column) for column in zip(*(told[number] for told in inputs), strict=True)
            )
            blocks.append(drawn(features, embeddings, RoutingRequest()).experts.tolist())
    return [tuple(map(tuple, route)) for route in zip(*blocks, strict=True)]


def forced_table(network: MoCEIR, files: Sequence[Path], tasks: Sequence[str], most: int) -> list[str]:
    """Measure the PSNR of each task with the routers' choice, and how much one expert in all blocks changes it."""
    forced = forced_routes(network.config)
    own: dict[str, list[float]] = {task: [] for task in tasks}
    gains: dict[str, dict[str, list[float]]] = {task: {name: [] for name in forced} for task in tasks}
    for task, degraded, clean in validation_pairs(files, tasks, most):
        restored, decisions = network.restore_with_routing(degraded)
        base = score(restored, clean)
        own[task].append(base)
        for name, route in forced.items():
            same = route == route_of(decisions)
            other = restored if same else network.restore_with_routing(degraded, routes=as_tensor(route))[0]
            gains[task][name].append(score(other, clean) - base)
    together = {name: [gain for task in tasks for gain in gains[task][name]] for name in forced}
    rows = [[task, f"{mean(own[task]):.3f}", *gain_cells(gains[task])] for task in tasks]
    rows.append(["all", f"{mean([value for task in tasks for value in own[task]]):.3f}", *gain_cells(together)])
    spans = {task: max(map(mean, gains[task].values())) - min(map(mean, gains[task].values())) for task in tasks}
    widest = max(spans, key=lambda task: spans[task])
    oracle = mean([max(map(mean, gains[task].values())) for task in tasks])
    best = max(together, key=lambda name: mean(together[name]))
    lead = (
        f"{len(own[widest])} unseen pictures per task, centres of {PATCH_PX} px, seed 0; gains and losses against the "
        f"routers' choice in dB, with the standard error of the mean. **Between the best and the worst expert lie "
        f"{spans[widest]:.3f} dB at most ({widest}). The best one for all tasks, {best}, changes the routers' mean by "
        f"{_gain(together[best])} dB; the best one of each task, by {oracle:+.3f} dB.**"
    )
    return [lead, "", *markdown_table(("", "routers' choice, dB", *forced, "clearly better"), rows)]


def gain_cells(gains: dict[str, list[float]]) -> list[str]:
    """Format the gains, and name the experts that beat the routers by more than two standard errors."""
    better = [name for name, values in gains.items() if mean(values) > 2 * _error(values)]
    return [*map(_gain, gains.values()), ", ".join(name.split()[1] for name in better) or "none"]


def _gain(values: Sequence[float]) -> str:
    return f"{mean(values):+.3f} ± {_error(values):.3f}"


def _error(values: Sequence[float]) -> float:
    """Compute the standard error of the mean."""
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else nan
