"""Benchmarks over time, from the files of ``benchmarks/results``."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
INK = "#808080"
"""Colour of axes and text: it can be read on the light and on the dark site."""
ID_FIELDS = ("width", "height", "threads", "batch", "patch", "workers", "loops", "clients")
"""Numbers that say what was measured, and are not results."""


def charts() -> str:
    """Return, for each benchmark, a drawing of its results over time and the table of the newest one."""
    lines: list[str] = []
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
        dates = [path.stem[:10] for path in sorted(folder.glob("*.json"))]
        if records:
            lines += [f"## {folder.name}", "", f"`{records[-1]['command']}`", ""]
            if measure := measure_of(records[-1]["rows"]):
                lines += [f'<div class="chart">{_drawing(dates, records, measure)}</div>', ""]
            lines += [*_newest(dates[-1], records[-1]), ""]
    return "\n".join(lines) or "No results are kept yet."


def measure_of(rows: list[dict[str, Any]]) -> str | None:
    """Return the column to draw: the first with ``seconds`` or ``per_s`` in its name, else the first number, if any."""
    numbers = [key for key, value in rows[0].items() if _is_result(key, value)]
    return next((key for key in numbers if "seconds" in key or "per_s" in key), numbers[0] if numbers else None)


def label_of(row: dict[str, Any]) -> str:
    """Name what a row measured, for example ``tiny, 256x256, 1 threads, package``."""
    parts = [str(value) for value in row.values() if isinstance(value, str)]
    if "width" in row:
        parts.append(f"{row['width']}x{row['height']}")
    parts += [f"{row[key]} {key}" for key in ID_FIELDS[2:] if key in row]
    return ", ".join(parts)


def _is_result(key: str, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and key not in ID_FIELDS


def _drawing(dates: list[str], records: list[dict[str, Any]], measure: str) -> str:
    """Return an SVG with a line per row label."""
    lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, record in enumerate(records):
        for row in record["rows"]:
            if row.get(measure) is not None:
                lines[label_of(row)].append((number, row[measure]))
    style = {"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK}
    with rc_context({**style, "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "moceir"}):
        figure = Figure(figsize=(7.5, 2.6 + 0.18 * len(lines)), layout="constrained")
        axes = figure.subplots()
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
        axes.set_xticks(range(len(records)), [f"{d}\n{r['commit'][:7]}" for d, r in zip(dates, records, strict=True)])
        axes.set_xlim(-0.5, len(records) - 0.5)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(measure.replace("_", " "))
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower left", frameon=False, fontsize=8)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    return " ".join(svg[svg.index("<svg") :].split())


def _newest(date: str, record: dict[str, Any]) -> list[str]:
    """Return the newest result as a table, with the machine that made it."""
    keys = list(dict.fromkeys(key for row in record["rows"] for key in row))
    machine = ", ".join(f"{key} {value}" for key, value in record["machine"].items() if value is not None)
    lines = [f"Newest result: {date}, commit `{record['commit'][:7]}`; {machine}.", ""]
    lines += ["| " + " | ".join(key.replace("_", " ") for key in keys) + " |", "| " + " --- |" * len(keys)]
    lines += ["| " + " | ".join(_cell(row.get(key)) for key in keys) + " |" for row in record["rows"]]
    return lines


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)
