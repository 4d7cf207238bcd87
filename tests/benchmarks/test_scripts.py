"""The scripts that measure speed run, and report consistent numbers."""

from pathlib import Path

import pytest
from support import run_script

from moceir import image_io


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    size = ("--preset", "nano", "--patch", "16", "--batch", "2", "--device", "cpu", "--threads", "1")
    amount = ("--blocks", "1", "--steps", "2", "--samples", "4", "--workers", "0")
    content = run_script("benchmarks/training.py", tmp_path / "training.json", *size, *amount)
    step = content["step"]
    assert list(step) == ["package", "plain", "plain, memory kept"]
    for network in step:
        assert step[network]["images_per_s_best"] >= step[network]["images_per_s"] > 0
        assert sum(step[network]["share"].values()) == pytest.approx(1)
        assert set(step[network]["share"]) == {"data", "forward", "backward", "optimiser"}
    for network in list(step)[1:]:
        speed_up = step["package"]["images_per_s"] / step[network]["images_per_s"]
        assert step[network]["speed_up"] == pytest.approx(speed_up)
    assert [row["workers"] for row in content["loader"]] == [0]
    assert content["loader"][0]["pairs_per_s"] > 0
    assert [row["task"] for row in content["synthesis"]][:2] == ["mixture", "noise"]
    assert all(row["one_by_one"] > 0 and row["batches_cpu"] > 0 for row in content["synthesis"])


@pytest.mark.slow
def test_inference(tmp_path: Path) -> None:
    plot = tmp_path / "inference.png"
    options = ("--preset", "nano", "--size", "80x56", "--threads", "1", "--repeat", "1", "--plot", str(plot))
    rows = run_script("benchmarks/inference.py", tmp_path / "inference.json", *options)["rows"]
    assert [row["network"] for row in rows] == ["package", "plain"]
    for row in rows:
        assert (row["width"], row["height"], row["threads"]) == (80, 56, 1)
        assert row["gflops"] == pytest.approx(2 * row["gmacs"] / row["seconds"])
        assert 0 < row["share_of_gemm"] < 1
        assert row["speed_up"] == pytest.approx(rows[1]["seconds"] / row["seconds"])
    assert image_io.read(plot).rgb.std() > 10


@pytest.mark.slow
def test_interop(tmp_path: Path, model_folder: Path) -> None:
    options = ("--model", str(model_folder), "--size", "40x33", "--repeat", "1")
    rows = run_script("benchmarks/interop.py", tmp_path / "interop.json", *options)["rows"]
    assert [row["way"] for row in rows] == ["package", "plain", "onnx", "onnx --half", "onnx --batch"]
    assert rows[1]["difference"] == 0
    assert all(0 < row["difference"] <= 2e-4 for row in rows[2:])
    assert all(row["of_package"] == pytest.approx(row["seconds"] / rows[0]["seconds"]) for row in rows)
    assert all(row["peak_mib"] > 0 for row in rows)
    assert rows[3]["mb"] < 0.6 * rows[2]["mb"]


@pytest.mark.slow
def test_serve(tmp_path: Path, model_folder: Path) -> None:
    amounts = ("--overhead", "2", "--size", "48x32", "--requests", "8", "--clients", "3", "--seconds", "1")
    options = ("--model", str(model_folder), "--threads", "1")
    content = run_script("benchmarks/serve.py", tmp_path / "serve.json", *options, *amounts)
    overhead, memory, clients = (content[name] for name in ("overhead", "memory", "clients"))
    assert overhead["overhead"] == pytest.approx(overhead["api_s"] / overhead["restorer_s"] - 1)
    assert memory["growth"] == pytest.approx(memory["last_mb"] / memory["first_mb"] - 1)
    assert memory["most_mb"] >= memory["last_mb"] > 0
    assert clients["right"] >= 2
    assert "wrong" not in clients
    assert clients["p99_s"] >= clients["p50_s"] > 0
