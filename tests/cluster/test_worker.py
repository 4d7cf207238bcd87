"""A worker writes what ``moceir restore`` writes, and reports every picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import odd_files
import pytest
from support import run, write_picture

from moceir.cluster import stores
from moceir.cluster.results import FAILED, RESTORED, UNREACHED
from moceir.cluster.stores import Entry, Store
from moceir.cluster.worker import Worker
from moceir.errors import StoreError
from moceir.restoration import RestoreOptions


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Pictures of which some are not what their names say, and some are broken."""
    folder = tmp_path / "in"
    for number, name in enumerate(("a.png", "sub/b.JPG", "sub/c.tif", "d.webp")):
        write_picture(folder / name, seed=number)
    shutil.copy(folder / "a.png", folder / "png named.jpg")
    (folder / "e.avif").write_bytes(odd_files.avif())
    (folder / "torn.jpg").write_bytes((folder / "sub/b.JPG").read_bytes()[:200])
    (folder / "empty.png").touch()
    return folder


def worker(source: Path, target: Path, model: Path, **options: object) -> Worker:
    made = Worker(str(source), str(target), RestoreOptions(model=str(model), threads=1, **options))
    made.prepare()
    return made


@pytest.mark.parametrize("options", [{}, {"format": "webp", "quality": 80, "metadata": "strip"}])
def test_the_same_bytes_as_moceir_restore(
    source: Path, tmp_path: Path, model_folder: Path, options: dict[str, object]
) -> None:
    words = ("--format", "webp", "--quality", "80", "--strip-metadata") if options else ()
    assert run("restore", source, "-o", tmp_path / "files", "-m", model_folder, "--threads", "1", *words).exit_code == 1
    entries = list(Store(str(source)).entries())
    rows = worker(source, tmp_path / "out", model_folder, **options).restore(entries)
    assert [row["key"] for row in rows] == [entry.key for entry in entries]
    expected = {
        path.relative_to(tmp_path / "files").as_posix(): path.read_bytes() for path in (tmp_path / "files").rglob("*.*")
    }
    good = {row["output"]: row for row in rows if row["status"] == RESTORED}
    assert len(expected) == 6
    assert {key: (tmp_path / "out" / key).read_bytes() for key in good} == expected
    assert all(row["bytes"] == len(expected[key]) for key, row in good.items())
    errors = {row["key"]: row["error"] for row in rows if row["status"] == FAILED}
    assert errors.keys() == {"torn.jpg", "empty.png"}
    assert errors["empty.png"].startswith("empty.png is empty; expected a whole JPEG")
    assert good[min(good)]["width"] == 40
    assert all(row["megapixels"] > 0 and row["network_seconds"] > 0 and row["route"] for row in good.values())


def test_each_kind_of_failure_is_a_row(
    source: Path, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = worker(source, tmp_path / "out", model_folder, max_bytes=100_000)
    (gone, large) = made.restore([Entry("gone.png", 10, ""), Entry("a.png", 200_000, "")])
    assert (gone["status"], large["status"]) == (FAILED, FAILED)
    assert "gone.png is no longer in" in gone["error"]
    assert "a.png is larger than the limit of 0.1 MB per file" in large["error"]
    good = Entry("a.png", 10, "")

    def refuse(self: Store, key: str, data: bytes) -> None:
        raise StoreError(f"no permission to write {key}")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", refuse)
        (row,) = made.restore([good])
        assert (row["status"], row["error"]) == (UNREACHED, "no permission to write a.png")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        patch.setattr(stores, "ATTEMPTS", 1)
        (row,) = made.restore([good])
        assert row["status"] == UNREACHED
        assert "No space left on device" in row["error"]
    with monkeypatch.context() as patch:
        patch.setattr("moceir.restoration.restorer.open_picture", lambda *_: 1 / 0)
        (row,) = made.restore([good])
        assert row["status"] == FAILED
        assert "a.png fails in a way that is not foreseen" in row["error"]
        assert "ZeroDivisionError" in row["error"]
    (row,) = made.restore([good])
    assert row["status"] == RESTORED


def test_workers_of_one_machine_share_its_memory(source: Path, tmp_path: Path, model_folder: Path) -> None:
    """Each takes its share of what is free, unless told otherwise."""
    own = worker(source, tmp_path / "out", model_folder, memory_limit="123MB")
    assert own._restorer.options.memory_limit == 123_000_000
    made = worker(source, tmp_path / "out", model_folder)
    assert made._restorer.options.memory_limit is not None
