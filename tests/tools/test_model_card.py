"""The model card: what the script picks, names and writes."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from card_text import (
    failure_lines,
    median_gain,
    order_by_gain,
    score_cells,
    smallest_gain,
    task_lines,
    trained_on,
)
from model_card import CHOICES, COMPOSITE, GROUPS, PARTS, SINGLE, WINDOW_PX, main
from PIL import Image
from support import write_photographs, write_picture

from moceir.degradations import CDD11, DEGRADATIONS
from moceir.evaluation import Evaluation, ImageScore
from moceir.evaluation.pages import check_parts
from moceir.models.presets import preset
from moceir.weights import CONFIG_FILE, ModelFile, load, read_description, save

CARD = Path(__file__).parents[2] / "src" / "moceir" / "pretrained" / "tiny" / "README.md"


def evaluation(name: str, *scores: tuple[float, float]) -> Evaluation:
    """Of pictures a.png, b.png, ... with input and restored PSNR."""
    done = [
        ImageScore(f"{chr(97 + i)}.png", before, after, 0.5, 0.75, 1.0, 2.0, ((0,), (1,), (3,)))
        for i, (before, after) in enumerate(scores)
    ]
    return Evaluation(name, "m", "published", 0, "cpu", 4, len(done), done)


def description(**tasks: float) -> ModelFile:
    return ModelFile(model=preset("nano"), training={"tasks": tasks})


def test_pictures_are_chosen_by_gain() -> None:
    scores = evaluation("rain", (20, 25), (30, 29), (10, 12), (25, 28)).scores
    assert order_by_gain(scores) == [1, 2, 3, 0]
    assert smallest_gain(scores) == [1]
    assert median_gain(scores) == [2], "the lower one of the two in the middle"
    assert median_gain(scores[:3]) == [2]


def test_clean_pictures_are_chosen_by_psnr() -> None:
    scores = evaluation("clean", (math.inf, 40), (math.inf, 30), (math.inf, 50)).scores
    assert smallest_gain(scores) == [1]
    assert median_gain(scores) == [0]


def test_every_degradation_and_composite_is_measured() -> None:
    measured = {name.partition(":")[0] for name in (*SINGLE, *COMPOSITE)}
    assert measured >= DEGRADATIONS.keys()
    assert {CDD11[name] if name not in measured else name for name in CDD11} <= measured


@pytest.mark.parametrize(
    ("task", "expected"),
    [("noise:sigma=25", True), ("jpeg", True), ("low_haze", True), ("low", False), ("blur", False), ("snow", False)],
)
def test_what_was_trained_on_is_told_by_the_recipe(task: str, expected: bool) -> None:
    trained = description(**{"noise": 2, "jpeg:quality=10": 1, "low_light+haze:airlight=0.5": 1, "blur": 0})
    assert trained_on(task, trained) is expected


def test_failures_are_named() -> None:
    results = {
        "rain": evaluation("rain", (20, 25), (20, 26)),
        "blur": evaluation("blur", (20, 20.6), (20, 19.8)),
        "jpeg": evaluation("jpeg", (20, 20.5)),
        "low_haze": evaluation("low_haze", (20, 19), (20, 17)),
        "clean": evaluation("clean", (math.inf, 40), (math.inf, 30)),
    }
    lines = failure_lines(results, description(rain=1, blur=1, jpeg=1, clean=1))
    assert lines == [
        "- **Made worse on average**: low_haze (-2.00 dB).",
        "- **Hardly better on average (below 0.5 dB)**: blur (+0.20 dB).",
        "- **Not trained on**: low_haze.",
        "- **Single pictures made worse**, with the one that lost most: blur 1 of 2 (b.png -0.20 dB), "
        "low_haze 2 of 2 (b.png -3.00 dB).",
        "- **Clean pictures are changed**: they come back at 35.00 dB in the mean, the worst one at 30.00 dB (b.png).",
    ]


def test_nothing_that_fails_is_said_too() -> None:
    lines = failure_lines({"rain": evaluation("rain", (20, 25))}, description(rain=1))
    assert [line.split(": ")[1] for line in lines] == ["no task.", "no task.", "none of the tasks measured.", "none."]


def test_rows_of_scores() -> None:
    assert score_cells(evaluation("rain", (20, 25), (20, 19))) == [
        *("2", "20.00", "22.00", "+2.00", "-1.00, +5.00", "0.5000", "0.7500")
    ]
    clean = score_cells(evaluation("clean", (math.inf, 40)))
    assert clean[1:5] == ["-", "40.00", "-", "-"]


def test_all_eleven_composites_stand_beside_the_published_scores() -> None:
    results = {name: evaluation(name, (20, 21 + i)) for i, name in enumerate((*SINGLE, *COMPOSITE))}
    lines = task_lines(results, description(rain=1))
    singles, composites = (
        [line.split(" | ") for line in lines[a:b] if line.startswith("| ")]
        for a, b in ((0, lines.index("")), (lines.index(""), None))
    )
    assert [row[0].strip("| ") for row in singles[2:]] == list(SINGLE)
    rows = {row[0].strip("| "): row for row in composites[2:]}
    assert list(rows) == list(CDD11)
    assert rows["low"][5] == f"{1 + SINGLE.index('low_light'):+.2f}", "the row of low_light under its other name"
    assert rows["low"][-1] == "27.26 |"
    assert rows["low_haze_snow"][-1] == "25.39 |"
    assert [name for name, row in rows.items() if row[1] == "yes"] == ["rain"]


def test_the_bundled_card_has_a_place_for_every_part() -> None:
    check_parts(CARD, PARTS)


def test_what_the_bundled_card_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", CARD.read_text(encoding="utf-8"))
    assert sum(link.endswith(".png") for link in links) == len(CHOICES) * len(GROUPS)
    assert [link for link in links if not (CARD.parent / link).exists()] == []


@pytest.fixture
def model(golden: Path, tmp_path: Path) -> Path:
    network = load(golden / "nano_lightning.ckpt")
    training = {
        "model": "nano",
        "steps": 3,
        "stages": [{"share": 1.0, "patch_px": 16, "batch": 2}],
        "tasks": {"rain": 1.0, "noise": 1.0},
        "optimizer": {"lr": 1e-3},
        "validation": {"share": 0.5},
    }
    save(network, tmp_path / "nano", ModelFile(model=network.config, training=training, provenance={"steps": 3}))
    parts = "".join(f"## {name}\n\n<!-- measured: {name} -->\nold\n<!-- end -->\n\n" for name in PARTS)
    (tmp_path / "nano" / "README.md").write_text(f"by hand\n\n{parts}also by hand\n", encoding="utf-8")
    return tmp_path / "nano"


def run_card(monkeypatch: pytest.MonkeyPatch, model: Path, *options: str | Path) -> str:
    monkeypatch.setattr(sys, "argv", ["model_card.py", str(model), *map(str, options)])
    threads = torch.get_num_threads()
    try:
        main()
    finally:
        torch.set_num_threads(threads)
    return (model / "README.md").read_text(encoding="utf-8")


def table_rows(text: str) -> Sequence[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_one_command_fills_the_card(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_card.TIMED_SIZES", ((16, 16), (32, 16)))
    monkeypatch.setattr("routing_cost.TIMED_ROUNDS", 1)
    monkeypatch.setattr("model_card.GROUPS", {"single": ("noise", "clean")})
    for seed, place in enumerate(("rain100l/rainy/rain-1", "rain100l/gt/norain-1", "cbsd68/x")):
        write_picture(tmp_path / "test" / f"{place}.png", 32, 32, seed)
    images = tmp_path / "docs" / "images"
    images.mkdir(parents=True)
    text = run_card(
        *(monkeypatch, model, "--data", tmp_path / "test", "--photographs", write_photographs(tmp_path / "p", 4)),
        *("--show", write_photographs(tmp_path / "shown", 2), "--images", images, "--limit", "1"),
    )
    assert text.startswith("by hand\n")
    assert text.endswith("also by hand\n")
    for name in PARTS:
        part = text.split(f"<!-- measured: {name} -->\n")[1].split("<!-- end -->")[0]
        assert part.startswith("Weights "), name
        assert "old" not in part.split("\n")
    assert "| MoCE-IR-S | 38.22 / 0.983 | 34.08 / 0.933 |" in text
    assert "No GPU was there for this table" in text
    assert "(../docs/images/nano-failures-single.png)" in text
    with Image.open(images / "nano-failures-single.png") as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "P")
        # Pictures of 64x48 pixels are shown whole; a column is half of the usual width at least.
        assert sheet.size == (3 * 208 + 8, 2 * (26 + 22 + 48 + 8))
    assert WINDOW_PX == (200, 150)

    results = read_description(model).results
    rows = {row[0]: row for row in table_rows(text)}
    assert rows["rain100l"][2:4] == [f"{results['rain100l'][key]:.2f}" for key in ("input_psnr_db", "psnr_db")]
    assert ["snow", "no"] in [row[:2] for row in table_rows(text)]
    assert results["experts"].keys() == {*SINGLE, *COMPOSITE}
    assert [sum(block) for block in results["experts"]["rain"]] == [1, 1, 1]
    assert results["seconds_per_megapixel_32x16"] > 0


def test_a_part_alone_leaves_the_others(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((model / CONFIG_FILE).read_text(encoding="utf-8"))
    config["results"] = {"weights": "those of others", "rain100l": {"psnr_db": 50}}
    (model / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    text = run_card(monkeypatch, model, "--part", "weights")
    assert text.count("\nold\n") == len(PARTS) - 1
    assert "\n- steps: 3\n" in text
    results = read_description(model).results
    assert "rain100l" not in results, "numbers of other weights are not kept"
    run_card(monkeypatch, model, "--part", "weights")
    assert read_description(model).results == results


def test_a_part_asks_for_what_it_needs(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_card(monkeypatch, model, "--part", "failures")
    assert "--photographs is needed for tasks, failures, experts" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_card(monkeypatch, model, "--limit", "0")
    assert "--limit is 0; give a number of pictures from 1" in capsys.readouterr().err
    (model / "README.md").write_text("no places", encoding="utf-8")
    with pytest.raises(SystemExit):
        run_card(monkeypatch, model, "--part", "weights")
    assert "has no place for 'weights'" in capsys.readouterr().err
