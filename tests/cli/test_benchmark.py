"""``moceir benchmark`` end to end, and the sizes it reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st
from support import run

from moceir.cli.options import parse_size
from moceir.models.cost import network_cost
from moceir.models.presets import preset


def test_every_route_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    threads = torch.get_num_threads()
    options = ("--size", "100x60", "--device", "cpu", "--threads", "1", "--repeat", "1", "--json", out)
    result = run("benchmark", "--preset", "nano", *options)
    assert result.exit_code == 0, result.output
    assert torch.get_num_threads() == threads
    content = json.loads(out.read_text())
    assert (content["device"], content["threads"], content["repeat"]) == ("cpu", 1, 1)
    assert content["precision"] == "float32"
    assert content["compiled"] is False
    assert content["cpu"]
    assert content["cores"] == os.cpu_count()
    rows = {row["route"]: row for row in content["rows"]}
    assert list(rows) == ["cheapest", "dearest", "taken"]
    cost = network_cost(preset("nano"), 60, 100)
    assert rows["cheapest"]["experts"] == [[0]] * 3
    assert rows["dearest"]["experts"] == [[3]] * 3
    for row in rows.values():
        assert (row["model"], row["width"], row["height"], row["parameters"]) == ("nano", 100, 60, 1_101_480)
        assert row["gmacs"] == cost.macs(row["experts"]) / 1e9
        assert row["fft_gops"] == cost.fft_ops(row["experts"]) / 1e9
        assert row["seconds"] > 0
        # A feed-forward block alone holds 4 x 16 channels of 104x64 pixels twice: 3.25 MiB. The loaded libraries and
        # weights, which must not be counted in, are far beyond 100 MiB.
        assert 3.25 < row["peak_memory_mib"] < 100
    lines = result.stdout.splitlines()
    assert lines[2].startswith(f"| nano | 100x60 | 1,101,480 | cheapest | {rows['cheapest']['gmacs']:.2f} |")
    assert len(lines) == 5


def test_models_presets_and_sizes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moceir.evaluation.profiling.cpu_peak_bytes", lambda *_: None)
    sizes = ("--size", "9x8", "--size", "8x16")
    result = run("benchmark", "--model", "tiny", "--preset", "nano", *sizes, "--repeat", "1", "--device", "cpu")
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()[2:]]
    measured = [(row[0], row[1], row[3], row[-1]) for row in rows]
    assert measured == [
        (name, size, route, "unknown")
        for name in ("tiny", "nano")
        for size in ("9x8", "8x16")
        for route in ("cheapest", "dearest", "taken")
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "telling"),
    [
        (["--size", "big"], 2, "WIDTHxHEIGHT"),
        (["--repeat", "0"], 2, "repeat"),
        (["--precision", "half"], 2, "choose from auto, float32, bfloat16, float16"),
        (["--precision", "float16", "--device", "cpu"], 2, "float16 needs a GPU"),
        (["--preset", "smal"], 2, "did you mean 'small'"),
        (["--model", "nowhere"], 1, "there is no model 'nowhere'"),
    ],
)
def test_wrong_usage_and_missing_models(arguments: list[str], code: int, telling: str) -> None:
    result = run("benchmark", *arguments)
    assert result.exit_code == code
    assert telling in result.output + str(result.exception)


@given(width=st.integers(1, 999_999), height=st.integers(1, 999_999))
def test_sizes_are_read(width: int, height: int) -> None:
    assert parse_size(f"{width}x{height}") == (width, height)
    assert parse_size(f" {width}X{height} ") == (width, height)


NO_SIZES = ["0x8", "8x0", "x8", "8x", "-1x4", "1x2x3", "1.5x2", "\u0663x\u0663"]


@given(st.text().filter(lambda text: "x" not in text.lower()) | st.sampled_from(NO_SIZES))
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)
