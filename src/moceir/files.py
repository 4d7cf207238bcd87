"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path

from moceir.errors import OutputError


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Give a temporary place beside a file, and rename it once the block is through; folders are made.

    Whatever goes wrong, the goal is either old or whole, and nothing is left beside it.

    Args:
        path: The goal; the temporary name keeps its suffix, for writers that choose the format by it.

    Raises:
        OutputError: If the system refuses to write there, inside the block or around it.
    """
    part = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"cannot write {path}: {reason}; check that the folder exists, may be written to and has space"
        raise OutputError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
