"""Which file becomes which: names, patterns, what is left out, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.batch.planning import Naming, check_target, plan
from moceir.errors import OutputError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with pictures in a folder and its sub-folders."""
    for name in ("in/a.png", "in/b.JPG", "in/deep/c.tiff", "in/deep/d.avif", "in/notes.txt", "other/e.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(*inputs: str, output: str | None = "out", **naming: str) -> dict[str, str]:
    jobs, problems = plan(map(Path, inputs), Naming(None if output is None else Path(output), **naming))  # type: ignore[arg-type]
    assert problems == []
    return {job.source.as_posix(): job.target.as_posix() for job in jobs}


def test_folders_are_mirrored_and_files_go_flat(tree: Path) -> None:
    assert planned("in", "other/e.webp") == {
        "in/a.png": "out/a.png",
        "in/b.JPG": "out/b.JPG",
        "in/deep/c.tiff": "out/deep/c.tiff",
        "in/deep/d.avif": "out/deep/d.png",
        "other/e.webp": "out/e.webp",
    }


def test_formats_change_suffixes_and_keep_spellings_of_their_own(tree: Path) -> None:
    assert planned("in", format="tiff") == {
        "in/a.png": "out/a.tif",
        "in/b.JPG": "out/b.tif",
        "in/deep/c.tiff": "out/deep/c.tiff",
        "in/deep/d.avif": "out/deep/d.tif",
    }
    assert planned("in/b.JPG", format="jpeg") == {"in/b.JPG": "out/b.JPG"}


def test_additions_beside_the_inputs_and_not_to_earlier_results(tree: Path) -> None:
    first = planned("in", output=None, addition="_new")
    assert first["in/deep/c.tiff"] == "in/deep/c_new.tiff"
    for target in first.values():
        Path(target).touch()
    assert planned("in", output=None, addition="_new") == first


def test_results_inside_the_input_folder_are_no_inputs(tree: Path) -> None:
    first = planned("in", output="in/done")
    for target in first.values():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    assert planned("in", output="in/done") == first


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*", {"in/a.png": "out/a.png", "in/b.JPG": "out/b.JPG"}),
        ("in/**/*.tiff", {"in/deep/c.tiff": "out/deep/c.tiff"}),
        ("*/[ae].*", {"in/a.png": "out/in/a.png", "other/e.webp": "out/other/e.webp"}),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: dict[str, str]) -> None:
    Path("in/.hidden.png").touch()
    assert planned(pattern) == expected


def test_a_file_that_looks_like_a_pattern_is_a_file(tree: Path) -> None:
    Path("in/x[1].png").touch()
    Path("in/x1.png").touch()
    assert planned("in/x[1].png") == {"in/x[1].png": "out/x[1].png"}


def test_a_pattern_without_matches_is_a_problem_and_the_others_go_on(tree: Path) -> None:
    jobs, problems = plan([Path("in/*.bmp"), Path("in/a.png")], Naming(Path("out")))
    assert [job.source.name for job in jobs] == ["a.png"]
    (problem,) = problems
    assert "matches no picture" in problem


def test_hidden_files_and_temporary_ones_are_left_out(tree: Path) -> None:
    from moceir.files import part_of

    Path("in/._a.png").touch()
    Path("in/.trash").mkdir()
    Path("in/.trash/z.png").touch()
    part_of(Path("in/deep/c.tiff")).touch()
    assert sorted(planned("in")) == ["in/a.png", "in/b.JPG", "in/deep/c.tiff", "in/deep/d.avif"]


def test_links_in_circles_end(tree: Path) -> None:
    Path("in/deep/round").symlink_to(tree / "in", target_is_directory=True)
    Path("in/self.png").symlink_to("self.png")
    Path("in/gone.png").symlink_to("nowhere.png")
    Path("in/other.png").symlink_to(tree / "in" / "a.png")
    found = planned("in")
    assert "in/other.png" in found
    assert {"in/self.png", "in/gone.png"} <= set(found)  # to be reported one by one
    assert len(found) == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read_are_a_problem(tree: Path) -> None:
    Path("in/deep").chmod(0)
    try:
        jobs, problems = plan([Path("in")], Naming(Path("out")))
    finally:
        Path("in/deep").chmod(0o755)
    assert len(jobs) == 2
    assert "Permission denied" in problems[0]


def test_unreadable_folders_are_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    jobs, problems = plan([Path("in")], Naming(Path("out")))
    assert [job.source.name for job in jobs] == ["a.png", "b.JPG"]
    assert problems == ["in: in/deep cannot be searched: Permission denied; leave it out or allow it"]


def test_the_same_file_twice_is_done_once(tree: Path) -> None:
    assert planned("in/a.png", "in/a.png") == {"in/a.png": "out/a.png"}


@pytest.mark.parametrize(
    ("inputs", "naming", "telling"),
    [
        (["in", "in/deep"], {"format": "png"}, ""),
        (["in/a.png", "x/a.png"], {}, "would both be written to out/a.png"),
        (["in/a.png", "in/a.webp"], {"format": "jpeg"}, "would both be written to out/a.jpg"),
    ],
)
def test_two_inputs_for_one_output(tree: Path, inputs: list[str], naming: dict[str, str], telling: str) -> None:
    if not telling:  # in/deep/c.tiff goes to out/deep/c.png and to out/c.png: two different outputs
        assert len(planned(*inputs, **naming)) == 4
        return
    with pytest.raises(OutputError, match=telling):
        planned(*inputs, **naming)


@pytest.mark.parametrize("output", ["in", "./in/../in"])
def test_inputs_are_never_outputs(tree: Path, output: str) -> None:
    with pytest.raises(OutputError, match="originals are never replaced"):
        planned("in", output=output)
    Path("in/a_x.png").touch()
    with pytest.raises(OutputError, match=r"in/a_x\.png is the input itself"):
        planned("in/a.png", "in/a_x.png", output=None, addition="_x")


def test_single_files(tree: Path) -> None:
    assert planned("in/a.png", output="new/b.webp") == {"in/a.png": "new/b.webp"}
    with pytest.raises(OutputError, match="give a folder"):
        planned("in", output="new/b.webp")
    with pytest.raises(OutputError, match=r"expected \.jpg or \.jpeg"):
        planned("in/a.png", output="new/b.webp", format="jpeg")
    with pytest.raises(OutputError, match="originals"):
        planned("in/a.png", output="in/a.png")


names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(stem=names, suffix=st.sampled_from([".png", ".JPG", ".tiff"]))
def test_any_name_keeps_its_stem(stem: str, suffix: str) -> None:
    place = Path("sub") / (stem + suffix)
    target = Naming(Path("out"), None, "_x").target(Path("in") / place, place)
    assert target == Path("out/sub") / f"{place.stem}_x{place.suffix}"


def test_targets_are_checked_before_the_work(tree: Path) -> None:
    Path("there.png").touch()
    check_target(Path("new/folder/a.png"), exists_is_fine=False)
    check_target(Path("there.png"), exists_is_fine=True)
    for target, telling in (
        ("there.png", "--overwrite or --skip-existing"),
        ("in", "a folder has this name"),
        ("there.png/a.png", "is a file, not a folder|Not a directory"),
        ("x" * 300 + ".png", "File name too long"),
    ):
        with pytest.raises(OutputError, match=telling):
            check_target(Path(target), exists_is_fine=False)
    assert not Path("new").exists()


def test_read_only_places_are_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputError, match="may not be written to"):
        check_target(Path("in/new/a.png"), exists_is_fine=False)
