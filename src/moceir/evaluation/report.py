"""Reports of evaluations: JSON, CSV with one row per picture, and Markdown with the published results."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from moceir.evaluation.published import PublishedTable, Score, tables_for
from moceir.evaluation.scoring import Evaluation

_DIGITS = {"input_ssim": 4, "ssim": 4, "input_y_ssim": 4, "y_ssim": 4, "lpips": 4}
_TITLES = {
    "input_psnr_db": "input PSNR",
    "psnr_db": "PSNR, dB",
    "input_ssim": "input SSIM",
    "ssim": "SSIM",
    "input_y_psnr_db": "bicubic PSNR on Y",
    "y_psnr_db": "PSNR on Y, dB",
    "input_y_ssim": "bicubic SSIM on Y",
    "y_ssim": "SSIM on Y",
    "lpips": "LPIPS",
    "seconds": "s per picture",
    "gmacs": "GMACs per picture",
}


def to_json(results: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the content of a JSON file: a single evaluation as it is, several as a list under ``benchmarks``."""
    rows = [result.to_json() for result in results]
    return rows[0] if len(rows) == 1 else {"benchmarks": rows}


def to_csv(results: Iterable[Evaluation]) -> str:
    """Format evaluations as CSV with one row per picture.

    Routes are written as ``3|0|2``: one expert per decoder block, or several as in ``3+2|0+1``.
    """
    rows: list[dict[str, Any]] = []
    for result in results:
        named = {"benchmark": result.benchmark, "model": result.model, "protocol": result.protocol, "seed": result.seed}
        for score in result.scores:
            route = "|".join("+".join(map(str, taken)) for taken in score.experts)
            rows.append(named | score.to_row() | {"experts": route})
    text = io.StringIO()
    if rows:
        columns = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def to_markdown(results: Sequence[Evaluation]) -> str:
    """Format scores, the published tables with ours below, and the usage of the experts as Markdown.

    Args:
        results: One or more evaluations of one model by one protocol.
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
    """Format the measured columns of a published table as lines of Markdown, with the mean if all were measured.

    Args:
        table: Published table. Its reference must be among its rows.
        results: Evaluations of one model by one protocol. Benchmarks that are not in the table are left out.
    """
    measured = {result.benchmark: result for result in results}
    columns = [name for name in table.benchmarks if name in measured]
    psnr, ssim = ("y_psnr_db", "y_ssim") if table.on_y else ("psnr_db", "ssim")
    ours = [Score(measured[name].mean(psnr), measured[name].mean(ssim)) for name in columns]
    published = {
        method: [score for name, score in zip(table.benchmarks, row, strict=True) if name in measured]
        for method, row in table.rows.items()
    }
    header = ["", *columns]
    if table.means and len(columns) == len(table.benchmarks):
        header.append("mean")
        published = {method: [*row, table.means[method]] for method, row in published.items()}
        ours.append(Score(*(sum(values) / len(values) for values in ([s.psnr_db for s in ours], _ssims(ours)))))
    difference = [_difference(score, other) for score, other in zip(ours, published[table.reference], strict=True)]
    protocol = "that of super-resolution" if table.on_y else f"{results[0].protocol} protocol"
    note = f"{table.title}. PSNR in dB / SSIM{' on Y' if table.on_y else ''}, as published and ours ({protocol})."
    if results[0].protocol != "published" and not table.on_y:
        note += " The published rows use cropped pictures, so the difference is only approximate."
    if any(len(measured[name].scores) < measured[name].available for name in columns):
        note += " Ours cover only a part of the pictures."
    if table.note:
        note += f" {table.note}"
    rows = [[method, *map(_score, row)] for method, row in published.items()]
    rows += [[results[0].model, *map(_score, ours)], [f"difference to {table.reference}", *difference]]
    return [note, "", *markdown_table(header, rows)]


def count_cell(result: Evaluation) -> str:
    """Format the number of scored pictures, with the size of the test set if that is larger: ``16`` or ``16 of 68``."""
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
    """Format a number, or a dash if it is not finite (PSNR of equal pictures, SSIM of tiny ones)."""
    return f"{value:{sign}.{digits}f}" if math.isfinite(value) else "-"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Format the lines of a Markdown table; the first column is left-aligned, the others are right-aligned."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, rules, *rows)]
