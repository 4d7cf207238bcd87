"""Writing files whole or not at all."""

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
"""How temporary names begin; as hidden files they are no input of anything."""


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Give a temporary place beside a file, and rename it once the block is through; folders are made.

    Whatever goes wrong, the goal is either old or whole, and nothing is left beside it. Only a killed process leaves
    its temporary file. Its name follows from that of the goal, so that the next one who writes the goal reuses it.

    Args:
        path: The goal; the temporary name keeps its suffix, for writers that choose the format by it.

    Raises:
        OutputError: If the system refuses to write there, inside the block or around it, or another process is just
            writing the same goal.
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
    """Write indented JSON, whole or not at all.

    Args:
        path: The file.
        content: Dicts, lists, strings, numbers, booleans and None. Infinity and NaN are not JSON.

    Raises:
        OutputError: If the system refuses to write there.
        ValueError: If a number is infinite or NaN; nothing is then written.
    """
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Compute the SHA-256 checksum of a file, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def part_of(path: Path) -> Path:
    """The temporary name of a goal: short whatever the goal's length, the same each time, of the same suffix."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f"{PART_PREFIX}{digest}{path.suffix[:16]}")


def cannot_write(path: Path, error: OSError) -> OutputError:
    """What a user is told when the system refuses to write."""
    blocking = next((p for p in path.parents if os.path.lexists(p) and not p.is_dir()), None)
    if isinstance(error, FileExistsError | NotADirectoryError) and blocking is not None:
        return OutputError(f"cannot write {path}: {blocking} is a file, not a folder; give another output")
    if isinstance(error, IsADirectoryError):
        return OutputError(f"cannot write {path}: a folder has this name; give another output")
    reason = error.strerror or str(error)
    return OutputError(f"cannot write {path}: {reason}; check that the folder exists, may be written to and has space")


@contextlib.contextmanager
def _locked(part: Path, path: Path) -> Generator[None]:
    """Hold a temporary file, so that two processes never write into one; where the system has no locks, trust."""
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
            # Between opening and locking the other one may have finished: what is locked then is the goal itself.
            if not part.exists() or not os.path.samestat(os.fstat(file.fileno()), part.stat()):
                continue
            file.truncate(0)
            yield
            return
