"""The published data sets are found as they lie on disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from layouts import CDD11, SETS, build_layout
from support import write_picture

from moceir import image_io
from moceir.data.layouts import BENCHMARKS, DATA_SETS, find_benchmark, find_data_set, find_pairs
from moceir.degradations import parse
from moceir.errors import ConfigError, DataError

TRAINING = ("denoising", "reside-ots")
"""Sets to train on whose names do not say so."""


def test_every_published_set_is_in_the_table() -> None:
    assert sorted(DATA_SETS) == sorted(SETS)
    assert sorted(BENCHMARKS) == sorted(name for name in SETS if "train" not in name and name not in TRAINING)
    assert {DATA_SETS[f"cdd11-train-{folder}"].count for folder in CDD11} == {1183}


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_found_where_it_is_published_to_lie(tmp_path: Path, name: str) -> None:
    dataset = find_data_set(name)
    pairs = find_pairs(dataset, build_layout(tmp_path, name))
    assert len(pairs) == (12 if name == "reside-ots" else 3)
    for degraded, clean in pairs:
        assert dataset.paired == (degraded is not None)
        if degraded is not None:
            likeness = np.corrcoef(*(image_io.read(path).rgb.ravel() for path in (degraded, clean)))[0, 1]
            assert likeness > 0.95, "the partner shows another picture"
    if name in BENCHMARKS:
        assert dataset.paired == (dataset.degrade is None)
    parse(dataset.degrade or "clean")


def test_the_first_place_that_is_whole_counts(tmp_path: Path) -> None:
    build_layout(tmp_path, "rain100l")
    write_picture(tmp_path / "rain100l" / "gt" / "7.png")
    assert len(find_pairs(find_benchmark("rain100l"), tmp_path)) == 3, "the short place lacks a folder"
    write_picture(tmp_path / "rain100l" / "rainy" / "7.png")
    assert [(d.name, c.name) for d, c in find_pairs(find_benchmark("rain100l"), tmp_path) if d] == [("7.png", "7.png")]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the folders rain100l/rainy.*get this one: .*http"):
        find_pairs(find_benchmark("rain100l"), tmp_path)
    build_layout(tmp_path, "reside-ots")
    shutil.rmtree(tmp_path / "dehazing" / "RESIDE" / "part3")
    with pytest.raises(DataError, match=r"part3 is not a folder"):
        find_pairs(find_data_set("reside-ots"), tmp_path)
    build_layout(tmp_path, "cdd11-low_haze")
    (tmp_path / "cdd11" / "test" / "clear" / "00002.png").unlink()
    with pytest.raises(DataError, match=r"low_haze/00002\.png has no partner"):
        find_pairs(find_benchmark("cdd11-low_haze"), tmp_path)


def test_unknown_names_get_the_closest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'rain100l'"):
        find_benchmark("rain100")
    with pytest.raises(ConfigError, match="no benchmark 'denoising'"):
        find_benchmark("denoising")
    with pytest.raises(ConfigError, match="did you mean 'rain100l-train'"):
        find_data_set("rain100l-trian")
