"""One search for all commands: what it skips, and the line that says so."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import pytest
from layouts import build_layout
from support import run, write_photographs, write_picture

from moceir import image_io
from moceir.batch.planning import Naming, plan
from moceir.data.pairs import pair_folders
from moceir.data.photographs import picture_files
from moceir.errors import OutputError

JUNK = (
    "._a.png",
    ".hidden.png",
    ".git/c.png",
    "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg",
    "deep/.@__thumb/x.jpg",
    "#recycle/old.png",
    "__MACOSX/._a.png",
    "deep/Catalogue Previews.lrdata/p.jpg",
    "b.gif",
    "c.JXL",
    "d.bmp",
    "e.nef",
    "notes.txt",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "deep/b.png"):
        write_picture(tmp_path / "in" / name)
    for name in JUNK:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\x05\x16\x07 no picture")
    return tmp_path / "in"


def test_pictures_are_found_and_one_line_counts_the_others(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "moceir"):
        found = [place.as_posix() for _, place in image_io.find([folder])]
    assert found == ["a.png", "deep/b.png"]
    (line,) = caplog.messages
    assert line.startswith(f"skipped 12 files in {folder}: ")
    counts = "1 AppleDouble, 1 BMP, 1 GIF, 1 JXL, 1 NEF, 1 hidden, 5 in folders of thumbnails or copies, 1 other"
    assert line.endswith(counts)


def test_a_folder_of_pictures_only_needs_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_photographs(tmp_path, 2)
    assert len(image_io.find([tmp_path])) == 2
    assert caplog.messages == []


def test_training_finds_the_same_and_bmp(folder: Path) -> None:
    assert [path.name for path in picture_files(folder)] == ["a.png", "d.bmp", "b.png"]
    assert [path.name for path in picture_files(folder, deep=False)] == ["a.png", "d.bmp"]


def test_patterns_skip_the_same(folder: Path) -> None:
    jobs, problems = plan([folder / "**" / "*"], Naming(folder.parent / "out"))
    assert [job.source.name for job in jobs] == ["a.png", "b.png"]
    assert problems == []


def test_every_command_skips_and_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "d.bmp").unlink()
    monkeypatch.chdir(tmp_path)
    recipe = Path(__file__).parents[2] / "recipes" / "tiny.yaml"
    small = ["model=nano", "epochs=null", "steps=1", "epoch_steps=1", "stages.0.patch_px=16", "stages.0.batch=2"]
    small += ["validation.patch_px=16", "validation.most=1"]
    commands = {
        "restore": ["restore", "in", "-o", "out", "--device", "cpu"],
        "inspect": ["inspect", "in", "--device", "cpu"],
        "data pack": ["data", "pack", "in", "-o", "in.pack"],
        "evaluate": ["evaluate", "--pairs", "in", "in", "--device", "cpu"],
        "train": ["train", str(recipe), "--data", "in", "-o", "run", "--device", "cpu"],
    }
    commands["train"] += [word for text in small for word in ("--set", text)]
    for name, command in commands.items():
        result = run(*command)
        assert result.exit_code == 0, (name, result.output)
        assert len([line for line in result.stderr.splitlines() if line.startswith("skipped ")]) == 1, name


def test_a_side_folder_that_is_given_itself_is_searched(folder: Path) -> None:
    found = image_io.find([folder / "@eaDir"])
    assert [place.as_posix() for _, place in found] == ["a.png/SYNOPHOTO_THUMB_M.jpg"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_match_in_any_unicode_form(tmp_path: Path, form: str) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    write_picture(tmp_path / "degraded" / unicodedata.normalize(form, "Müller_é.png"))
    write_picture(tmp_path / "clean" / unicodedata.normalize(other, "Müller_é.jpg"))
    ((degraded, clean),) = pair_folders(tmp_path / "degraded", tmp_path / "clean")
    assert (degraded.parent.name, clean.parent.name) == ("degraded", "clean")
    result = run(
        *("restore", tmp_path / "degraded", "-o", tmp_path / "out", "--device", "cpu"),
        *("--reference", tmp_path / "clean"),
    )
    assert "PSNR" in result.stdout


@pytest.mark.parametrize("suffix", [".jpe", ".jfif", ".JFIF", ".jif", ".pjpeg"])
def test_all_names_of_jpeg_count(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / "in" / f"a{suffix}")
    assert (tmp_path / "in" / f"a{suffix}").read_bytes()[:3] == b"\xff\xd8\xff"
    ((job,), _) = plan([tmp_path / "in"], Naming(tmp_path / "out"))
    assert job.target.name == f"a{suffix}"
    ((job,), _) = plan([tmp_path / "in" / f"a{suffix}"], Naming(tmp_path / f"x{suffix}"))
    assert job.target == tmp_path / f"x{suffix}"


@pytest.mark.parametrize("suffix", [".heic", ".gif", ".jxl", ".txt", ".docx", ".avif", ".jpgg"])
def test_one_file_under_a_name_that_is_not_written(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / "a.png")
    with pytest.raises(OutputError, match=rf"no \{suffix} files are written; give one of \.jpg"):
        plan([tmp_path / "a.png"], Naming(tmp_path / f"out{suffix}"))


def test_names_of_folders_may_have_dots(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a.png")
    for name in ("results.v2", "2024.05.06", "out"):
        ((job,), _) = plan([tmp_path / "in"], Naming(tmp_path / name))
        assert job.target == tmp_path / name / "a.png"
    ((job,), _) = plan([tmp_path / "in" / "a.png"], Naming(tmp_path / "2024.05.06"))
    assert job.target == tmp_path / "2024.05.06" / "a.png"
    with pytest.raises(OutputError, match=r"no \.heic files are written"):
        plan([tmp_path / "in"], Naming(tmp_path / "out.heic"))


def test_published_sets_with_what_macos_left_in_them(tmp_path: Path) -> None:
    build_layout(tmp_path, "rain100l")
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    for folder in folders:
        (folder / "._001.png").write_bytes(b"\0\x05\x16\x07")
    result = run("evaluate", "--benchmark", "rain100l", "--data", tmp_path, "--device", "cpu")
    assert result.exit_code == 0, result.output
