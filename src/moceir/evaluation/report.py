"""Evaluations as text for files: JSON, CSV with a row per picture, and Markdown beside the published results."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from moceir.evaluation.published import REFERENCE, PublishedTable, Score, tables_for
from moceir.evaluation.scoring import Evaluation

_DIGITS = {"input_ssim": 4, "ssim": 4, "lpips": 4}
_TITLES = {
    "input_psnr_db": "input PSNR",
    "psnr_db": "PSNR, dB",
    "input_ssim": "input SSIM",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "seconds": "s per picture",
    "gmacs": "GMACs per picture",
}


def to_json(results: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the content of a JSON file: one evaluation as it is, several as a list under the key ``benchmarks``."""
    rows = [result.to_json() for result in results]
    return rows[0] if len(rows) == 1 else {"benchmarks": rows}


def to_csv(results: Iterable[Evaluation]) -> str:
    """One row per picture; the route is written as ``3|0|2``, one expert per decoder block, several as ``3+2|0+1``."""
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for result in results:
        named = {"benchmark": result.benchmark, "model": result.model, "protocol": result.protocol, "seed": result.seed}
        for score in result.scores:
            route = "|".join("+".join(map(str, taken)) for taken in score.experts)
            row = named | score.to_row() | {"experts": route}
            if writer is None:
                writer = csv.DictWriter(text, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
    return text.getvalue()


def to_markdown(results: Sequence[Evaluation]) -> str:
    """Scores, the published tables with ours below, and the experts taken.

    Args:
        results: Of one model by one protocol, from 1 upwards.
    """
    first = results[0]
    measures = first.measures()
    lines = [
        f"Model {first.model}, {first.protocol} protocol, seed {first.seed}, on {first.device}.",
        "",
        *markdown_table(
            ["test set", "pictures", *(_TITLES[measure] for measure in measures)],
            [
                [
                    result.benchmark,
                    count_cell(result),
                    *(number_cell(result.mean(measure), _DIGITS.get(measure, 2)) for measure in measures),
                ]
                for result in results
            ],
        ),
    ]
    for table in tables_for(result.benchmark for result in results):
        lines += ["", *beside_published(table, results)]
    shares = [[sum(column) / len(column) for column in zip(*r.expert_shares(), strict=True)] for r in results]
    lines += [
        "",
        "Experts taken, over all routed blocks (expert 0 is the cheapest):",
        "",
        *markdown_table(
            ["test set", *(f"expert {expert}" for expert in range(first.expert_count)), "GMACs per picture"],
            [
                [result.benchmark, *(f"{share:.0%}" for share in row), number_cell(result.mean("gmacs"), 2)]
                for result, row in zip(results, shares, strict=True)
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def beside_published(table: PublishedTable, results: Sequence[Evaluation]) -> list[str]:
    """The columns of a published table that were measured, and the mean if all were, as lines of Markdown.

    Args:
        table: With `REFERENCE` among its rows.
        results: Of one model by one protocol; those of other benchmarks are left out.
    """
    measured = {result.benchmark: result for result in results}
    columns = [name for name in table.benchmarks if name in measured]
    ours = [Score(measured[name].mean("psnr_db"), measured[name].mean("ssim")) for name in columns]
    published = {
        method: [score for name, score in zip(table.benchmarks, row, strict=True) if name in measured]
        for method, row in table.rows.items()
    }
    header = ["", *columns]
    if len(columns) == len(table.benchmarks):
        header.append("mean")
        published = {method: [*row, table.means[method]] for method, row in published.items()}
        ours.append(Score(*(sum(values) / len(values) for values in ([s.psnr_db for s in ours], _ssims(ours)))))
    difference = [_difference(score, other) for score, other in zip(ours, published[REFERENCE], strict=True)]
    protocol = results[0].protocol
    note = f"{table.title}. PSNR in dB / SSIM, as published and ours ({protocol} protocol)."
    if protocol != "published":
        note += " The published rows are of cropped pictures, so the difference holds nearly, not exactly."
    if any(len(measured[name].scores) < measured[name].available for name in columns):
        note += " Ours are of a part of the pictures alone."
    rows = [[method, *map(_score, row)] for method, row in published.items()]
    rows += [[results[0].model, *map(_score, ours)], [f"difference to {REFERENCE}", *difference]]
    return [note, "", *markdown_table(header, rows)]


def count_cell(result: Evaluation) -> str:
    """Format the number of pictures scored, and of all pictures if these are more: ``16`` or ``16 of 68``."""
    done = len(result.scores)
    return str(done) if done == result.available else f"{done} of {result.available}"


def _ssims(scores: Iterable[Score]) -> list[float]:
    return [math.nan if score.ssim is None else score.ssim for score in scores]


def _score(score: Score) -> str:
    return number_cell(score.psnr_db, 2) + ("" if score.ssim is None else f" / {number_cell(score.ssim, 3)}")


def _difference(ours: Score, other: Score) -> str:
    text = number_cell(ours.psnr_db - other.psnr_db, 2, "+")
    if ours.ssim is None or other.ssim is None:
        return text
    return f"{text} / {number_cell(ours.ssim - other.ssim, 3, '+')}"


def number_cell(value: float, digits: int, sign: str = "") -> str:
    """Format a number, or a dash where it is not finite (PSNR of equal pictures, SSIM of tiny ones)."""
    return f"{value:{sign}.{digits}f}" if math.isfinite(value) else "-"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table: the first column to the left, the others, which hold numbers, to the right."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, rules, *rows)]
