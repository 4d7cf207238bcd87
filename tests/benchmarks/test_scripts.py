"""The scripts that measure speed run, and report consistent numbers."""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import performance_page
import pytest
import recording
from support import run_script

from moceir import image_io

CPUINFO = Path("/proc/cpuinfo")


def rows_of(script: str, out: Path, *options: str) -> list[dict[str, Any]]:
    """Run a benchmark and return its rows; the rest of the JSON is the same for all."""
    content = run_script(f"benchmarks/{script}.py", out / "results.json", *options)
    assert list(content) == ["machine", "commit", "command", "rows"]
    assert isinstance(content["machine"]["instruction_sets"], list)
    assert content["command"].startswith(f"python benchmarks/{script}.py ")
    return content["rows"]


def lines_on_the_page(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table that docs/performance.md would have."""
    content = {"machine": recording.describe_processor(1), "commit": "0", "command": "python x.py", "rows": rows}
    return performance_page.table(name, content).splitlines()[4:]


def test_kept_results_never_replace_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "RESULTS", tmp_path / "results")
    parser = argparse.ArgumentParser()
    recording.add_result_options(parser)
    options = parser.parse_args(["--json", str(tmp_path / "all.json"), "--keep"])
    for number in (1, 2):
        recording.save_results({"cpu": "Abacus"}, options, first=[{"n": number}], none=[], second=[{"n": 10 * number}])
    assert json.loads((tmp_path / "all.json").read_text())["rows"] == [{"n": 2}, {"n": 20}]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["first", "second"]
    kept = sorted((tmp_path / "results" / "second").iterdir())
    contents = [json.loads(path.read_text()) for path in kept]
    assert [content["rows"] for content in contents] == [[{"n": 10}], [{"n": 20}]]
    assert all(content["commit"] in path.name for content, path in zip(contents, kept, strict=True))


def test_the_rate_of_a_product_counts_two_operations_for_each_term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "GEMM_SIDE", 10)
    assert recording.gemm_gflops(iter((5.0, 7.0)).__next__) == pytest.approx(10 * 10 * (10 + 10) / 2 / 1e9)


@pytest.mark.skipif(platform.machine() != "x86_64" or not CPUINFO.exists(), reason="reads the flags that Linux reports")
def test_the_machine_is_described_with_its_instruction_sets() -> None:
    machine = recording.describe_processor(7)
    assert machine["threads"] == 7
    flags = next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")).split()
    reported = {"avx2": "avx2", "avx512_f": "avx512f", "avx512_bf16": "avx512_bf16", "amx_bf16": "amx_bf16"}
    assert {name: name in machine["instruction_sets"] for name in reported} == {
        name: flag in flags for name, flag in reported.items()
    }


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    size = ("--preset", "nano", "--patch", "16", "--batch", "2", "--device", "cpu", "--threads", "1")
    amount = ("--blocks", "1", "--steps", "2", "--samples", "4", "--workers", "0")
    rows = rows_of("training", tmp_path, *size, *amount)
    assert all((row["preset"], row["patch"], row["batch"]) == ("nano", 16, 2) for row in rows)
    steps, (loader, *synthesis) = rows[:3], rows[3:]
    assert [row["network"] for row in steps] == ["package", "plain", "plain, memory kept"]
    for row in steps:
        assert row["images_per_s_best"] >= row["images_per_s"] > 0
        assert sum(row["share"].values()) == pytest.approx(1)
        assert set(row["share"]) == {"data", "forward", "backward", "optimiser"}
    for row in steps[1:]:
        assert row["speed_up"] == pytest.approx(steps[0]["images_per_s"] / row["images_per_s"])
    assert [line.split(" | ")[:3] for line in lines_on_the_page("training", steps)] == [
        ["| nano", "2 of 16 px", row["network"]] for row in steps
    ]
    assert loader["workers"] == 0
    assert loader["pairs_per_s"] > 0
    assert [row["task"] for row in synthesis][:2] == ["mixture", "noise"]
    assert all(row["one_by_one"] > 0 and row["batches_cpu"] > 0 for row in synthesis)


@pytest.mark.slow
def test_inference(tmp_path: Path) -> None:
    plot = tmp_path / "inference.png"
    options = ("--preset", "nano", "--size", "80x56", "--threads", "1", "--repeat", "1", "--plot", str(plot))
    rows = rows_of("inference", tmp_path, *options)
    assert [row["network"] for row in rows] == ["package", "plain"]
    for row in rows:
        assert (row["width"], row["height"], row["threads"]) == (80, 56, 1)
        assert row["gflops"] == pytest.approx(2 * row["gmacs"] / row["seconds"])
        assert 0 < row["share_of_gemm"] < 1
        assert row["speed_up"] == pytest.approx(rows[1]["seconds"] / row["seconds"])
    assert image_io.read(plot).rgb.std() > 10


@pytest.mark.slow
def test_parts(tmp_path: Path) -> None:
    rows = rows_of("parts", tmp_path, "--preset", "nano", "--size", "200x136", "--threads", "1")
    (row,) = rows
    assert row["seconds"] == pytest.approx(sum(row["parts"].values()))
    assert all(seconds > 0 for seconds in row["parts"].values())
    assert row["copy_gb_per_s"] > 0
    (line,) = lines_on_the_page("parts", rows)
    assert line.startswith(f"| 200x136 | {row['seconds'] / 0.0272:.2f} | ")


@pytest.mark.slow
def test_interop(tmp_path: Path, model_folder: Path) -> None:
    ways = ("plain", "onnx", "onnx --half", "openvino")
    chosen = [part for way in ways for part in ("--way", way)]
    options = ("--model", str(model_folder), "--size", "200x136", "--repeat", "1", *chosen)
    rows = rows_of("interop", tmp_path, *options)
    assert [row["way"] for row in rows] == ["package", *ways]
    assert rows[1]["difference"] == 0
    assert all(0 < row["difference"] <= 2e-4 for row in rows[2:])
    assert all(row["of_package"] == pytest.approx(row["seconds"] / rows[0]["seconds"]) for row in rows)
    assert all(row["peak_mib"] > 0 and row["gemm_gflops"] > 0 for row in rows)
    assert rows[3]["mb"] < 0.6 * rows[2]["mb"]


@pytest.mark.slow
def test_upscale(tmp_path: Path) -> None:
    options = ("--preset", "nano", "--scale", "3", "--size", "24x16", "--repeat", "1")
    enlarging, restoring = rows_of("upscale", tmp_path, *options)
    assert (enlarging["input"], enlarging["output"]) == ("24x16", "72x48")
    assert (restoring["input"], restoring["output"]) == ("48x32", "48x32")
    assert min(enlarging["seconds"], restoring["seconds"]) > 0
    assert enlarging["gemm_gflops"] == restoring["gemm_gflops"] > 0


@pytest.mark.slow
def test_serve(tmp_path: Path, model_folder: Path) -> None:
    amounts = ("--overhead", "2", "--size", "48x32", "--requests", "8", "--clients", "3", "--seconds", "1")
    options = ("--model", str(model_folder), "--threads", "1")
    overhead, memory, clients = rows_of("serve", tmp_path, *options, *amounts)
    assert (overhead["width"], overhead["height"]) == (48, 32)
    assert overhead["gemm_gflops"] > 0
    assert overhead["overhead"] == pytest.approx(overhead["api_s"] / overhead["restorer_s"] - 1)
    assert memory["growth"] == pytest.approx(memory["last_mb"] / memory["first_mb"] - 1)
    assert memory["most_mb"] >= memory["last_mb"] > 0
    assert clients["right"] >= 2
    assert "wrong" not in clients
    assert clients["p99_s"] >= clients["p50_s"] > 0


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    options = ("--preset", "nano", "--model", "tiny-x4", "--size", "80x56", "--repeat", "2")
    rows = rows_of("memory", tmp_path, *options)
    assert [row["network"] for row in rows] == ["nano", "tiny-x4"]
    for row in rows:
        assert (row["width"], row["height"], row["threads"], row["repeat"]) == (80, 56, 1, 2)
        assert row["share"] == pytest.approx(row["measured_mib"] / row["predicted_mib"])
        assert 0 < row["share"] <= 1
    assert lines_on_the_page("memory", rows)[0].startswith("| nano | 80x56 | 1 | ")


@pytest.mark.slow
def test_busy(tmp_path: Path) -> None:
    options = ("--preset", "nano", "--size", "40x33", "--threads", "1", "--loops", "1", "--rounds", "1")
    rows = rows_of("busy", tmp_path, *options)
    assert len({row["way"] for row in rows}) == len(rows) == 3
    for row in rows:
        assert (row["preset"], row["width"], row["height"], row["loops"]) == ("nano", 40, 33, 1)
        assert row["ratio"] == pytest.approx(row["busy_seconds"] / row["alone_seconds"])
        assert min(row["alone_seconds"], row["gemm_gflops"]) > 0
    assert lines_on_the_page("busy", rows)[0].startswith("| moceir's choice | nano | 40x33 | ")


@pytest.mark.slow
def test_files(tmp_path: Path, model_folder: Path) -> None:
    options = ("--files", "10", "--model", str(model_folder), "--threads", "1")
    (row,) = rows_of("files", tmp_path, *options)
    assert row["files"] == len(row["resident_mb"]) == 10
    assert row["share"] == pytest.approx(row["network_seconds"] / row["seconds"])
    assert row["gemm_gflops"] > 0
    assert lines_on_the_page("files", [row])[0].startswith("| 10 | 48 to 160 | ")


@pytest.mark.slow
def test_precision(tmp_path: Path) -> None:
    (row,) = rows_of("precision", tmp_path, "--preset", "nano", "--size", "40x33", "--repeat", "1")
    assert (row["preset"], row["width"], row["height"]) == ("nano", 40, 33)
    assert min(row["seconds"]["float32"], row["seconds"]["bfloat16"]) > 0
    assert lines_on_the_page("precision_time", [row])[0].startswith("| nano | 40x33 | ")
