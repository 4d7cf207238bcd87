"""The numbers of docs/routing.md: what the script computes, and that it finds its places in the page."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from routing_study import PARTS, cost_tables, curve_table, mutual_information_bits, replace_tables
from support import write_picture

from moceir.models.network import MoCEIR

PAGE = Path(__file__).parents[2] / "docs" / "routing.md"


def test_mutual_information() -> None:
    told = [("a", 0), ("a", 0), ("b", 1), ("b", 1)]
    assert mutual_information_bits(told) == pytest.approx(1)
    assert mutual_information_bits([("a", 0), ("a", 1), ("b", 0), ("b", 1)]) == pytest.approx(0)
    # By hand: p(a, 0) = 1/2, p(b, 0) = p(b, 1) = 1/4.
    some = [("a", 0), ("a", 0), ("b", 0), ("b", 1)]
    assert mutual_information_bits(some) == pytest.approx(0.311278, abs=1e-6)


def test_the_page_has_a_place_for_every_part(tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    for name in PARTS:
        replace_tables(copy, name, [f"the table of {name}"])
    text = copy.read_text(encoding="utf-8")
    for name in PARTS:
        assert f"<!-- measured: {name} -->\nthe table of {name}\n<!-- end -->" in text
    with pytest.raises(SystemExit, match="no place for 'nothing'"):
        replace_tables(copy, "nothing", [])


def test_cost_and_curve_tables(nano: MoCEIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing_study.TIMED_SIZE", 32)
    monkeypatch.setattr("routing_study.TIMED_ROUNDS", 1)
    for folder, name in (("rain100l/rainy", "rain-1"), ("rain100l/gt", "norain-1"), ("cbsd68", "x")):
        write_picture(tmp_path / folder / f"{name}.png", 32, 32)
    with torch.no_grad():
        rows = [line.split(" | ") for line in cost_tables(nano) if line.startswith("| ")]
        curve = curve_table(nano, tmp_path, None)
    assert [row[2] for row in rows[2:6]] == ["+0.000 %"] * 4, "counted as torch counts"
    cells = [[float(cell.strip(" |")) for cell in line.split(" | ")[1:]] for line in curve[4:]]
    efforts, forced = cells[:7], cells[7:]
    for column in (1, 4):
        costs = [row[column] for row in efforts]
        assert costs == sorted(costs)
        assert [row[column] for row in forced] == sorted(row[column] for row in forced)
    assert efforts[3][2] == efforts[3][5] == 0, "auto is what the others are compared with"
