"""The numbers of docs/routing.md: what the scripts compute, and that each part finds its place in the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from routing_cost import EFFORTS, Curve, Point, as_tensor, cost_tables, draw_curves, forced_routes, score
from routing_study import FIGURE, PARTS, main
from routing_tasks import (
    WHOLE,
    Information,
    forced_table,
    gain_cells,
    mutual_information_bits,
    reading,
    validation_pairs,
)
from support import write_photographs, write_picture

from moceir.evaluation.pages import replace_part
from moceir.insight.signatures import SIGNATURES_FILE
from moceir.models.execution import for_inference
from moceir.models.network import MoCEIR
from moceir.weights import ModelFile, load, save

PAGE = Path(__file__).parents[2] / "docs" / "routing.md"


def cells(lines: list[str]) -> list[list[str]]:
    """The tables' rows without their heads."""
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and "---" not in line]
    return [[cell.strip() for cell in row] for row in rows]


def test_mutual_information() -> None:
    told = [("a", 0), ("a", 0), ("b", 1), ("b", 1)]
    assert mutual_information_bits(told) == pytest.approx(1)
    assert mutual_information_bits([("a", 0), ("a", 1), ("b", 0), ("b", 1)]) == pytest.approx(0)
    # By hand: p(a, 0) = 1/2, p(b, 0) = p(b, 1) = 1/4.
    some = [("a", 0), ("a", 0), ("b", 0), ("b", 1)]
    assert mutual_information_bits(some) == pytest.approx(0.311278, abs=1e-6)


def test_shuffles_take_away_what_few_pictures_feign() -> None:
    tasks = ["a", "b"] * 20
    generator = torch.Generator().manual_seed(3)
    noise = torch.randint(0, 8, (40,), generator=generator).tolist()
    feigned = Information.of(tasks, noise)
    assert feigned.chance > 0.1, "40 pictures and 8 choices"
    assert feigned.bits < feigned.largest
    real = Information.of(tasks, [task == "a" for task in tasks])
    assert real.bits == pytest.approx(1)
    assert real.bits > real.largest
    assert real.beyond_chance > 0.9
    assert feigned.beyond_chance == pytest.approx(feigned.bits - feigned.chance)


def test_the_reading_counts_random_routers_that_tell_as_much() -> None:
    found = {
        "block 0": Information(1.5, 0.5, 0.6),
        "block 1": Information(0.7, 0.2, 0.3),
        WHOLE: Information(2, 1.0, 2),
    }
    drawn = {"block 0": [1.0, 0.2, 1.2], "block 1": [0.5, 1.0, 0.2], WHOLE: [0.9, 1.0, 1.1]}
    text = reading(found, drawn, 3.0)
    assert "tells 1.00 of the 3.00 bits, no more than a shuffle can." in text
    assert "tells 0.75 on average, with random routers 0.68; 1 of 3 " in text, "means 0.75, 0.6 and 0.7"
    assert "and 2 by the whole route" in text


