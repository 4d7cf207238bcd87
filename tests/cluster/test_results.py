"""Rows are written in parts, and say what is finished."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from moceir.cluster import results
from moceir.cluster.progress import Progress
from moceir.cluster.results import (
    FAILED,
    RESTORED,
    SET_ASIDE,
    UNREACHED,
    Finished,
    ResultWriter,
    make_row,
    read_results,
)
from moceir.cluster.stores import Entry, Store
from moceir.errors import DataError

ENTRIES = [Entry(f"{number}.png", 100 + number, f"v{number}") for number in range(6)]


def record(target: Store, statuses: dict[int, str]) -> None:
    """Record rows, with a result of three bytes for those that are restored."""
    with ResultWriter(target) as writer:
        for number, status in statuses.items():
            entry = ENTRIES[number]
            if status == RESTORED:
                target.write(entry.key, b"abc")
            writer.add(make_row(entry, entry.key, status, bytes=3 if status == RESTORED else None))


def left(target: Store, *, retry_failed: bool = False) -> list[int]:
    return [ENTRIES.index(entry) for entry in Finished(target, retry_failed=retry_failed).left(ENTRIES)]


def test_what_is_left(tmp_path: Path) -> None:
    target = Store(str(tmp_path))
    assert left(target) == [0, 1, 2, 3, 4, 5]
    record(target, {0: RESTORED, 1: FAILED, 2: SET_ASIDE, 3: UNREACHED, 4: RESTORED})
    assert left(target) == [3, 5]
    assert left(target, retry_failed=True) == [1, 2, 3, 5]
    (tmp_path / "4.png").unlink()
    assert left(target) == [3, 4, 5]
    (tmp_path / "0.png").write_bytes(b"half of it")
    assert left(target) == [0, 3, 4, 5]
    record(target, dict.fromkeys(range(5), RESTORED))
    assert left(target, retry_failed=True) == [5]
    changed = [Entry("0.png", 100, "a new version"), Entry("0.png", 101, "v0")]
    assert Finished(target, retry_failed=False).left(changed) == changed


def test_rows_come_back_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "ROWS", 4)
    target = Store(str(tmp_path))
    row = make_row(ENTRIES[0], "0.png", RESTORED, route=[[0, 1], [2]], notes=["16 bits became 8"], width=3)
    with ResultWriter(target) as writer:
        for _ in range(9):
            writer.add(row)
    parts = sorted((tmp_path / ".moceir" / "results").iterdir())
    assert [pq.read_metadata(part).num_rows for part in parts] == [4, 4, 1]
    read = [other for rows in read_results(target) for other in rows]
    assert len(read) == 9
    assert all(read[0][name] == value for name, value in row.items() if name != "finished")
    assert {read[0][name] for name in ("error", "height", "tile_px")} == {None}
    parts[0].write_bytes(b"torn")
    with pytest.raises(DataError, match=r"parquet is damaged; remove it"):
        list(read_results(target))


def test_parts_are_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(results.time, "monotonic", lambda: now[0])
    target = Store(str(tmp_path))
    with ResultWriter(target) as writer:
        writer.add(make_row(ENTRIES[0], "0.png", FAILED))
        assert target.names(results.RESULTS) == []
        now[0] = results.SECONDS
        writer.add(make_row(ENTRIES[1], "1.png", FAILED))
        assert len(target.names(results.RESULTS)) == 1


def test_the_time_left_follows_from_bytes() -> None:
    now = [100.0]
    progress = Progress(4, 1000, lambda: now[0])
    assert progress.seconds_left is None
    now[0] = 110.0
    progress.begin()
    now[0] = 120.0
    progress.workers = 2
    progress.add(make_row(Entry("a.png", 800, ""), "a.png", RESTORED))
    assert progress.seconds_left == pytest.approx(2.5)
    assert str(progress) == "1 of 4 pictures (25%), 0.1/s, 0.0 MB/s, 0:00:02 left, 2 workers"
    progress.add(make_row(Entry("b.png", 100, ""), "b.png", FAILED))
    progress.add(make_row(Entry("c.png", 100, ""), "c.png", UNREACHED))
    assert (progress.done, progress.left) == (3, 2)
    assert "1 failed, 1 unreached" in str(progress)
