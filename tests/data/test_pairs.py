"""Pairs are matched by name, and whatever does not match is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moceir.data.pairs import match_files, pair_files, pair_folders
from moceir.errors import DataError

STEMS = st.text("abc0123.- ", min_size=1, max_size=6)
SUFFIXES = st.sampled_from([".png", ".PNG", ".jpg", ".Jpeg", ".bmp"])


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("degraded", "clean"),
    [
        (["a.png", "b.jpg"], ["b.png", "a.png"]),
        (["A.PNG", "b.JPeG"], ["A.bmp", "b.BMP"]),
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


@given(st.dictionaries(STEMS, st.tuples(SUFFIXES, SUFFIXES), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_neither_order_nor_suffix_matters(names: dict[str, tuple[str, str]], shuffler) -> None:  # type: ignore[no-untyped-def]
    degraded = [Path("d", stem + suffixes[0]) for stem, suffixes in names.items()]
    clean = [Path("c", stem + suffixes[1]) for stem, suffixes in names.items()]
    shuffler.shuffle(clean)
    pairs = pair_files(degraded, clean)
    assert [d for d, _ in pairs] == degraded
    assert all(c == Path("c", d.stem + names[d.stem][1]) for d, c in pairs)


@given(st.dictionaries(st.text("ab0.", min_size=1, max_size=4), st.sets(STEMS, min_size=1, max_size=4), min_size=1))
def test_many_versions_share_the_picture_that_begins_their_name(versions: dict[str, set[str]]) -> None:
    degraded = {Path("d", f"{stem}_{version}.jpg"): stem for stem, tails in versions.items() for version in tails}
    pairs = pair_files(list(degraded), [Path("c", f"{stem}.png") for stem in versions], ["text before _"])
    assert {d: c.name for d, c in pairs} == {d: f"{stem}.png" for d, stem in degraded.items()}


@given(st.sets(STEMS, min_size=1), st.sets(STEMS))
def test_every_picture_is_paired_or_named(degraded: set[str], clean: set[str]) -> None:
    files = [Path("d", f"{stem}.png") for stem in sorted(degraded)]
    pairs, problems = match_files(files, [Path("c", f"{stem}.png") for stem in clean])
    assert {d.stem for d, _ in pairs} == degraded & clean
    lonely = [file for file in files if file.stem not in clean]
    assert len(problems) == len(lonely)
    assert all(line.startswith(f"{file} has no partner") for file, line in zip(lonely, problems, strict=True))


def test_only_the_rules_of_a_set_count() -> None:
    pairs, problems = match_files([Path("d/1_2.png")], [Path("c/1.png")], ["same name"])
    assert not pairs
    assert "expected a picture named 1_2" in problems[0]


def test_what_has_no_partner_or_several_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lonely\.png has no partner in .*named lonely \(and 1 more\)"):
        pair_folders(fill(tmp_path / "d", "lonely.png", "sad.png"), fill(tmp_path / "c", "other.png"))
    with pytest.raises(DataError, match="several partners"):
        pair_folders(fill(tmp_path / "d2", "a.png"), fill(tmp_path / "c2", "a.png", "a.jpg"))
    with pytest.raises(DataError, match="holds no pictures"):
        pair_folders(fill(tmp_path / "d3", "notes.txt"), tmp_path / "c")
    with pytest.raises(DataError, match="not a folder"):
        pair_folders(tmp_path / "nowhere", tmp_path / "c")
