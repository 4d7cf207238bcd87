"""Tests of reports as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest

from moceir.evaluation import Evaluation, ImageScore, expand
from moceir.evaluation.report import to_csv, to_json, to_markdown


def evaluation(
    benchmark: str, psnr_db: float = 30.0, ssim: float = 0.9, lpips: float | None = None, more: int = 0
) -> Evaluation:
    scores = [
        ImageScore("a.png", 20.0, psnr_db - 1, 0.5, ssim, 0.5, 4.0, ((0,), (3,)), lpips),
        ImageScore("b.png", math.inf, psnr_db + 1, math.nan, ssim, 1.5, 5.0, ((0,), (1,)), lpips),
    ]
    return Evaluation(benchmark, "tiny", "published", 7, "cpu", 4, 2 + more, scores)


def cells(markdown: str, first: str) -> list[list[str]]:
    """Return the rows of all tables whose first cell is ``first``."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if "|" in line]
    return [row[1:] for row in rows if row[0] == first]


def through_json(results: list[Evaluation]) -> dict[str, Any]:
    """Convert to JSON and back, without infinity and NaN, which are not JSON."""
    return json.loads(json.dumps(to_json(results), allow_nan=False))


def test_json_of_one_is_flat_and_of_several_a_list() -> None:
    one = through_json([evaluation("rain100l")])
    assert one["psnr_db"] == 30
    assert one["input_psnr_db"] == 20, "values that are not finite must not count in the mean"
    assert one["gmacs"] == 4.5
    assert one["expert_shares"] == [[1, 0, 0, 0], [0, 0.5, 0, 0.5]]
    assert one["rows"][1] == {
        "image": "b.png",
        "input_psnr_db": None,
        "psnr_db": 31,
        "input_ssim": None,
        "ssim": 0.9,
        "seconds": 1.5,
        "gmacs": 5,
        "experts": [[0], [1]],
    }
    several = through_json([evaluation("rain100l"), evaluation("gopro", lpips=0.25)])
    assert list(several) == ["benchmarks"]
    assert several["benchmarks"][0] == one
    assert several["benchmarks"][1]["lpips"] == 0.25
    assert several["benchmarks"][1]["rows"][0]["lpips"] == 0.25


def test_csv_has_a_row_per_picture() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([evaluation("rain100l"), evaluation("gopro")]))))
    assert [(row["benchmark"], row["image"]) for row in rows] == [
        *[("rain100l", "a.png"), ("rain100l", "b.png"), ("gopro", "a.png"), ("gopro", "b.png")]
    ]
    assert rows[0]["psnr_db"] == "29.0"
    assert rows[0]["seed"] == "7"
    assert rows[0]["experts"] == "0|3"
    assert rows[1]["input_psnr_db"] == ""
    assert "lpips" not in rows[0]
    assert next(csv.DictReader(io.StringIO(to_csv([evaluation("gopro", lpips=0.5)]))))["lpips"] == "0.5"


def test_markdown_of_a_whole_setting_has_all_published_rows_and_the_mean() -> None:
    text = to_markdown([evaluation(name, 31.0 + i) for i, name in enumerate(expand(["aio3"]))])
    assert "Model tiny, published protocol, seed 7" in text
    assert cells(text, "AirNet") == [
        ["27.94 / 0.962", "34.90 / 0.967", "33.92 / 0.933", "31.26 / 0.888", "28.00 / 0.797", "31.20 / 0.910"]
    ]
    assert len(cells(text, "PromptIR")) == len(cells(text, "MoCE-IR")) == 1
    assert cells(text, "tiny")[0][:2] == ["31.00 / 0.900", "32.00 / 0.900"]
    assert cells(text, "tiny")[0][-1] == "33.00 / 0.900"
    assert cells(text, "difference to MoCE-IR-S")[0][:2] == ["+0.06 / -0.079", "-6.22 / -0.083"]
    assert cells(text, "difference to MoCE-IR-S")[0][-1] == "+0.43 / -0.016"
    assert "Restormer" not in text
    assert cells(text, "rain100l") == [
        ["2", "20.00", "32.00", "0.5000", "0.9000", "1.00", "4.50"],
        ["50%", "25%", "0%", "25%", "4.50"],
    ]


def test_markdown_of_a_part_has_its_columns_of_every_setting_and_no_mean() -> None:
    text = to_markdown([evaluation("rain100l", 40.0), evaluation("mine")])
    assert cells(text, "MoCE-IR-S") == [["38.22 / 0.983"], ["37.21 / 0.978"]]
    assert cells(text, "Restormer") == [["34.81"]]
    assert cells(text, "difference to MoCE-IR-S") == [["+1.78 / -0.083"], ["+2.79 / -0.078"]]
    assert "mean" not in text
    assert "AirNet" not in to_markdown([evaluation("mine")])


@pytest.mark.parametrize("setting", ["aio5", "cdd11"])
def test_the_other_settings_are_compared_too(setting: str) -> None:
    text = to_markdown([evaluation(name) for name in expand([setting])])
    assert len(cells(text, "difference to MoCE-IR-S")) == 1
    published = {"aio5": "30.08 / 0.913", "cdd11": "29.05 / 0.881"}[setting]
    assert cells(text, "MoCE-IR-S")[0][-1] == published


def test_a_part_of_a_set_is_called_so() -> None:
    assert "a part of the pictures" not in to_markdown([evaluation("rain100l")])
    text = to_markdown([evaluation("rain100l", more=98)])
    assert cells(text, "rain100l")[0][0] == "2 of 100"
    assert "a part of the pictures" in text


def test_what_is_not_defined_is_a_dash() -> None:
    text = to_markdown([evaluation("rain100l", math.inf, math.nan)])
    assert cells(text, "tiny") == [["- / -"], ["- / -"]]
    assert cells(text, "difference to MoCE-IR-S") == [["- / -"], ["- / -"]]
    assert cells(text, "rain100l")[0][2:5] == ["-", "0.5000", "-"]
