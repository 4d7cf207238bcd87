"""The model zoo and the tables of results, from the ``config.json`` of each bundled model."""

from __future__ import annotations

from typing import Any

import torch

from moceir.evaluation.published import PUBLISHED, Score
from moceir.models.cost import network_cost
from moceir.models.network import MoCEIR
from moceir.models.presets import PRESETS
from moceir.weights import ModelFile, read_description
from moceir.weights.folders import BUNDLED, bundled_models

SIZE_PX = 224
"""Side of the picture that costs are given for, as in the paper."""


def models() -> str:
    """Return the table of the bundled models and the published shapes."""
    lines = [
        "| model | parameters | GMACs at 224x224, by route | weights | terms |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    bundled = {name: read_description(BUNDLED / name) for name in bundled_models()}
    configs = {name: file.model for name, file in bundled.items()} | {
        name: PRESETS[name] for name in ("small", "base") if name not in bundled
    }
    for name, config in configs.items():
        with torch.device("meta"):
            parameters = sum(p.numel() for p in MoCEIR(config).parameters())
        cost = network_cost(config, SIZE_PX, SIZE_PX)
        ends = " to ".join(f"{cost.macs(route) / 1e9:.1f}" for route in (cost.cheapest, cost.dearest))
        where, terms = "train it, or load the authors' checkpoint", ""
        if name in bundled:
            where = f"included; [model card](../src/moceir/pretrained/{name}/README.md)"
            terms = bundled[name].license
        lines.append(f"| `{name}` | {parameters / 1e6:.2f} M | {ends} | {where} | {terms} |")
    return "\n".join(lines)


def scores() -> str:
    """Return the measured results of each bundled model: test sets, then synthetic degradations."""
    lines: list[str] = []
    for name in bundled_models():
        lines += [f"### `{name}`", "", *_scores_of(read_description(BUNDLED / name)), ""]
    return "\n".join(lines)


def _scores_of(file: ModelFile) -> list[str]:
    lines = ["| | pictures | PSNR before, dB | PSNR after, dB | gain, dB | SSIM before | SSIM after |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for task, row in file.results.items():
        if isinstance(row, dict) and "psnr_db" in row:
            lines.append(_score_row(task, row))
    return lines


def _score_row(task: str, row: dict[str, Any]) -> str:
    before, after = row.get("input_psnr_db"), row["psnr_db"]
    gain = "" if before is None else f"{after - before:+.2f}"
    ssims = (_number(row.get(key), 4) for key in ("input_ssim", "ssim"))
    return f"| `{task}` | {row['images']} | {_number(before, 2)} | {_number(after, 2)} | {gain} | {' | '.join(ssims)} |"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def published() -> str:
    """Return the published tables, with a row for each bundled model that was measured on their test sets."""
    lines: list[str] = []
    for table in PUBLISHED.values():
        names = [benchmark.removeprefix("cdd11-") for benchmark in table.benchmarks]
        means = {method: [_score(table.means[method])] if method in table.means else [] for method in table.rows}
        header = [*names, "mean"] if table.means else names
        lines += [f"### {table.title}", "", "| | " + " | ".join(header) + " |", "| --- |" + " ---: |" * len(header)]
        for method, row in table.rows.items():
            lines.append(f"| {method} | " + " | ".join([*map(_score, row), *means[method]]) + " |")
        for name in bundled_models():
            results = read_description(BUNDLED / name).results
            measured = [results.get(benchmark) for benchmark in table.benchmarks]
            if any(measured):
                cells = [_score(Score(m["psnr_db"], m["ssim"])) if m else "" for m in measured]
                padding = [""] * (len(header) - len(cells))
                lines.append(f"| **moceir `{name}`** | " + " | ".join([*cells, *padding]) + " |")
        lines.append("")
    return "\n".join(lines)


def _score(score: Score) -> str:
    return f"{score.psnr_db:.2f}" + ("" if score.ssim is None else f" / {score.ssim:.3f}")
