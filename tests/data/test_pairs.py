"""Pairs are matched by name, and whatever does not match is named."""

from pathlib import Path

import pytest

from moceir.data.benchmarks import BENCHMARKS, find_benchmark, locate
from moceir.data.pairs import pair_folders
from moceir.errors import ConfigError, DataError


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("degraded", "clean"),
    [
        (["a.png", "b.jpg"], ["b.png", "a.png"]),
        (["0012_0.9_0.2.jpg", "0003_1.jpg"], ["0003.png", "0012.png"]),
        (["rain-010.png", "rain-002.png"], ["norain-002.png", "norain-010.png"]),
        (["a_b.png"], ["a.png", "a_b.png"]),
    ],
)
def test_partners_are_found_by_name(tmp_path: Path, degraded: list[str], clean: list[str]) -> None:
    pairs = pair_folders(fill(tmp_path / "d", *degraded), fill(tmp_path / "c", *clean))
    assert [d.name for d, _ in pairs] == sorted(degraded)
    for d, c in pairs:
        assert c.stem in (d.stem, d.stem.split("_")[0], f"no{d.stem}")
    if degraded == ["a_b.png"]:
        assert pairs[0][1].name == "a_b.png", "the equal stem comes first"


def test_what_has_no_partner_or_several_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lonely\.png has no partner"):
        pair_folders(fill(tmp_path / "d", "lonely.png"), fill(tmp_path / "c", "other.png"))
    with pytest.raises(DataError, match="several partners"):
        pair_folders(fill(tmp_path / "d2", "a.png"), fill(tmp_path / "c2", "a.png", "a.jpg"))
    with pytest.raises(DataError, match="holds no pictures"):
        pair_folders(fill(tmp_path / "d3", "notes.txt"), tmp_path / "c")
    with pytest.raises(DataError, match="not a folder"):
        pair_folders(tmp_path / "nowhere", tmp_path / "c")


def test_benchmarks_are_found_in_both_layouts(tmp_path: Path) -> None:
    (tmp_path / "denoising" / "cBSD68" / "original_png").mkdir(parents=True)
    assert locate(tmp_path, BENCHMARKS["cbsd68-s15"].clean).name == "original_png"
    (tmp_path / "cbsd68").mkdir()
    assert locate(tmp_path, BENCHMARKS["cbsd68-s15"].clean).name == "cbsd68"
    with pytest.raises(DataError, match="rain100l/gt"):
        locate(tmp_path, BENCHMARKS["rain100l"].clean)
    with pytest.raises(ConfigError, match="did you mean 'rain100l'"):
        find_benchmark("rain100")
