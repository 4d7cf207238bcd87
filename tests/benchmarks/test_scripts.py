"""The measuring scripts run, and write what they say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import write_picture

from moceir import image_io

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run_script(name: str, out: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, *options, "--json", out],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| ---" in done.stdout
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["cpu"]
    assert content["threads"] == 1
    return content


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    size = ("--preset", "nano", "--patch", "16", "--batch", "2", "--device", "cpu", "--threads", "1")
    amount = ("--blocks", "1", "--steps", "2", "--samples", "4", "--workers", "0")
    content = run_script("training.py", tmp_path / "training.json", *size, *amount)
    step = content["step"]
    assert list(step) == ["package", "straightforward", "straightforward, memory kept"]
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
    rows = run_script("inference.py", tmp_path / "inference.json", *options)["rows"]
    assert [row["network"] for row in rows] == ["package", "straightforward"]
    for row in rows:
        assert (row["width"], row["height"], row["threads"]) == (80, 56, 1)
        assert row["gflops"] == pytest.approx(2 * row["gmacs"] / row["seconds"])
        assert 0 < row["share_of_gemm"] < 1
        assert row["speed_up"] == pytest.approx(rows[1]["seconds"] / row["seconds"])
    assert image_io.read(plot).rgb.std() > 10


def test_tiles(tmp_path: Path, model_folder: Path) -> None:
    for number in range(8):
        write_picture(tmp_path / "photographs" / f"{number}.png", 130 + number, 170)
    size = ("--size", "300x280", "--tile", "256", "--threads", "1")
    options = ("--model", str(model_folder), *size)
    rows = run_script("tiles.py", tmp_path / "tiles.json", str(tmp_path / "photographs"), *options)["rows"]
    assert len(rows) == 5
    for row in rows:
        assert 0 < row["mean"] <= row["largest"]
        assert 0 < row["step"] < row["largest"]
        assert row["blocks_agreed"] <= row["blocks"] == 3


def test_held_out(tmp_path: Path, model_folder: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / "photographs" / f"{number}.png", 40 + number, 50)
    options = ("--photographs", str(tmp_path / "photographs"), "--pictures", "1", "--threads", "1")
    content = run_script("held_out.py", tmp_path / "held_out.json", str(model_folder), str(model_folder), *options)
    scenes = {(row["scene"], row["models"][0]["benchmark"]): row["models"] for row in content["rows"]}
    assert ("dark", "clean") in scenes
    assert ("dark", "low_light") not in scenes
    for ours, same in scenes.values():
        assert ours["psnr_db"] == same["psnr_db"]
    inputs = [scenes[scene, "noise:sigma=25"][0]["input_psnr_db"] for scene in ("as it is", "dark")]
    assert inputs[0] < inputs[1], "more of the noise is cut off at black"

    chosen = ("--task", "blur:size_px=4", *options)
    (row,) = run_script("held_out.py", tmp_path / "blur.json", str(model_folder), *chosen)["rows"]
    assert (row["scene"], row["models"][0]["benchmark"]) == ("as it is", "blur:size_px=4")