def test_the_page_has_a_place_for_every_part(tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    for name in PARTS:
        replace_part(copy, name, [f"the table of {name}"])
    text = copy.read_text(encoding="utf-8")
    for name in PARTS:
        assert f"<!-- measured: {name} -->\nthe table of {name}\n<!-- end -->" in text


def test_costs_are_those_that_torch_counts(nano: MoCEIR, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing_cost.TIMED_SIZE", 32)
    monkeypatch.setattr("routing_cost.TIMED_ROUNDS", 1)
    with torch.no_grad():
        rows = cells(cost_tables(for_inference(nano)))
    assert [row[2] for row in rows[1:5]] == ["+0.000 %"] * 4


@torch.no_grad()
def test_gains_are_those_of_single_restorations(nano: MoCEIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing_tasks.PATCH_PX", 16)
    files = sorted(write_photographs(tmp_path, 2).iterdir())
    tasks = ("noise:sigma=25", "low_light")
    rows = cells(forced_table(nano, files, tasks, 2))
    expected: list[list[float]] = []
    for task in tasks:
        pairs = list(validation_pairs(files, (task,), 2))
        own = [score(nano.restore_with_routing(degraded)[0], clean) for _, degraded, clean in pairs]
        means = [sum(own) / 2]
        for route in forced_routes(nano.config).values():
            fixed = [nano.restore_with_routing(degraded, routes=as_tensor(route))[0] for _, degraded, _ in pairs]
            means.append(sum(score(x, pair[2]) for x, pair in zip(fixed, pairs, strict=True)) / 2 - means[0])
        expected.append(means)
    expected.append([sum(column) / 2 for column in zip(*expected, strict=True)])
    assert [row[0] for row in rows[1:]] == [*tasks, "all"]
    for row, values in zip(rows[1:], expected, strict=True):
        found = [float(cell.split(" ± ")[0]) for cell in row[1:6]]
        assert found == pytest.approx(values, abs=6e-4)


def test_better_means_more_than_two_standard_errors() -> None:
    gains = {"expert 0 everywhere": [0.1, 0.4], "expert 1 everywhere": [-0.1, 0.3], "expert 2 everywhere": [0.2, 0.21]}
    assert gain_cells(gains) == ["+0.250 ± 0.150", "+0.100 ± 0.200", "+0.205 ± 0.005", "2"]
    assert gain_cells({"expert 0 everywhere": [0.0, 0.0]})[-1] == "none"


def test_curves_are_drawn_where_they_were_measured() -> None:
    efforts = {effort: Point(30 + effort, 2 + effort, 0) for effort in EFFORTS}
    flat = {effort: Point(30.0, 2 + effort, 0) for effort in EFFORTS}
    fixed = {"expert 0 everywhere": Point(28.0, 1, 0)}
    panels = draw_curves({"steep": Curve(efforts, fixed, 3), "flat": Curve(flat, {}, 3)}).axes
    line, mark = panels[0].lines
    assert line.get_xydata().tolist() == [[2 + effort, 30 + effort] for effort in EFFORTS]
    assert mark.get_xydata().tolist() == [[1, 28]]
    assert {text.get_text() for text in panels[0].texts} == {"low", "auto", "high"}
    low, high = panels[0].get_ylim()
    assert low < 28
    assert high > 31
    assert panels[1].get_ylim() == pytest.approx((29.9, 30.1))


def test_one_command_fills_the_page(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing_cost.TIMED_SIZE", 16)
    monkeypatch.setattr("routing_cost.TIMED_ROUNDS", 1)
    monkeypatch.setattr("routing_tasks.SHUFFLES", 3)
    monkeypatch.setattr("routing_tasks.RANDOM_ROUTERS", 2)
    monkeypatch.setattr("routing_study.PATCH_PX", 16)
    monkeypatch.setattr("routing_tasks.PATCH_PX", 16)
    network = load(golden / "nano_lightning.ckpt")
    model, page = tmp_path / "model", tmp_path / "docs" / "page.md"
    save(network, model, ModelFile(model=network.config))
    for folder, name in (("rain100l/rainy", "rain-1"), ("rain100l/gt", "norain-1"), ("cbsd68", "x")):
        write_picture(tmp_path / "test" / folder / f"{name}.png", 32, 32)
    (page.parent / FIGURE).parent.mkdir(parents=True)
    page.write_text("".join(f"<!-- measured: {name} -->\n<!-- end -->\n" for name in PARTS), encoding="utf-8")
    photographs = write_photographs(tmp_path / "photographs", 6)
    amount = ["--pictures", "4", "--held-out", "1", "--test-pictures", "1"]
    places = ["--photographs", str(photographs), "--data", str(tmp_path / "test"), "--write", str(page)]
    monkeypatch.setattr(sys, "argv", ["routing_study.py", str(model), *places, *amount])
    threads = torch.get_num_threads()
    try:
        main()
    finally:
        torch.set_num_threads(threads)
    text = page.read_text(encoding="utf-8")
    for name in PARTS:
        part = text.split(f"<!-- measured: {name} -->\n")[1].split("<!-- end -->")[0]
        assert part.startswith("Weights "), name
        assert "| --- |" in part
    curve = [
        [float(cell) for cell in row[1:]] for row in cells(text.split("<!-- measured: curve -->")[1].split("\n"))[1:14]
    ]
    efforts, forced = curve[: len(EFFORTS)], curve[len(EFFORTS) :]
    for column in (1, 4):
        costs = [row[column] for row in efforts]
        assert costs == sorted(costs)
        assert [row[column] for row in forced] == sorted(row[column] for row in forced)
    auto = efforts[EFFORTS.index(0.0)]
    assert auto[2] == auto[5] == 0, "what the others are compared with"
    assert (model / SIGNATURES_FILE).is_file()
    with Image.open(page.parent / FIGURE) as drawing:
        assert drawing.format == "PNG"


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--part", "curve"], "--data is needed for curve"), (["--part", "cost", "--write", "no.md"], "does not exist")],
)
def test_wrong_usage_is_refused_before_measuring(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["routing_study.py", "tiny", *options])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert message in capsys.readouterr().err
