"""Folders and object stores: list, read and write by key, patiently.

A store is a local folder or any URL that fsspec knows, for example ``s3://bucket/folder``. Calls that fail for reasons
that pass are repeated. Objects appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from moceir.errors import ConfigError, MissingExtraError, OutputError, StoreError
from moceir.files import PART_PREFIX, whole_file

Answer = TypeVar("Answer")

ATTEMPTS = 7
"""How often a call is tried before its store counts as out of reach."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 10.0
"""Seconds before the second attempt, doubled for each further one, and their limit. With 7 attempts, a store may be
away for half a minute at most."""

WHOLE_PUTS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "memory"})
"""Kinds of stores in which an object appears when its last byte has arrived."""

_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_FINAL_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL, errno.EACCES})
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store.

    Attributes:
        key: Its path below the store, with slashes.
        size: Its length in bytes.
        etag: Its version, as far as the store has one: another one means other content.
    """

    key: str
    size: int
    etag: str

    def __str__(self) -> str:
        return self.key


class Store:
    """A folder on this machine, or below a URL that fsspec knows.

    Credentials and addresses of object stores come from the environment, as their libraries read them.

    Args:
        url: The folder or URL.

    Raises:
        ConfigError: If the kind of URL is unknown.
        MissingExtraError: If the library for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or "/"
        try:
            # Listings change while a job runs, so fsspec must not remember them. With more than one connection for an
            # object, s3fs asks for its size first: twice the requests.
            options = {"max_concurrency": 1} if url.startswith(("s3://", "s3a://")) else {}
            self._fs, root = fsspec.url_to_fs(url, use_listings_cache=False, **options)
        except ImportError as error:
            raise MissingExtraError(f"{url} needs a library that is not installed: {error}") from error
        except ValueError as error:
            kinds = "give a folder or a URL such as s3://BUCKET/FOLDER"
            raise ConfigError(f"{url} is not a store that fsspec knows ({error}); {kinds}") from error
        self.local = isinstance(self._fs, LocalFileSystem)
        self._root = str(Path(root).resolve()) if self.local else root.rstrip("/")
        kinds = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else tuple(self._fs.protocol)
        self._puts_whole = not WHOLE_PUTS.isdisjoint(kinds)

    def __str__(self) -> str:
        return self.url

    @property
    def absolute(self) -> str:
        """The URL, or the folder without links and relative to nothing."""
        return self._root if self.local else self.url

    def holds(self, other: Store) -> bool:
        """Return whether another store is this one or lies inside it."""
        return type(self._fs) is type(other._fs) and f"{other._root}/".startswith(f"{self._root}/")

    def check(self) -> None:
        """Check that the store is there and may be read, with a single call.

        Raises:
            StoreError: If it does not exist, may not be read or is out of reach.
        """
        if hasattr(self._fs, "call_s3"):
            asked = self._s3_query() | {"MaxKeys": 1}
            self._patiently(lambda _: self._fs.call_s3("list_objects_v2", **asked), self._root, "list")
        else:
            self._patiently(self._fs.info, self._root, "read")

    def _s3_query(self) -> dict[str, Any]:
        bucket, _, prefix = self._root.partition("/")
        return {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}

    def entries(self) -> Iterator[Entry]:
        """List everything, folder by folder, the names of a folder in order.

        Only one folder is in memory at a time; of S3, where folders may hold millions, only one page.

        Raises:
            StoreError: If it does not exist, may not be read or is out of reach.
        """
        if hasattr(self._fs, "call_s3"):
            yield from self._s3_entries()
            return
        waiting = [self._root]
        while waiting:
            folder = waiting.pop()
            found: list[dict[str, Any]] = self._patiently(lambda at: self._fs.ls(at, detail=True), folder, "list")
            found.sort(key=lambda info: str(info["name"]))
            yield from (self._entry(info) for info in found if info["type"] == "file")
            # Links to folders could lead in circles.
            deeper = [info["name"] for info in found if info["type"] == "directory" and not info.get("islink")]
            waiting += reversed(deeper)

    def _s3_entries(self) -> Iterator[Entry]:
        """List page by page, in the order of the keys."""
        asked = self._s3_query()
        while True:
            page = self._patiently(lambda _: self._fs.call_s3("list_objects_v2", **asked), self._root, "list")
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):  # a folder that a console made
                    yield Entry(item["Key"][len(asked["Prefix"]) :], int(item["Size"]), item["ETag"].strip('"'))
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _entry(self, info: dict[str, Any]) -> Entry:
        version = next((info[name] for name in ("etag", "ETag", "md5Hash", "mtime") if info.get(name)), "")
        return Entry(str(info["name"])[len(self._root) + 1 :], int(info["size"] or 0), str(version))

    def names(self, folder: str) -> list[str]:
        """List the keys directly in a folder, in order; none if there is no such folder."""

        def ls(path: str) -> list[str]:
            try:
                return [str(name) for name in self._fs.ls(path, detail=False)]
            except FileNotFoundError:
                return []

        found = self._patiently(ls, self._place(folder), "list")
        return sorted(name.rstrip("/")[len(self._root) + 1 :] for name in found)

    def read(self, key: str) -> bytes:
        """Return the content of an object.

        Raises:
            FileNotFoundError: If it does not exist.
            StoreError: If it may not be read or is out of reach.
        """
        return self._patiently(self._fs.cat_file, self._place(key), "read", missing=False)

    def write(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all; an existing one is replaced.

        Raises:
            OutputError: If it cannot be written to a local folder.
            StoreError: If it may not be written or the store is out of reach.
        """
        place = self._place(key)
        how = _write_local if self.local else self._fs.pipe_file if self._puts_whole else self._write_and_move
        self._patiently(lambda path: how(path, data), place, "write")

    def _write_and_move(self, place: str, data: bytes) -> None:
        folder, _, name = place.rpartition("/")
        part = f"{folder}/{PART_PREFIX}{random.getrandbits(64):016x}-{name}"
        self._fs.makedirs(folder, exist_ok=True)
        try:
            self._fs.pipe_file(part, data)
            self._fs.mv(part, place)
        except BaseException:
            with contextlib.suppress(OSError, StoreError):
                self._patiently(self._fs.rm_file, part, "write")
            raise

    def upload(self, path: Path, key: str) -> None:
        """Copy a file of this machine to a new object, piece by piece; the object may appear before it is whole.

        Raises:
            StoreError: If it may not be written or the store is out of reach.
        """

        def put(place: str) -> None:
            self._fs.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(path), place)

        self._patiently(put, self._place(key), "write")

    def download(self, key: str, path: Path) -> None:
        """Copy an object to a file of this machine, piece by piece.

        Raises:
            FileNotFoundError: If it does not exist.
            StoreError: If it may not be read or is out of reach.
        """
        self._patiently(lambda place: self._fs.get_file(place, str(path)), self._place(key), "read", missing=False)

    def remove(self, key: str) -> None:
        """Remove an object, if it exists."""

        def remove(path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(path)

        self._patiently(remove, self._place(key), "write")

    def _place(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _patiently(self, call: Callable[[str], Answer], place: str, what: str, *, missing: bool = True) -> Answer:
        """Call something until it works, or until it is clear that it will not.

        Args:
            call: Called with the place.
            place: Path in the file system.
            what: ``list``, ``read`` or ``write``, for the message.
            missing: Whether to explain a missing place; otherwise its error is passed on.
        """
        for attempt in range(ATTEMPTS):
            try:
                return call(place)
            except Exception as error:
                if isinstance(error, FileNotFoundError) and not missing:
                    raise
                if _is_final(error) or attempt == ATTEMPTS - 1:
                    if isinstance(error, OutputError):
                        raise
                    _explain(error, self._name(place), what)
            # Workers that failed together must not all come back at once.
            wait_s = min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S)
            time.sleep(wait_s * random.uniform(0.5, 1))  # noqa: S311 - not a secret
        raise AssertionError("the last attempt returns or raises")

    def _name(self, place: str) -> str:
        """Return what messages call a path in the file system."""
        return f"{self.url}{place[len(self._root) :]}".rstrip("/")


def _write_local(path: str, data: bytes) -> None:
    with whole_file(Path(path)) as part:
        part.write_bytes(data)


def _is_final(error: BaseException | None) -> bool:
    """Return whether another attempt would fail in the same way."""
    if isinstance(error, OutputError):
        return _is_final(error.__cause__)
    if isinstance(error, _FINAL) or type(error).__name__ in _NO_CREDENTIALS:
        return True
    return isinstance(error, OSError) and error.errno in _FINAL_NUMBERS


def _explain(error: Exception, name: str, what: str) -> NoReturn:
    """Raise the error for a call that failed for good."""
    reason = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        raise StoreError(f"{name} does not exist; give a folder or a URL that holds pictures") from error
    if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        to_do = "check its permissions and, for an object store, the credentials in the environment"
        raise StoreError(f"no permission to {what} {name} ({reason}); {to_do}") from error
    to_do = "check its address, the network and its free space, then give the same command again"
    raise StoreError(f"cannot {what} {name}: {reason}; {to_do}") from error
