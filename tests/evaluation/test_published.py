"""Tests of the published results: means agree with scores, and groups of benchmarks with the columns of tables."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean

import pytest

from moceir.errors import ConfigError
from moceir.evaluation.published import PUBLISHED, REFERENCE, expand, tables_for

ROWS = [(key, method) for key, table in PUBLISHED.items() for method in table.means]


@pytest.mark.parametrize(("key", "method"), ROWS)
def test_published_means_are_the_means_of_their_rows(key: str, method: str) -> None:
    table = PUBLISHED[key]
    row = table.rows[method]
    assert len(row) == len(table.benchmarks)
    assert table.means[method].psnr_db == pytest.approx(mean(score.psnr_db for score in row), abs=0.011)
    ssims = [score.ssim for score in row if score.ssim is not None]
    if ssims:
        assert len(ssims) == len(row)
        assert table.means[method].ssim == pytest.approx(mean(ssims), abs=0.0016)


def test_every_table_has_the_reference_and_a_mean_for_each_row() -> None:
    for table in PUBLISHED.values():
        assert table.reference in table.rows
        assert table.on_y or (table.reference == REFERENCE and table.rows.keys() == table.means.keys())
        assert all(len(row) == len(table.benchmarks) for row in table.rows.values())
        assert len(set(table.benchmarks)) == len(table.benchmarks)


def test_groups_stand_for_their_benchmarks_each_once() -> None:
    assert expand(["aio3"]) == ["sots-outdoor", "rain100l", "cbsd68-s15", "cbsd68-s25", "cbsd68-s50"]
    assert expand(["rain100l", "aio5"]) == ["rain100l", "sots-outdoor", "cbsd68-s25", "gopro", "lolv1"]
    assert len(expand(["cdd11"])) == 11
    assert len(expand(["all"])) == len(set(expand(["all"]))) == 5 + 2 + 11
    assert expand(["sr3"]) == ["set5-x3", "set14-x3", "b100-x3", "urban100-x3", "manga109-x3"]
    assert expand(["cbsd68-s25", "cbsd68-s25"]) == ["cbsd68-s25"]


def test_a_misspelt_name_gets_a_hint_and_the_groups() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'rain100l'\?.*aio3, aio5, cdd11, sr2, sr3, sr4, all"):
        expand(["rain100"])


def test_tables_are_those_that_show_what_was_measured() -> None:
    titles = {key: table.title for key, table in PUBLISHED.items()}

    def shown(*names: str) -> list[str]:
        return [table.title for table in tables_for(names)]

    assert shown(*expand(["aio3"])) == [titles["aio3"]]
    assert shown("rain100l") == [titles["aio3"], titles["aio5"]]
    assert shown("lolv1") == [titles["aio5"]]
    assert shown(*expand(["aio3"]), "lolv1", "cdd11-low") == [titles[key] for key in ("aio3", "aio5", "cdd11")]
    assert shown("manga109-x4") == [titles["sr4"]]
    assert shown("pairs:mine") == []


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_enlargements_get_better_with_the_years_and_worse_with_the_scale(scale: int) -> None:
    rows = list(PUBLISHED[f"sr{scale}"].rows.values())
    for earlier, later in pairwise(rows):
        for before, after in zip(earlier, later, strict=True):
            assert before.psnr_db < after.psnr_db
            assert before.ssim is not None
            assert after.ssim is not None
            assert before.ssim < after.ssim
    if scale > 2:
        for method, row in PUBLISHED[f"sr{scale}"].rows.items():
            easier = PUBLISHED[f"sr{scale - 1}"].rows[method]
            assert all(
                a.psnr_db < b.psnr_db and (a.ssim or 0) < (b.ssim or 0) for a, b in zip(row, easier, strict=True)
            )
