"""``moceir evaluate`` end to end on drawn pictures in the layouts it knows."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import run

import moceir
from moceir import image_io
from moceir.models.cost import network_cost
from moceir.weights import ModelFile, save


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that gives back its input: scores after are then scores before."""
    folder = tmp_path_factory.mktemp("identity")
    model = moceir.MoCEIR(moceir.preset("nano"))
    torch.nn.init.zeros_(model.output.weight)
    save(model, folder, ModelFile(model=model.config))
    return folder


@pytest.fixture(scope="module")
def test_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(1)
    for number in range(3):
        clean = np.full((40, 52, 3), 60 + 50 * number, dtype=np.uint8)
        image_io.write(root / "cbsd68" / f"{number:04}.png", image_io.Picture(clean))
        rain = clean + rng.integers(0, 30, clean.shape).astype(np.uint8)
        image_io.write(root / "rain100l" / "gt" / f"norain-{number:03}.png", image_io.Picture(clean))
        image_io.write(root / "rain100l" / "rainy" / f"rain-{number:03}.png", image_io.Picture(rain))
    return root


def test_noise_benchmark_follows_the_protocol(identity: Path, test_sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = ("evaluate", "--model", identity, "--benchmark", "cbsd68-s25", "--data", test_sets, "--json", out)
    result = run(*command)
    assert result.exit_code == 0
    content = json.loads(out.read_text())
    assert {k: content[k] for k in ("benchmark", "protocol", "seed", "images")} == {
        "benchmark": "cbsd68-s25",
        "protocol": "published",
        "seed": 0,
        "images": 3,
    }
    assert content["model"] == str(identity)
    # Sigma 25 on mid grey: 20 log10(255 / 25) dB, a little less for truncation.
    assert content["input_psnr_db"] == pytest.approx(20.17, abs=0.4)
    assert content["psnr_db"] == pytest.approx(content["input_psnr_db"], abs=1e-4)
    assert 0 < content["ssim"] < 1
    assert len(content["rows"]) == 3
    run(*command, "--limit", "1")
    first = json.loads(out.read_text())
    assert first["images"] == 1
    assert first["rows"][0]["input_psnr_db"] == content["rows"][0]["input_psnr_db"]
    run(*command, "--seed", "1")
    assert json.loads(out.read_text())["input_psnr_db"] != content["input_psnr_db"]


def test_rain_benchmark_pairs_by_name(identity: Path, test_sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    assert run("evaluate", "-m", identity, "--benchmark", "rain100l", "--data", test_sets, "--json", out).exit_code == 0
    content = json.loads(out.read_text())
    rainy = image_io.read(test_sets / "rain100l/rainy/rain-001.png").rgb[4:36, 2:50] / 255
    clean = image_io.read(test_sets / "rain100l/gt/norain-001.png").rgb[4:36, 2:50] / 255
    expected = -10 * np.log10(np.mean((rainy - clean) ** 2))
    assert content["rows"][1]["image"] == "rain-001.png"
    assert content["rows"][1]["input_psnr_db"] == pytest.approx(expected, abs=1e-4)


def test_pairs_and_clean_folders(identity: Path, test_sets: Path, tmp_path: Path) -> None:
    degraded, clean = test_sets / "rain100l" / "rainy", test_sets / "rain100l" / "gt"
    result = run("evaluate", "-m", identity, "--pairs", degraded, clean, "--protocol", "uncropped")
    assert result.exit_code == 0
    assert "uncropped" in result.stdout
    both, out = ("--degrade", "noise:sigma=10", "--degrade", "clean"), tmp_path / "both.json"
    result = run("evaluate", "-m", identity, "--clean", clean, *both, "--limit", "2", "--json", out)
    assert result.exit_code == 0
    assert "noise:sigma=10: 2 pictures" in result.stdout
    assert [row["benchmark"] for row in json.loads(out.read_text())["benchmarks"]] == ["noise:sigma=10", "clean"]


def test_equal_pictures_are_valid_json(identity: Path, test_sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = ("evaluate", "-m", identity, "--clean", test_sets / "cbsd68", "--degrade", "clean", "--json", out)
    assert run(*command).exit_code == 0
    assert json.loads(out.read_text())["input_psnr_db"] is None


def test_several_benchmarks_in_every_format(identity: Path, test_sets: Path, tmp_path: Path) -> None:
    command = ("evaluate", "-m", identity, "--data", test_sets, "--benchmark", "rain100l", "--benchmark", "cbsd68-s25")
    files = {kind: tmp_path / "out" / f"result.{kind}" for kind in ("json", "csv", "markdown")}
    options = [text for kind, path in files.items() for text in (f"--{kind}", path)]
    result = run(*command, *options, "--sheet", tmp_path / "worst.png", "--worst", "2")
    assert result.exit_code == 0, result.output
    content = json.loads(files["json"].read_text())["benchmarks"]
    assert [entry["benchmark"] for entry in content] == ["rain100l", "cbsd68-s25"]
    run(*command[:5], "--benchmark", "rain100l", "--json", tmp_path / "alone.json")
    alone = json.loads((tmp_path / "alone.json").read_text())
    assert alone["psnr_db"] == content[0]["psnr_db"]
    assert [sum(shares) for shares in alone["expert_shares"]] == pytest.approx([1, 1, 1])
    model = moceir.load(identity)
    cost = network_cost(model.config, 32, 48)
    assert [row["gmacs"] for row in alone["rows"]] == [cost.macs(row["experts"]) / 1e9 for row in alone["rows"]]

    rows = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert [row["image"] for row in rows[:3]] == ["rain-000.png", "rain-001.png", "rain-002.png"]
    assert [float(row["psnr_db"]) for row in rows[:3]] == [row["psnr_db"] for row in content[0]["rows"]]
    table = files["markdown"].read_text()
    assert "| MoCE-IR-S | 38.22 / 0.983 | 31.42 / 0.888 |" in table
    gain = content[0]["psnr_db"] - 38.22
    assert f"| difference to MoCE-IR-S | {gain:+.2f} /" in table
    # Two rows per set; three columns at least 200 pixels wide with margins; title, label and 32 rows of pixels each.
    sheet = image_io.read(tmp_path / "worst.png").rgb
    assert sheet.shape == (4 * (26 + 22 + 32 + 8), 3 * 208 + 8, 3)
    shown = {tuple(sheet[26 + 22 + 88 * row + 16, 8 + 2 * 208 + 24]) for row in (0, 1)}
    worst = sorted(content[0]["rows"], key=lambda row: row["psnr_db"])[:2]
    assert shown == {(60 + 50 * int(row["image"][7]),) * 3 for row in worst}, "the clean pictures of the worst"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.json", "out", "worst.png"]


def test_missing_sets_of_a_group_are_reported_and_the_others_measured(
    identity: Path, test_sets: Path, tmp_path: Path
) -> None:
    out = tmp_path / "result.json"
    result = run("evaluate", "-m", identity, "--data", test_sets, "--benchmark", "aio3", "--limit", "1", "--json", out)
    assert result.exit_code == 1
    assert "failed: sots-outdoor: " in result.stderr
    measured = [entry["benchmark"] for entry in json.loads(out.read_text())["benchmarks"]]
    assert measured == ["rain100l", "cbsd68-s15", "cbsd68-s25", "cbsd68-s50"]


def test_a_broken_set_does_not_stop_the_others(identity: Path, test_sets: Path, tmp_path: Path) -> None:
    shutil.copytree(test_sets, tmp_path / "sets")
    (tmp_path / "sets" / "rain100l" / "gt" / "norain-001.png").write_bytes(b"no picture")
    out = tmp_path / "result.json"
    names = ("--benchmark", "rain100l", "--benchmark", "cbsd68-s15")
    result = run("evaluate", "-m", identity, "--data", tmp_path / "sets", *names, "--json", out)
    assert result.exit_code == 1
    assert "failed: rain100l: " in result.stderr
    assert "norain-001.png" in result.stderr
    assert json.loads(out.read_text())["benchmark"] == "cbsd68-s15"


def test_lpips_is_one_more_column(
    identity: Path, test_sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class MeanDifference(torch.nn.Module):
        """Stands for AlexNet, with its calling convention: pictures (1, 3, H, W) in [-1, 1]."""

        def forward(self, restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
            return (restored - clean).abs().mean()

    package = SimpleNamespace(LPIPS=lambda net, verbose: MeanDifference())
    monkeypatch.setitem(sys.modules, "lpips", package)
    out, table = tmp_path / "result.json", tmp_path / "table.md"
    files = ("--json", out, "--markdown", table)
    result = run("evaluate", "-m", identity, "--data", test_sets, "--benchmark", "rain100l", "--lpips", *files)
    assert result.exit_code == 0
    sets = test_sets / "rain100l"
    expected = [
        2 * np.abs(rainy.rgb / 255 - clean.rgb / 255)[4:36, 2:50].mean()
        for rainy, clean in (
            (image_io.read(sets / f"rainy/rain-{n:03}.png"), image_io.read(sets / f"gt/norain-{n:03}.png"))
            for n in range(3)
        )
    ]
    assert [row["lpips"] for row in json.loads(out.read_text())["rows"]] == pytest.approx(expected, abs=1e-3)
    assert f"LPIPS {np.mean(expected):.3f}" in result.stdout
    assert "| LPIPS |" in table.read_text()


def test_without_lpips_installed_the_error_says_so(
    identity: Path, test_sets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    result = run("evaluate", "-m", identity, "--data", test_sets, "--benchmark", "rain100l", "--lpips")
    assert result.exit_code == 1
    assert "moceir[lpips]" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "code", "telling"),
    [
        (["--benchmark", "cbsd86-s25", "--data", "."], 2, "did you mean 'cbsd68-s25'"),
        (["--benchmark", "rain100l", "--data", "."], 1, "none of the folders"),
        (["--pairs", "nowhere", "nowhere"], 1, "not a folder"),
        (["--clean", ".", "--degrade", "nois:sigma=3"], 2, "noise"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, telling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("evaluate", *arguments)
    assert result.exit_code == code
    assert telling in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    "arguments", [[], ["--benchmark", "rain100l"], ["--clean", "x"], ["--limit", "0"], ["--sheet", "a.gif"]]
)
def test_wrong_usage_is_code_2(arguments: list[str]) -> None:
    assert run("evaluate", *arguments).exit_code == 2


def test_a_missing_partner_is_named(identity: Path, test_sets: Path, tmp_path: Path) -> None:
    image_io.write(tmp_path / "d" / "lonely.png", image_io.Picture(np.zeros((16, 16, 3), dtype=np.uint8)))
    result = run("evaluate", "-m", identity, "--pairs", tmp_path / "d", test_sets / "cbsd68")
    assert result.exit_code == 1
    assert "lonely.png has no partner" in str(result.exception)


def test_the_precision_reaches_the_network(model_folder: Path, test_sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = ("--benchmark", "cbsd68-s25", "--data", test_sets, "--limit", "1", "--device", "cpu", "--json", out)
    scores: list[float] = []
    for precision in ("auto", "float32", "bfloat16"):
        assert run("evaluate", "--model", model_folder, *options, "--precision", precision).exit_code == 0
        scores.append(json.loads(out.read_text())["psnr_db"])
    assert scores[0] == scores[1]
    assert scores[2] != scores[1]
    assert scores[2] == pytest.approx(scores[1], abs=0.5)
