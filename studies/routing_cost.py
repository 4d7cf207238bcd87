"""Measure what effort and fixed experts gain on the test sets, and what experts cost: used by ``routing_study.py``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from moceir.config import ModelConfig
from moceir.data.metrics import psnr_db
from moceir.evaluation import benchmark_set
from moceir.evaluation.profiling import describe_machine, median_process_seconds, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.insight.figures import GROUP_COLOURS, page_style
from moceir.models.cost import Route, network_cost
from moceir.models.execution.stripes import stripe_rows
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision, RoutingRequest, shifted_decisions

BENCHMARKS = ("cbsd68-s25", "rain100l")
EFFORTS = (-1.0, -0.3, -0.1, -0.03, 0.0, 0.03, 0.1, 0.3, 1.0)
NAMED_EFFORTS = {-1.0: "low", 0.0: "auto", 1.0: "high"}
LEAST_SPAN_DB = 0.2
"""Smallest height of the drawing, so that invisible differences do not look large."""
TIMED_SIZE, TIMED_ROUNDS = 256, 7


class Point(NamedTuple):
    """Means over a test set.

    Attributes:
        psnr_db: PSNR of the restored pictures.
        gmacs: Cost, 10^9 multiply-accumulates per picture.
        away: Distance from the result of the routers' own route, in 8-bit levels.
    """

    psnr_db: float
    gmacs: float
    away: float


class Curve(NamedTuple):
    """The measured points of one test set by effort and by forced expert, and its number of pictures."""

    efforts: dict[float, Point]
    forced: dict[str, Point]
    pictures: int


class Tried(NamedTuple):
    """A picture that was restored along several routes.

    Attributes:
        own: The route that the routers chose.
        points: What each effort and each forced expert gave.
    """

    own: Route
    points: dict[float | str, Point]


def try_routes(network: MoCEIR, degraded: Tensor, clean: Tensor, efforts: Sequence[float] = EFFORTS) -> Tried:
    """Restore a picture ``(1, 3, H, W)`` by effort and with one expert forced, and compare it with the clean one.

    Args:
        network: The network.
        degraded: What is restored.
        clean: What it should become.
        efforts: With 0, the routers' own choice.
    """
    config = network.config
    complexities = [router.complexity for router in network.routers()]
    restored, own = network.restore_with_routing(degraded)
    cost = network_cost(config, *degraded.shape[-2:])
    routes: dict[float | str, Route] = {
        effort: route_of(shifted_decisions(own, complexities, effort) if effort else own) for effort in efforts
    }
    results = {routes[0.0]: restored}  # a route taken twice is restored once
    points: dict[float | str, Point] = {}
    for way, route in (routes | forced_routes(config)).items():
        if route not in results:
            results[route] = network.restore_with_routing(degraded, routes=as_tensor(route))[0]
        away = float(255 * (results[route] - restored).abs().mean())
        points[way] = Point(score(results[route], clean), cost.macs(route) / 1e9, away)
    return Tried(routes[0.0], points)


def measure_curve(network: MoCEIR, name: str, data: Path, limit: int | None) -> Curve:
    """Measure PSNR and cost by effort and with one expert forced, by the published protocol."""
    measured: dict[float | str, list[Point]] = defaultdict(list)
    for pair in benchmark_set(name, data).pairs("published", 0, limit):
        degraded, clean = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (pair.degraded, pair.clean))
        for way, point in try_routes(network, degraded, clean).points.items():
            measured[way].append(point)
    means = {way: Point(*map(mean, zip(*points, strict=True))) for way, points in measured.items()}
    forced = {way: means[way] for way in forced_routes(network.config)}
    return Curve({effort: means[effort] for effort in EFFORTS}, forced, len(measured[EFFORTS[0]]))


def curve_table(curves: dict[str, Curve]) -> list[str]:
    """Format a row per effort and forced expert, with the test sets side by side."""
    ways: list[tuple[str, list[Point]]] = [
        (label(effort), [curve.efforts[effort] for curve in curves.values()]) for effort in EFFORTS
    ]
    ways += [(name, [curve.forced[name] for curve in curves.values()]) for name in next(iter(curves.values())).forced]
    rows = [
        [name, *(f"{value:.{digits}f}" for point in points for value, digits in zip(point, (3, 2, 3), strict=True))]
        for name, points in ways
    ]
    header = ["", *(cell for name in curves for cell in (f"{name}: PSNR, dB", "GMACs", "levels from auto"))]
    counts = " and ".join(f"the first {curve.pictures} of {name}" for name, curve in curves.items())
    scores = [[point.psnr_db for point in curve.efforts.values()] for curve in curves.values()]
    spans = " and ".join(f"{max(values) - min(values):.3f}" for values in scores)
    ends = [(curve.efforts[EFFORTS[0]].gmacs, curve.efforts[EFFORTS[-1]].gmacs) for curve in curves.values()]
    saved = " and ".join(f"{1 - low / high:.0%}" for low, high in ends)
    lead = (
        f"{counts}, published protocol, seed 0. **Between the best and the worst effort lie {spans} dB; "
        f"low costs {saved} less than high.**"
    )
    return [lead[0].upper() + lead[1:], "", *markdown_table(header, rows)]


def draw_curves(curves: dict[str, Curve]) -> Figure:
    """Draw PSNR against cost, one panel per test set."""
    with page_style():
        figure = Figure(figsize=(9.5, 4.2), layout="constrained")
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (name, curve) in zip(panels, curves.items(), strict=True):
            _draw_curve(axes, curve)
            axes.set(title=f"{name}, {curve.pictures} pictures", xlabel="cost, GMACs per picture", ylabel="PSNR, dB")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _draw_curve(axes: Axes, curve: Curve) -> None:
    costs, scores = ([getattr(point, field) for point in curve.efforts.values()] for field in ("gmacs", "psnr_db"))
    axes.plot(costs, scores, "o-", color=GROUP_COLOURS[0], label="effort")
    for effort, text in NAMED_EFFORTS.items():
        place = (curve.efforts[effort].gmacs, curve.efforts[effort].psnr_db)
        # Both ends are labelled below and auto above, because auto may lie on one of them.
        away, side = (-9, "top") if effort else (9, "bottom")
        axes.annotate(text, place, (0, away), textcoords="offset points", ha="center", va=side)
    for (way, point), mark in zip(curve.forced.items(), "sD^vPX", strict=False):
        axes.plot(point.gmacs, point.psnr_db, mark, color=GROUP_COLOURS[1], fillstyle="none", label=way)
    scores += [point.psnr_db for point in curve.forced.values()]
    middle, span = (max(scores) + min(scores)) / 2, max(LEAST_SPAN_DB, 1.4 * (max(scores) - min(scores)))
    axes.set_ylim(middle - span / 2, middle + span / 2)
    axes.margins(x=0.12)
    axes.grid(alpha=0.2)


def label(effort: float) -> str:
    """Name an effort in the table."""
    named = NAMED_EFFORTS.get(effort)
    return f"effort {effort:g}" + (f" ({named})" if named else "")


def forced_routes(config: ModelConfig) -> dict[str, Route]:
    """List the routes with the same experts in all blocks: ``top_k`` neighbours at a time, cheapest first."""
    blocks, width = config.routed_blocks, config.top_k
    ways = [tuple(range(first, first + width)) for first in range(config.experts - width + 1)]
    return {f"expert {'+'.join(map(str, way))} everywhere": (way,) * blocks for way in ways}


def route_of(decisions: Sequence[RoutingDecision]) -> Route:
    """Read the route of a batch of one image."""
    return tuple(tuple(decision.experts[0].tolist()) for decision in decisions)


def as_tensor(route: Route) -> Tensor:
    """Convert a route to the form that the network takes, for one image."""
    return torch.tensor(route).unsqueeze(1)


def score(restored: Tensor, clean: Tensor) -> float:
    """Compute the PSNR of the clipped result in dB."""
    return float(psnr_db(restored.clamp(0, 1), clean))


def cost_tables(network: MoCEIR) -> list[str]:
    """Measure the cost of whole pictures by route and of single experts by block: counted and timed."""
    config = network.config
    picture = sample_picture(TIMED_SIZE, TIMED_SIZE)
    cost = network_cost(config, TIMED_SIZE, TIMED_SIZE)
    routes = list(forced_routes(config).values())
    calls = [partial(network.restore_with_routing, picture, routes=as_tensor(route)) for route in routes]
    seconds = median_process_seconds(calls, TIMED_ROUNDS)
    rows: list[list[str]] = []
    for number, route in enumerate(routes):
        with stripe_rows(0), FlopCounterMode(display=False) as counter:
            network.restore_with_routing(picture, routes=as_tensor(route))
        macs, torchs = cost.macs(route), counter.get_total_flops() / 2
        ratios = (macs / cost.macs(routes[0]), seconds[number] / seconds[0])
        cells = [f"{macs / 1e9:.3f}", f"{100 * (macs / torchs - 1):+.3f} %", f"{cost.fft_ops(route) / 1e9:.2f}"]
        rows.append(
            ["+".join(map(str, route[0])), *cells, f"{1e3 * seconds[number]:.0f}", *(f"{r:.2f}" for r in ratios)]
        )
    machine = describe_machine("cpu")
    lead = (
        f"{TIMED_SIZE}x{TIMED_SIZE} pixels, processor time on {machine['cpu']}, threads: {machine['threads']}, torch "
        f"{machine['torch']}, medians of {TIMED_ROUNDS}."
    )
    header = ("expert in all blocks", "GMACs", "against torch's count", "FFT Gops", "ms", "GMACs, ratio", "ms, ratio")
    return [lead, "", *markdown_table(header, rows), "", *expert_table(network)]


def expert_table(network: MoCEIR) -> list[str]:
    """Measure the mixture of each level with one expert: counted and timed, relative to the cheapest expert."""
    config = network.config
    cost = network_cost(config, TIMED_SIZE, TIMED_SIZE)
    levels = config.routed_levels
    rows: list[list[str]] = []
    for level in dict.fromkeys(levels):
        block = levels.index(level)
        mixture = [part.mixture for stage in network.decoder for part in stage.blocks][block]
        side = TIMED_SIZE >> level
        x = torch.rand(1, config.channels(level), side, side).contiguous(memory_format=torch.channels_last)
        embedding = torch.rand(1, config.channels(3))
        ways = [torch.arange(e, e + config.top_k)[None] for e in range(config.experts - config.top_k + 1)]
        # In stripes a call overwrites its first map, so that later calls see other numbers; the time is the same.
        calls = [partial(mixture, x.clone(), x, embedding, RoutingRequest(experts=way)) for way in ways]
        seconds = median_process_seconds(calls, TIMED_ROUNDS)
        for way, spent in zip(ways, seconds, strict=True):
            first = way[0].tolist()
            macs = sum(cost.expert_macs[block][e] for e in first)
            ratio = macs / sum(cost.expert_macs[block][: config.top_k])
            cells = [f"{config.expert_ranks(level)[first[0]]}", f"{macs / 1e6:.1f}", f"{1e3 * spent:.1f}"]
            rows.append([f"1/{2**level}, expert {first[0]}", *cells, f"{ratio:.1f}", f"{spent / seconds[0]:.1f}"])
    return markdown_table(("resolution, expert", "rank", "MMACs", "ms", "MMACs, ratio", "ms, ratio"), rows)
