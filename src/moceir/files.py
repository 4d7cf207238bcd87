"""Writing text files whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path

from moceir.errors import OutputError


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file under a temporary name beside its goal and rename it; its folder is made if needed.

    Raises:
        OutputError: If it cannot be written; a file that was there stays whole.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"cannot write {path} ({error.strerror}); choose another place or make room") from error
