"""``moceir data`` end to end on tiny data sets laid out as the published ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from layouts import SETS, build_layout
from PIL import Image
from support import run, write_picture

from moceir.data.layouts import DATA_SETS
from moceir.weights import load


def check(root: Path, *options: str | Path) -> tuple[int, str, dict[str, Any]]:
    """Exit code, output and JSON of a check."""
    out = root.parent / "report.json"
    result = run("data", "check", root, "--json", out, *options)
    return result.exit_code, result.stdout, json.loads(out.read_text())


@pytest.fixture
def lol(tmp_path: Path) -> Path:
    """A whole test set of 15 pairs."""
    return build_layout(tmp_path / "sets", "lolv1", count=15)


def inputs(root: Path) -> Path:
    return root / "llie" / "LOLv1" / "Test" / "input"


def test_a_whole_set_passes(lol: Path) -> None:
    code, output, report = check(lol)
    assert code == 0
    assert "lolv1: whole, 15 of 15" in output
    assert "not there: cdd11-train-low, " in output
    assert "https://" in output
    assert report["whole"]
    assert [entry["name"] for entry in report["sets"]] == list(DATA_SETS)
    states = {entry["name"]: entry["state"] for entry in report["sets"]}
    assert {name for name, state in states.items() if state != "missing"} == {"lolv1"}
    assert next(e for e in report["sets"] if e["name"] == "lolv1") == {
        "name": "lolv1",
        "state": "whole",
        "found": 15,
        "expected": 15,
        "problems": [],
        "source": DATA_SETS["lolv1"].source,
    }


def test_everything_wrong_is_named(lol: Path) -> None:
    (inputs(lol) / "3.png").write_bytes((inputs(lol) / "3.png").read_bytes()[:60])
    (inputs(lol) / "4.png").unlink()
    write_picture(inputs(lol) / "5.png", 20, 30)
    (inputs(lol) / "6.png").rename(inputs(lol) / "odd.PNG")
    code, output, report = check(lol, "--set", "lolv1")
    assert code == 1
    (found,) = report["sets"]
    assert not report["whole"]
    assert (found["state"], found["found"]) == ("damaged", 13)
    said = "\n".join(found["problems"])
    assert all(line in output for line in found["problems"])
    for telling in (
        "input/3.png cannot be read",
        "target/4.png has no degraded version",
        "input/5.png and",
        "differ in size (30x20 and 64x48)",
        "input/odd.PNG has no partner",
        "target/6.png has no degraded version",
        "13 pairs instead of the 15",
    ):
        assert telling in said
    assert len(found["problems"]) == 6


def test_quick_reads_no_picture(lol: Path) -> None:
    (inputs(lol) / "3.png").write_bytes(b"no picture")
    assert check(lol, "--quick")[0] == 0
    assert check(lol)[0] == 1
    (inputs(lol) / "3.png").unlink()
    assert check(lol, "--quick")[0] == 1


def test_what_was_asked_for_must_be_there(lol: Path) -> None:
    code, output, report = check(lol, "--set", "lolv1", "--set", "rain100l")
    assert code == 1
    assert "not there: rain100l\n    get it from Rain100L, test part" in output
    assert [entry["state"] for entry in report["sets"]] == ["whole", "missing"]


def test_nothing_there_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert check(tmp_path / "empty")[0] == 1


@pytest.mark.parametrize("name", SETS)
def test_every_layout_is_recognised_and_lacks_but_pictures(tmp_path: Path, name: str) -> None:
    code, _, report = check(build_layout(tmp_path / "sets", name), "--set", name)
    assert code == 1
    (found,) = report["sets"]
    assert found["found"] == (12 if name == "reside-ots" else 3)
    assert len(found["problems"]) == 1
    assert "instead of the" in found["problems"][0]


def test_shared_clean_pictures_do_not_make_a_set(tmp_path: Path) -> None:
    report = check(build_layout(tmp_path / "sets", "cdd11-haze"), "--quick")[2]
    assert [entry["name"] for entry in report["sets"] if entry["state"] != "missing"] == ["cdd11-haze"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    root = build_layout(tmp_path / "sets", "denoising")
    shutil.rmtree(root / "denoising" / "BSD400")
    code, output, _ = check(root)
    assert code == 1
    assert "BSD400 is not a folder" in output


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    for arguments, code, telling in (
        (("check", tmp_path, "--set", "rain100"), 2, "did you mean 'rain100l'"),
        (("check", tmp_path / "nowhere"), 1, "not a folder"),
        (("pack", tmp_path, "-o", tmp_path / "a.pack"), 1, "holds no pictures"),
        (("pack", tmp_path / "nowhere", "-o", tmp_path / "a.pack"), 1, "not a folder"),
    ):
        result = run("data", *arguments)
        assert result.exit_code == code
        assert telling in str(result.exception)
        assert "\n" not in str(result.exception)
    assert run("data", "pack", tmp_path, "-o", tmp_path / "a.zip").exit_code == 2


def test_the_list_names_every_set() -> None:
    result = run("data", "list")
    assert result.exit_code == 0
    assert all(f"{name}: " in result.stdout for name in SETS)
    assert "dehazing/RESIDE/part4 + dehazing/RESIDE/clear" in result.stdout


def test_a_pack_is_checked_like_its_folder(lol: Path, tmp_path: Path) -> None:
    assert run("data", "pack", lol, "-o", tmp_path / "sets.pack").exit_code == 0
    assert check(tmp_path / "sets.pack", "--set", "lolv1")[0] == 0


def test_packs_are_not_replaced_unasked(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a.png")
    command = ("data", "pack", tmp_path / "in", "-o", tmp_path / "a.pack")
    result = run(*command)
    assert result.exit_code == 0
    assert "packed 1 pictures into" in result.stdout
    result = run(*command)
    assert result.exit_code == 1
    assert "exists already" in str(result.exception)
    assert run(*command, "--overwrite").exit_code == 0


def test_training_from_a_pack_equals_training_from_its_folder(tmp_path: Path) -> None:
    build_layout(tmp_path, "denoising", count=6)
    pack = tmp_path / "photos.pack"
    assert run("data", "pack", tmp_path / "denoising", "-o", pack).exit_code == 0
    recipe = {
        "model": "nano",
        "steps": 2,
        "epoch_steps": 1,
        "stages": [{"share": 1, "patch_px": 32, "batch": 2}],
        "tasks": {"noise": 1, "haze": 1},
        "optimizer": {"lr": 1.0e-3},
        "validation": {"share": 0.3, "patch_px": 32},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for data, name in ((tmp_path / "denoising", "plain"), (pack, "packed")):
        result = run("train", tmp_path / "recipe.yaml", "--data", data, "-o", tmp_path / name, "--device", "cpu")
        assert result.exit_code == 0
    plain, packed = (load(tmp_path / name / "best").state_dict() for name in ("plain", "packed"))
    assert all(torch.equal(plain[key], packed[key]) for key in plain)
    pack.write_bytes(pack.read_bytes()[:-1])
    result = run("train", tmp_path / "recipe.yaml", "--data", pack, "-o", tmp_path / "cut", "--device", "cpu")
    assert result.exit_code == 1
    assert "photos.pack is no whole pack" in str(result.exception)


def test_bmp_files_of_any_case_are_checked(tmp_path: Path) -> None:
    root = build_layout(tmp_path / "sets", "denoising", count=2)
    (root / "denoising" / "WaterlooED" / "CUT.BMP").write_bytes(b"BM and no more")
    Image.new("RGB", (8, 8)).save(root / "denoising" / "WaterlooED" / "WHOLE.BMP")
    (found,) = check(root, "--set", "denoising")[2]["sets"]
    assert found["found"] == 4
    assert [problem for problem in found["problems"] if "BMP" in problem] == [
        problem for problem in found["problems"] if "CUT.BMP cannot be read" in problem
    ]
    assert len(found["problems"]) == 2
