"""The scripts that answer questions run, and report consistent numbers."""

from pathlib import Path

import pytest
from support import run_script, write_picture


def test_tiles(tmp_path: Path, model_folder: Path) -> None:
    for number in range(8):
        write_picture(tmp_path / "photographs" / f"{number}.png", 130 + number, 170)
    size = ("--size", "300x280", "--tile", "256", "--threads", "1")
    options = ("--model", str(model_folder), *size)
    rows = run_script("studies/tiles.py", tmp_path / "tiles.json", str(tmp_path / "photographs"), *options)["rows"]
    assert len(rows) == 5
    for row in rows:
        assert 0 < row["mean"] <= row["largest"]
        assert 0 < row["step"] < row["largest"]
        assert row["blocks_agreed"] <= row["blocks"] == 3


@pytest.mark.slow
def test_quantisation(tmp_path: Path, model_folder: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / "photographs" / f"{number}.png", 130 + number, 140)
    photographs = ("--photographs", str(tmp_path / "photographs"))
    small = ("--pictures", "1", "--calibration", "1", "--patch", "64", "--side", "64", "--repeat", "1")
    target = tmp_path / "quantisation.json"
    rows = run_script("studies/quantisation.py", target, str(model_folder), *photographs, *small)["rows"]
    by_way = {row["way"]: row for row in rows}
    exact, quantised = by_way["onnx"]["psnr_db"], by_way["int8 static, Conv"]["psnr_db"]
    for way in ("onnx --half", "onnx --batch", "openvino"):
        assert by_way[way]["psnr_db"] == pytest.approx(exact, abs=0.01)
    assert quantised != pytest.approx(exact, abs=1e-4), "fewer bits leave a trace"
    assert quantised == pytest.approx(exact, abs=3)
    assert by_way["int8 static, Conv"]["mb"] < 0.7 * by_way["onnx --batch"]["mb"]


def test_held_out(tmp_path: Path, model_folder: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / "photographs" / f"{number}.png", 40 + number, 50)
    options = ("--photographs", str(tmp_path / "photographs"), "--pictures", "1", "--threads", "1")
    content = run_script(
        "studies/held_out.py", tmp_path / "held_out.json", str(model_folder), str(model_folder), *options
    )
    scenes = {(row["scene"], row["models"][0]["benchmark"]): row["models"] for row in content["rows"]}
    assert ("dark", "clean") in scenes
    assert ("dark", "low_light") not in scenes
    for ours, same in scenes.values():
        assert ours["psnr_db"] == same["psnr_db"]
    inputs = [scenes[scene, "noise:sigma=25"][0]["input_psnr_db"] for scene in ("as it is", "dark")]
    assert inputs[0] < inputs[1], "more of the noise is cut off at black"

    chosen = ("--task", "blur:size_px=4", *options)
    (row,) = run_script("studies/held_out.py", tmp_path / "blur.json", str(model_folder), *chosen)["rows"]
    assert (row["scene"], row["models"][0]["benchmark"]) == ("as it is", "blur:size_px=4")
