"""The manifest names every picture once, similar sizes together and large ones first."""

from __future__ import annotations

import logging
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import run, write_picture

from moceir.cluster import manifest
from moceir.cluster.manifest import Description, read_description, read_manifest, size_class, write_manifest
from moceir.cluster.stores import Entry, Store
from moceir.errors import DataError, OutputError, StoreError


def fill(folder: Path, *names: str, size: int = 10) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return folder


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_size_class_holds_sizes_within_half_an_octave(one: int, other: int) -> None:
    if one <= other:
        assert size_class(one) <= size_class(other)
    if size_class(one) == size_class(other) and min(one, other) > 0:
        assert max(one, other) / min(one, other) <= 2**0.5 * (1 + 1e-9)


def test_every_picture_once_and_large_ones_first(tmp_path: Path) -> None:
    source = tmp_path / "in"
    sizes = {f"{number % 7}/{number:04}.png": (number * 7919) % 5000 for number in range(3 * manifest.ROWS)}
    for folder in range(7):
        (source / str(folder)).mkdir(parents=True)
    for name, size in sizes.items():
        (source / name).write_bytes(bytes(size))
    heard: list[int] = []
    target = Store(str(tmp_path / "out"))
    written = write_manifest(Store(str(source)), target, {"format": None}, heard.append)
    assert read_description(target) == written
    assert (written.pictures, written.size) == (len(sizes), sum(sizes.values()))
    assert heard[-1] == len(sizes)
    read = [entry for entries in read_manifest(target, written) for entry in entries]
    assert {entry.key: entry.size for entry in read} == sizes
    assert len(read) == len(sizes)
    classes = [size_class(entry.size) for entry in read]
    assert classes == sorted(classes, reverse=True)
    tables = [pq.read_table(path) for path in (tmp_path / "out" / ".moceir" / "manifest").iterdir()]
    assert sum(len(table) for table in tables) == len(sizes)
    assert {tuple(table.column_names) for table in tables} == {("key", "size", "etag")}


def test_the_same_files_count_as_for_moceir_restore(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("a.png", "b/c.JPG", ".hidden.png", "b/._c.jpg", "@eaDir/t.png", "x.gif", "notes.txt", "d.avif", "e.pjpeg")
    source = fill(tmp_path / "in", *names)
    caplog.set_level(logging.WARNING, "moceir")
    written = write_manifest(Store(str(source)), Store(str(tmp_path / "out")), {})
    keys = {entry.key for entries in read_manifest(Store(str(tmp_path / "out")), written) for entry in entries}
    assert keys == {"a.png", "b/c.JPG", "d.avif", "e.pjpeg"}
    assert "skipped 5 files" in caplog.text


@pytest.mark.parametrize(("format_", "name", "expected"), [
    (None, "a/b.tif", "a/b.tif"), (None, "b.avif", "b.png"), ("jpeg", "a/b.tif", "a/b.jpg"), ("jpeg", "b.jpe", "b.jpe")
])  # fmt: skip
def test_results_are_named_as_by_moceir_restore(tmp_path: Path, format_: str | None, name: str, expected: str) -> None:
    assert manifest.output_key(name, format_) == expected
    if not name.endswith(".avif"):
        write_picture(tmp_path / "in" / name)
        options = ("--format", format_) if format_ else ()
        assert run("restore", tmp_path / "in", "-o", tmp_path / "out", *options).exit_code == 0
        assert [p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")] == [expected]


@pytest.mark.parametrize(
    "names", [("a.avif", "a.png"), ("a.avif", "a.b.jpg", "a.jpg", "a.png"), ("d/a.avif", "d/a.png")]
)
def test_two_pictures_for_one_name_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    target = Store(str(tmp_path / "out"))
    with pytest.raises(OutputError, match=r"a\.avif and .*a\.png would both be written to .*a\.png"):
        write_manifest(Store(str(fill(tmp_path / "in", *names))), target, {})
    assert read_description(target) is None


def test_equal_names_in_two_folders_are_two_pictures(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "a.avif", "b/a.png", "a.b/a.png", "a.b.avif")
    assert write_manifest(Store(str(source)), Store(str(tmp_path / "out")), {}).pictures == 4


def test_an_interrupted_listing_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = Store(str(fill(tmp_path / "in", "a.png", "b.png"))), Store(str(tmp_path / "out"))
    write_manifest(source, target, {})

    def half(self: Store) -> object:
        yield Entry("a.png", 10, "")
        raise StoreError("gone")

    monkeypatch.setattr(Store, "entries", half)
    with pytest.raises(StoreError):
        write_manifest(source, target, {})
    assert read_description(target) is None


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in holds no pictures; expected names ending in \.jpg"):
        write_manifest(Store(str(fill(tmp_path / "in", "a.txt"))), Store(str(tmp_path / "out")), {})
    target = Store(str(tmp_path / "out"))
    written = write_manifest(Store(str(fill(tmp_path / "in", "a.png"))), target, {})
    (part,) = (tmp_path / "out/.moceir/manifest").iterdir()
    part.write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"\.parquet is missing or damaged; list the pictures again with --list-again"):
        list(read_manifest(target, written))
    (tmp_path / "out/.moceir/job.json").write_text("{")
    with pytest.raises(DataError, match=r"job\.json is damaged"):
        read_description(target)
    assert isinstance(written, Description)


def test_of_s3_the_version_is_the_etag(s3: object, tmp_path: Path) -> None:
    fs = fsspec.filesystem("s3")
    fs.mkdir("test-etags")
    fs.pipe_file("test-etags/a.png", b"one")
    (before,) = Store("s3://test-etags").entries()
    fs.pipe_file("test-etags/a.png", b"two")
    (after,) = Store("s3://test-etags").entries()
    assert before.size == after.size
    assert before.etag != after.etag
