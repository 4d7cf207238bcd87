"""The manifest: every picture of a source, listed once, in Parquet files by size.

A file holds the pictures of one size class, half an octave of bytes, in the order of the listing. Read from the largest
class to the smallest, the manifest is the order of work: similar pictures together, so that buffers are reused and
batches take equal time, and large ones first, so that no worker is left with one at the end. Nothing has to be sorted,
and only some rows of each class are in memory at a time.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from moceir.batch.planning import Naming
from moceir.cluster.stores import Entry, Store
from moceir.config import StrictModel
from moceir.errors import DataError, OutputError
from moceir.image_io.formats import SUFFIXES
from moceir.image_io.searching import Search, kind_to_skip

FOLDER = ".moceir"
"""Folder of the target for what belongs to the job; as a hidden folder it is never taken for pictures."""
DESCRIPTION = f"{FOLDER}/job.json"
SCHEMA = pa.schema([("key", pa.string()), ("size", pa.int64()), ("etag", pa.string())])
ROWS = 2_000
"""Rows of a row group, and of a size class in memory."""
NOTICE = 10_000
"""Pictures between two calls that tell how far the listing is."""


class Description(StrictModel):
    """Content of the file that makes a manifest complete, and says what the job is."""

    source: str
    """The store with the pictures."""
    options: dict[str, Any]
    """What is asked of every picture."""
    counts: dict[int, int]
    """Pictures by size class."""
    size: int
    """Bytes of all pictures."""

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return sum(self.counts.values())


def size_class(size: int) -> int:
    """Return the half octave that a number of bytes is in."""
    return round(2 * math.log2(max(size, 1)))


def output_key(key: str, file_format: str | None) -> str:
    """Return the key of a result, named as ``moceir restore`` names files in folders.

    Args:
        key: Key of the picture.
        file_format: Format of all results; None keeps the picture's.
    """
    place = Path(key)
    return Naming(Path(), file_format).target(place, place).as_posix()


def pictures_of(source: Store, file_format: str | None) -> Iterator[Entry]:
    """List the pictures of a store, without hidden files, thumbnails and files of other kinds.

    A line in the log ``moceir`` says how many files of which kind were skipped.

    Raises:
        DataError: If there is none.
        OutputError: If two of them would be written to one key.
        StoreError: If the store does not exist, may not be read or is out of reach.
    """
    skipped = Search()
    # Only names with a common stem can collide. These come one after another, since names come in order.
    stem, by_output, count = "", dict[str, str](), 0
    for entry in source.entries():
        if kind := kind_to_skip(PurePosixPath(entry.key)):
            skipped.skipped[kind] += 1
            continue
        if not stem or not entry.key.startswith(stem):
            stem, by_output = str(PurePosixPath(entry.key).with_suffix("")) + ".", {}
        output = output_key(entry.key, file_format)
        other = by_output.setdefault(output, entry.key)
        if other != entry.key:
            raise OutputError(f"{other} and {entry.key} would both be written to {output}; rename one of them")
        count += 1
        yield entry
    skipped.report(source)
    if not count:
        raise DataError(f"{source} holds no pictures; expected names ending in {', '.join(SUFFIXES)}")


def write_manifest(
    source: Store,
    target: Store,
    options: Mapping[str, Any],
    on_listed: Callable[[int], object] = lambda _: None,
) -> Description:
    """List a source once. The description is written last: without it, the manifest does not count.

    Args:
        source: The pictures.
        target: Where results go, and the manifest.
        options: What is asked of every picture.
        on_listed: Called now and then with the number of pictures so far.

    Raises:
        DataError: If there is no picture.
        OutputError: If two pictures would be written to one key, or the manifest cannot be written.
        StoreError: If a store does not exist, refuses access or is out of reach.
    """
    target.remove(DESCRIPTION)
    size = 0
    with tempfile.TemporaryDirectory() as here:
        counts: Counter[int] = Counter()
        with _Files(Path(here)) as files:
            for entry in pictures_of(source, options.get("format")):
                files.add(entry)
                counts[size_class(entry.size)] += 1
                size += entry.size
                if counts.total() % NOTICE == 0:
                    on_listed(counts.total())
        for number in counts:
            target.upload(_file(Path(here), number), _key(number))
    on_listed(counts.total())
    description = Description(source=source.absolute, options=dict(options), counts=dict(counts), size=size)
    target.write(DESCRIPTION, (json.dumps(description.model_dump(mode="json"), indent=2) + "\n").encode())
    return description


def read_description(target: Store) -> Description | None:
    """Return the description of the job in a target; None if there is no complete manifest.

    Raises:
        DataError: If it is damaged.
        StoreError: If the target refuses access or is out of reach.
    """
    try:
        return Description.model_validate_json(target.read(DESCRIPTION))
    except FileNotFoundError:
        return None
    except ValueError as error:
        msg = f"{target}/{DESCRIPTION} is damaged; remove it, and the pictures are listed again"
        raise DataError(msg) from error


def read_manifest(target: Store, description: Description) -> Iterator[list[Entry]]:
    """Read the manifest in the order of work, some thousand rows at a time.

    Raises:
        DataError: If a file is missing or damaged.
        StoreError: If the target refuses access or is out of reach.
    """
    with tempfile.TemporaryDirectory() as here:
        for number in sorted(description.counts, reverse=True):
            path = _file(Path(here), number)
            try:
                target.download(_key(number), path)
                yield from _entries(path)
            except (FileNotFoundError, pa.ArrowException) as error:
                msg = f"{target}/{_key(number)} is missing or damaged; list the pictures again with --list-again"
                raise DataError(msg) from error
            path.unlink()


def _entries(path: Path) -> Iterator[list[Entry]]:
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(ROWS):
            columns: Iterable[Any] = rows.to_pydict().values()
            yield [Entry(*row) for row in zip(*columns, strict=True)]


class _Files:
    """Open Parquet files, one for each size class."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, pq.ParquetWriter] = {}
        self._rows: dict[int, list[Entry]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *error: Any) -> None:
        for number, rows in self._rows.items():
            self._flush(number, rows)
        self._stack.__exit__(*error)

    def add(self, entry: Entry) -> None:
        number = size_class(entry.size)
        rows = self._rows.setdefault(number, [])
        rows.append(entry)
        if len(rows) >= ROWS:
            self._flush(number, rows)

    def _flush(self, number: int, rows: list[Entry]) -> None:
        if not rows:
            return
        if number not in self._writers:
            writer = pq.ParquetWriter(_file(self._folder, number), SCHEMA)
            self._writers[number] = self._stack.enter_context(writer)
        columns = [[e.key for e in rows], [e.size for e in rows], [e.etag for e in rows]]
        self._writers[number].write_table(pa.table(columns, schema=SCHEMA))
        rows.clear()


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number}.parquet"


def _key(number: int) -> str:
    return f"{FOLDER}/manifest/{number:02}.parquet"
