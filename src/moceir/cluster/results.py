"""One row for each picture, in Parquet files, and what they say about the work that is left."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from moceir.cluster.manifest import FOLDER
from moceir.cluster.stores import Entry, Store
from moceir.errors import DataError

Row = dict[str, Any]
"""A line of the results: the columns of `SCHEMA`."""

RESTORED = "restored"
FAILED = "failed"
"""The picture cannot be restored; it stays so unless it is tried again on request."""
SET_ASIDE = "set aside"
"""The picture killed its workers; it stays so unless it is tried again on request."""
UNREACHED = "unreached"
"""A store failed; the same command tries again."""

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("output", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("megapixels", pa.float64()),
        ("bytes", pa.int64()),
        ("seconds", pa.float64()),
        ("network_seconds", pa.float64()),
        ("route", pa.list_(pa.list_(pa.int16()))),
        ("gmacs", pa.float64()),
        ("tile_px", pa.int32()),
        ("notes", pa.list_(pa.string())),
        ("worker", pa.string()),
        ("finished", pa.timestamp("ms", tz="UTC")),
    ]
)
RESULTS = f"{FOLDER}/results"
ROWS = 5_000
SECONDS = 20.0
"""A file is written when it has this many rows, or after this time: what a killed job has to do again."""


def make_row(entry: Entry, output: str, status: str, **more: Any) -> Row:
    """Return the row of a picture.

    Args:
        entry: The picture.
        output: Key of its result.
        status: One of the statuses above.
        **more: Other columns of `SCHEMA`.
    """
    listed = {"key": entry.key, "size": entry.size, "etag": entry.etag}
    return listed | {"output": output, "status": status, "finished": datetime.now(UTC)} | more


class ResultWriter:
    """Writes rows to files of some thousand, the names of which sort by time.

    Args:
        target: The store that the pictures are written to.
    """

    def __init__(self, target: Store) -> None:
        self._target = target
        self._run = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        self._number = 0
        self._rows: list[Row] = []
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()

    def add(self, row: Row) -> None:
        """Add a row.

        Raises:
            MoceirError: If a file cannot be written.
        """
        self._rows.append(row)
        if len(self._rows) >= ROWS or time.monotonic() - self._written >= SECONDS:
            self._flush()

    def _flush(self) -> None:
        self._written = time.monotonic()
        if not self._rows:
            return
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA), file)
        self._target.write(f"{RESULTS}/{self._run}-{self._number:06}.parquet", file.getvalue())
        self._number += 1
        self._rows = []


def read_results(target: Store, columns: Sequence[str] | None = None) -> Iterator[list[Row]]:
    """Read the rows of all runs, the earliest first. The last row of a picture counts.

    Args:
        target: The store that the pictures were written to.
        columns: Only these columns.

    Raises:
        DataError: If a file is damaged.
        StoreError: If the store refuses access or is out of reach.
    """
    for key in target.names(RESULTS):
        try:
            table = pq.read_table(io.BytesIO(target.read(key)), columns=columns)
        except (FileNotFoundError, pa.ArrowException) as error:
            msg = f"{target}/{key} is damaged; remove it, and its pictures are restored again"
            raise DataError(msg) from error
        yield table.to_pylist()


class Finished:
    """Pictures that need no more work: 16 bytes of memory for each.

    A picture is finished if a row says that it is restored and its result is in the target with the size that the row
    states, or if a row says that it failed. It is known by its key, size and version, so that one that has changed
    since is not finished.

    Args:
        target: The store that the pictures were written to.
        retry_failed: Whether to try those again that failed or were set aside.

    Raises:
        DataError: If a file of results is damaged.
        StoreError: If the store refuses access or is out of reach.
    """

    def __init__(self, target: Store, *, retry_failed: bool) -> None:
        self._done = _Digests()
        present: _Digests | None = None
        for rows in read_results(target, ["key", "size", "etag", "output", "status", "bytes"]):
            if present is None:
                present = _Digests((entry.key, entry.size) for entry in target.entries())
            ends = (FAILED, SET_ASIDE) if not retry_failed else ()
            there = present.have((row["output"], row["bytes"]) for row in rows)
            for row, is_there in zip(rows, there, strict=True):
                # Rows of later runs cannot take this back: a finished picture is in none of them.
                if row["status"] in ends or (row["status"] == RESTORED and is_there):
                    self._done.add(row["key"], row["size"], row["etag"])

    def __len__(self) -> int:
        return len(self._done)

    def left(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries that are not finished."""
        finished = self._done.have((entry.key, entry.size, entry.etag) for entry in entries)
        return [entry for entry, done in zip(entries, finished, strict=True) if not done]


class _Digests:
    """A set of tuples in 16 bytes each, which no two of 10^9 share by chance more often than once in 10^20 jobs."""

    def __init__(self, items: Iterable[tuple[object, ...]] = ()) -> None:
        self._collected = bytearray()
        self._sorted: NDArray[np.bytes_] | None = None
        for item in items:
            self.add(*item)

    def __len__(self) -> int:
        return len(self._in_order())

    def add(self, *item: object) -> None:
        self._collected += _digest(item)
        self._sorted = None

    def have(self, items: Iterable[tuple[object, ...]]) -> list[bool]:
        ours = self._in_order()
        theirs = np.frombuffer(b"".join(map(_digest, items)), "S16")
        if not len(ours):
            return [False] * len(theirs)
        places = np.searchsorted(ours, theirs).clip(max=len(ours) - 1)
        return (ours[places] == theirs).tolist()

    def _in_order(self) -> NDArray[np.bytes_]:
        if self._sorted is None:
            self._sorted = np.unique(np.frombuffer(bytes(self._collected), "S16"))
        return self._sorted


def _digest(item: tuple[object, ...]) -> bytes:
    return hashlib.blake2b(repr(item).encode("utf-8", "surrogatepass"), digest_size=16).digest()
