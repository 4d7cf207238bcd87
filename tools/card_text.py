"""Format measured scores as Markdown for a model card: used by ``model_card.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from moceir.config import ModelConfig
from moceir.degradations import CDD11, parse
from moceir.evaluation import PUBLISHED, Evaluation
from moceir.evaluation.published import REFERENCE
from moceir.evaluation.report import beside_published, count_cell, markdown_table, number_cell
from moceir.evaluation.scoring import ImageScore
from moceir.models.cost import network_cost
from moceir.restoration.reports import ExpertUsage, block_names
from moceir.weights import ModelFile

HARDLY_DB = 0.5
"""A smaller mean gain counts as a failure."""
CLEAN = "clean"
SCORES = ("pictures", "input PSNR", "PSNR, dB", "gain, dB", "smallest and largest", "input SSIM", "SSIM")


def order_by_gain(scores: Sequence[ImageScore]) -> list[int]:
    """Sort the indices of the pictures from the smallest gain to the largest; clean inputs are sorted by PSNR."""
    return sorted(range(len(scores)), key=lambda i: (scores[i].gain_db, scores[i].psnr_db))


def smallest_gain(scores: Sequence[ImageScore]) -> list[int]:
    """Choose the picture with the smallest gain."""
    return order_by_gain(scores)[:1]


def median_gain(scores: Sequence[ImageScore]) -> list[int]:
    """Choose the picture with the median gain; of an even number, the lower one in the middle."""
    return [order_by_gain(scores)[(len(scores) - 1) // 2]]


def trained_on(task: str, description: ModelFile) -> bool:
    """Tell whether the recipe has a task with these degradations, whatever their parameters."""
    tasks: Mapping[str, float] = description.training.get("tasks", {})
    return parse(task).names in {parse(name).names for name, weight in tasks.items() if weight}


def weights_lines(description: ModelFile, parameters: int) -> list[str]:
    """Format size, cost and origin of the weights."""
    cost = network_cost(description.model, 224, 224)
    low, high = (cost.macs(route) / 1e9 for route in (cost.cheapest, cost.dearest))
    tasks: Mapping[str, float] = description.training.get("tasks", {})
    total = sum(tasks.values())
    shares = ", ".join(f"{task} {share / total:.1%}" for task, share in tasks.items() if share) or "not known"
    return [
        f"{parameters:,} parameters; {low:.1f} to {high:.1f} GMACs at 224x224, by route. The last training, from "
        "`config.json`:",
        "",
        *(f"- {key}: {value}" for key, value in description.provenance.items()),
        f"- shares of the samples: {shares}",
    ]


def benchmark_lines(results: Sequence[Evaluation]) -> list[str]:
    """Format the scores on the test sets, and the published rows for three tasks."""
    rows = [[result.benchmark, *score_cells(result)] for result in results]
    return [
        *markdown_table(("test set", *SCORES), rows),
        "",
        *beside_published(PUBLISHED["aio3"], results),
    ]


def enlargement_lines(results: Sequence[Evaluation], scale: int) -> list[str]:
    """Format the scores on Y and RGB of a network that enlarges, and published rows on pictures of the same kind."""
    header = ("test set", "pictures", "bicubic", "ours", "gain, dB", "smallest and largest", "bicubic SSIM", "SSIM")
    rows: list[list[str]] = []
    for result in results:
        gains = [(s.y_psnr_db or math.nan) - (s.input_y_psnr_db or math.nan) for s in result.scores]
        mean = sum(gains) / len(gains)
        rows.append(
            [
                f"{result.benchmark}, Y",
                count_cell(result),
                *(number_cell(result.mean(name), 2) for name in ("input_y_psnr_db", "y_psnr_db")),
                number_cell(mean, 2, "+"),
                f"{min(gains):+.2f}, {max(gains):+.2f}",
                *(number_cell(result.mean(name), 4) for name in ("input_y_ssim", "y_ssim")),
            ]
        )
        on_rgb = score_cells(result)
        rows.append([f"{result.benchmark}, RGB", *on_rgb])
    published = PUBLISHED[f"sr{scale}"]
    place = published.benchmarks.index(f"b100-x{scale}")
    others = ", ".join(f"{method} {row[place].psnr_db:.2f}" for method, row in published.rows.items())
    return [
        *markdown_table(header, rows),
        "",
        "PSNR in dB: on Y without a border as wide as the scale, and on whole RGB. For the scale of the numbers, not a "
        f"comparison: on B100, other pictures of the same collection, {others} dB on Y as published.",
    ]


def task_lines(results: Mapping[str, Evaluation], description: ModelFile) -> list[str]:
    """Format the scores of single degradations, and of the eleven of CDD-11 beside the published reference."""
    composites = {name: results.get(name) or results[CDD11[name]] for name in CDD11}
    published = dict(zip(CDD11, PUBLISHED["cdd11"].rows[REFERENCE], strict=True))
    trained = {True: "yes", False: "no"}
    return [
        *markdown_table(
            ("degradation", "trained on", *SCORES),
            [
                [name, trained[trained_on(name, description)], *score_cells(result)]
                for name, result in results.items()
                if name not in CDD11 or CDD11[name] == name
            ],
        ),
        "",
        "The eleven of CDD-11, synthesised here from the same pictures (those of one degradation stand above too). The "
        f"last column is what {REFERENCE} reaches on CDD-11's own pictures, as published: a scale, not a comparison.",
        "",
        *markdown_table(
            ("composite", "trained on", *SCORES, f"{REFERENCE} on CDD-11"),
            [
                [name, trained[trained_on(name, description)], *score_cells(result), f"{published[name].psnr_db:.2f}"]
                for name, result in composites.items()
            ],
        ),
    ]


def score_cells(result: Evaluation) -> list[str]:
    """Format a row of a table of scores, with dashes where a score is not defined."""
    gains = [score.gain_db for score in result.scores if math.isfinite(score.gain_db)]
    return [
        count_cell(result),
        number_cell(result.mean("input_psnr_db"), 2),
        number_cell(result.mean("psnr_db"), 2),
        number_cell(result.mean("gain_db"), 2, "+"),
        f"{min(gains):+.2f}, {max(gains):+.2f}" if gains else "-",
        number_cell(result.mean("input_ssim"), 4),
        number_cell(result.mean("ssim"), 4),
    ]


def failure_lines(results: Mapping[str, Evaluation], description: ModelFile) -> list[str]:
    """Describe in words what fails, from the scores."""
    gains = {name: result.mean("gain_db") for name, result in results.items() if name != CLEAN}
    unseen = [name for name in results if not trained_on(name, description)]
    lines = [
        _named("Made worse on average", gains, lambda gain: gain < 0),
        _named(f"Hardly better on average (below {HARDLY_DB} dB)", gains, lambda gain: 0 <= gain < HARDLY_DB),
        f"- **Not trained on**: {', '.join(unseen) or 'none of the tasks measured'}.",
        _single_pictures(results),
    ]
    if CLEAN in results:
        worst = min(results[CLEAN].scores, key=lambda score: score.psnr_db)
        mean, least = (number_cell(value, 2) for value in (results[CLEAN].mean("psnr_db"), worst.psnr_db))
        lines.append(
            f"- **Clean pictures are changed**: they come back at {mean} dB in the mean, the worst one at {least} dB "
            f"({worst.image})."
        )
    return lines


def _named(title: str, gains: Mapping[str, float], fails: Callable[[float], bool]) -> str:
    failed = sorted((gain, name) for name, gain in gains.items() if fails(gain))
    return f"- **{title}**: {', '.join(f'{name} ({gain:+.2f} dB)' for gain, name in failed) or 'no task'}."


def _single_pictures(results: Mapping[str, Evaluation]) -> str:
    found: list[str] = []
    for name, result in results.items():
        worse = [score for score in result.scores if -math.inf < score.gain_db < 0]
        if worse:
            least = min(worse, key=lambda score: score.gain_db)
            count = f"{name} {len(worse)} of {len(result.scores)}"
            found.append(f"{count} ({least.image} {least.gain_db:+.2f} dB)")
    return f"- **Single pictures made worse**, with the one that lost most: {', '.join(found) or 'none'}."


def expert_lines(results: Mapping[str, Evaluation], usage: ExpertUsage, config: ModelConfig) -> list[str]:
    """Format the shares of the pictures by expert and block, and the cost of their routes."""
    costs = [f"{result.mean('gmacs'):.2f}" for result in results.values()]
    rows = [[*row, cost] for row, cost in zip(usage.percent_rows(), costs, strict=True)]
    names = block_names(config.routed_levels)
    dead = ", ".join(f"expert {expert} of {names[block]}" for block, expert in usage.dead())
    return [
        f"Share of the pictures that went to experts 0, 1, ... (cheapest first), in %, and the mean cost. Taken by no "
        f"picture: {dead or 'none'}.",
        "",
        *markdown_table(("", *names, "GMACs per picture"), rows),
    ]
