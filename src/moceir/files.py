"""Atomic writing of files."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from moceir.errors import OutputError

PART_PREFIX = ".moceir-"
"""Prefix of temporary names; as hidden files they are never taken as input."""


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Write a file atomically: yield a temporary path next to it and rename it when the block succeeds.

    Missing folders are created. On failure the target keeps its old content and the temporary file is removed. Only a
    killed process leaves its temporary file behind. Its name derives from that of the target, so that the next writer
    of the same target reuses it.

    Args:
        path: The target; the temporary name keeps its suffix, for writers that choose the format by it.

    Raises:
        OutputError: If the system refuses to write, inside the block or around it, or if another process is writing
            the same target.
    """
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part, path):
            try:
                yield part
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
                if not part.stat().st_size:
                    raise OSError("nothing was written")
                part.replace(path)
            finally:
                with contextlib.suppress(OSError):
                    part.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def write_json(path: Path, content: object) -> None:
    """Write indented JSON atomically.

    Args:
        path: The target.
        content: Dicts, lists, strings, numbers, booleans and None. Infinity and NaN are not JSON.

    Raises:
        OutputError: If the system refuses to write.
        ValueError: If a number is infinite or NaN; nothing is written.
    """
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Compute the SHA-256 checksum of a file, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def part_of(path: Path) -> Path:
    """Return the temporary path of a target: short, deterministic, and with the same suffix."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f"{PART_PREFIX}{digest}{path.suffix[:16]}")


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Make the error for a path that the system refuses to write."""
    blocking = next((p for p in path.parents if os.path.lexists(p) and not p.is_dir()), None)
    if isinstance(error, FileExistsError | NotADirectoryError) and blocking is not None:
        return OutputError(f"cannot write {path}: {blocking} is a file, not a folder; give another output")
    if isinstance(error, IsADirectoryError):
        return OutputError(f"cannot write {path}: a folder has this name; give another output")
    reason = error.strerror or str(error)
    return OutputError(f"cannot write {path}: {reason}; check that the folder exists, may be written to and has space")


@contextlib.contextmanager
def _locked(part: Path, path: Path) -> Generator[None]:
    """Lock a temporary file, so that two processes never write to it; without locks on the system, go on unlocked."""
    # The filelock library would truncate the file that another process is writing, or leave a second file beside it.
    try:
        locks: Any = importlib.import_module("fcntl")
    except ImportError:
        part.touch()
        yield
        return
    while True:
        with part.open("ab") as file:
            try:
                locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
            except BlockingIOError as error:
                msg = f"cannot write {path}: another process is writing it; wait for that one, or give another output"
                raise OutputError(msg) from error
            except OSError:  # a file system without locks
                yield
                return
            # The other process may have finished between opening and locking; the locked file is then the target.
            if not part.exists() or not os.path.samestat(os.fstat(file.fileno()), part.stat()):
                continue
            file.truncate(0)
            yield
            return
