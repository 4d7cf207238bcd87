"""``moceir signatures`` and ``moceir inspect`` from end to end, and the options that steer experts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import moceir_process, run, write_photographs, write_picture

from moceir import image_io
from moceir.models.network import MoCEIR
from moceir.weights import ModelFile, load, save


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, golden: Path) -> Path:
    """A model whose routes differ, with its signatures."""
    folder = tmp_path_factory.mktemp("model")
    network = load(golden / "nano_lightning.ckpt")
    save(network, folder, ModelFile(model=network.config))
    photographs = write_photographs(tmp_path_factory.mktemp("photographs"), 6)
    amount = ("--pictures", "4", "--held-out", "1", "--patch-px", "24")
    result = run("signatures", photographs, "--model", folder, *amount, "--device", "cpu")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "|  | right | noise | rain | haze | blur | low_light | jpeg | snow | clean | unknown |"
    assert [line.split(" | ")[0] for line in lines if "low_" in line][1:] == [
        "| low_light",
        "| low_haze",
        "| low_rain",
        "| low_snow",
        "| low_haze_rain",
        "| low_haze_snow",
    ]
    assert lines[-1] == f"learnt from 4 pictures per task; written to {folder / 'signatures.json'}"
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number, group in enumerate(("rain", "rain", "haze")):
        write_picture(tmp_path / "in" / group / f"p{number}.png", 24, 32, seed=number)
    return tmp_path / "in"


def test_one_picture(model: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    source, out, figure = pictures / "rain" / "p0.png", tmp_path / "one.json", tmp_path / "one.png"
    done = moceir_process("inspect", source, "-m", model, "--device", "cpu", "--json", out, "--figure", figure)
    assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text())
    (picture,) = content["pictures"]
    routing = picture["routing"]
    assert f"{routing['gmacs']:.2f} GMACs ({routing['cheapest_gmacs']:.2f} to" in done.stdout
    rows = [line for line in done.stdout.splitlines() if "(1/" in line]
    assert len(rows) == len(routing["blocks"]) == 3
    for row, block in zip(rows, routing["blocks"], strict=True):
        (taken,) = block["experts"]
        assert row.count("*") == 1
        assert f"{block['probabilities'][taken]:.0%}*" in row
        assert str(block["ranks"][taken]) in row.split()
        assert str(block["reach_px"][taken]) in row.split()
    assert set(picture["guess"]["probabilities"]) == {*content["confusion"]} & {*picture["guess"]["probabilities"]}
    assert ("unknown" in done.stdout) == (picture["guess"]["task"] == "unknown")
    drawn = image_io.read(figure)
    assert drawn.alpha is not None
    assert drawn.alpha[0, 0] == 0, "no background, for light and dark pages"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "one.json", "one.png"], "nothing was restored"


def test_a_folder_is_shown_by_groups(model: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (pictures / "broken.png").write_bytes(b"no picture")
    out, figure = tmp_path / "all.json", tmp_path / "all.svg"
    result = run("inspect", pictures, "-m", model, "--device", "cpu", "--json", out, "--figure", figure)
    assert result.exit_code == 1, "one file failed"
    assert "failed" in result.stderr
    assert "broken.png" in result.stderr
    content = json.loads(out.read_text())
    assert [picture["group"] for picture in content["pictures"]] == ["haze", "rain", "rain"]
    assert {group: np.sum(part["counts"]) for group, part in content["usage"].items()} == {"haze": 3, "rain": 6}
    for picture in content["pictures"]:
        taken = " ".join(str(block["experts"][0]) for block in picture["routing"]["blocks"])
        assert f"{picture['file']} 32x24: experts {taken}, " in result.stdout
    assert [line.split()[:2] for line in result.stdout.splitlines() if line.startswith(("haze ", "rain "))] == [
        ["haze", "1"],
        ["rain", "2"],
    ]
    svg = figure.read_text()
    assert all(text in svg for text in ("rain (2)", "haze (1)", "principal component"))


def test_eighty_columns_hold_the_tables(model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (pictures / "rain").rename(pictures / "low_haze_rain")
    (pictures / "haze").rename(pictures / "haze_of_a_very_long_name_with_25")
    several = run("inspect", pictures, "-m", model, "--device", "cpu").stdout.splitlines()
    table = several[next(i for i, line in enumerate(several) if line.startswith("group")) :]
    one = run("inspect", pictures / "low_haze_rain" / "p0.png", "-m", model, "--device", "cpu").stdout.splitlines()
    assert max(map(len, [*table, *one[1:-1]])) <= 80
    assert not any("…" in line for line in [*table, *one])
    assert any(line.startswith("low_haze_rain ") for line in table)
    assert "haze_of_a_very_long_name_with_25" in "".join(line.split(" ")[0] for line in table)


def test_without_signatures_nothing_is_guessed(nano: MoCEIR, pictures: Path, tmp_path: Path) -> None:
    save(nano, tmp_path / "model", ModelFile(model=nano.config))
    result = run("inspect", pictures / "haze", "-m", tmp_path / "model", "--device", "cpu")
    assert result.exit_code == 0
    assert "moceir signatures" in result.stderr
    assert "likely" not in result.stdout


@pytest.mark.parametrize(
    ("options", "route"),
    [
        (("--force-expert", "cheapest"), "0 0 0"),
        (("--force-expert", "dearest"), "3 3 3"),
        (("--experts", "1,0,2"), "1 0 2"),
        (("--effort", "-1e4"), "0 0 0"),
        (("--effort", "1e4"), "3 3 3"),
    ],
)
def test_experts_can_be_steered(
    model: Path, pictures: Path, tmp_path: Path, options: tuple[str, ...], route: str
) -> None:
    two = (pictures / "haze", pictures / "rain" / "p0.png")
    result = run("inspect", *two, "-m", model, "--device", "cpu", *options)
    assert result.exit_code == 0
    assert result.stdout.count(f"experts {route}, ") == 2
    out = tmp_path / "restored"
    assert run("restore", *two, "-m", model, "--device", "cpu", "-o", out, *options).exit_code == 0
    restored = image_io.read(out / "p0.png").rgb
    assert run("restore", *two, "-m", model, "--device", "cpu", "-o", tmp_path / "auto").exit_code == 0
    assert not np.array_equal(restored, image_io.read(tmp_path / "auto" / "p0.png").rgb)


@pytest.mark.parametrize("command", ["inspect", "restore"])
@pytest.mark.parametrize(
    "options",
    [
        ("--effort", "much"),
        ("--effort", "nan"),
        ("--experts", "0;1"),
        ("--experts", "0,1,2", "--force-expert", "cheapest"),
        ("--force-expert", "largest"),
    ],
)
def test_wrong_usage_is_code_2(pictures: Path, tmp_path: Path, command: str, options: tuple[str, ...]) -> None:
    extra = ("-o", tmp_path / "out") if command == "restore" else ()
    assert run(command, pictures, *extra, *options).exit_code == 2


@pytest.mark.parametrize(
    ("options", "code", "telling"),
    [
        (("--experts", "0,1"), 2, "for each of its 3 decoder blocks"),
        (("--experts", "0,1,9"), 2, "0 to 3"),
        (("--effort", "low", "--force-expert", "cheapest"), 2, "one of the two"),
        (("--figure", "routes.gif"), 1, ".png, .svg"),
        (("--model", "nowhere"), 1, "no model"),
    ],
)
def test_what_does_not_fit_is_one_line(
    model: Path, pictures: Path, options: tuple[str, ...], code: int, telling: str
) -> None:
    result = run("inspect", pictures, "-m", model, "--device", "cpu", *options)
    assert result.exit_code == code
    assert telling in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_figure_without_matplotlib_says_what_to_install(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moceir.errors.find_spec", lambda _: None)
    result = run("inspect", pictures, "--figure", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "moceir[inspect]" in str(result.exception)


def test_signatures_of_a_checkpoint_are_refused(golden: Path, tmp_path: Path) -> None:
    photographs = write_photographs(tmp_path, 3)
    result = run("signatures", photographs, "--model", golden / "nano_lightning.ckpt")
    assert result.exit_code == 1
    assert "model folder" in str(result.exception)
