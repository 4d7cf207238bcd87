"""Pages with measured parts: what scripts write between two marks, and people write around them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from moceir.files import whole_file


def check_places(path: Path, names: Iterable[str]) -> None:
    """Refuse early what could not be written.

    Raises:
        SystemExit: If the file is missing, or has no marks for one of the parts.
    """
    if not path.is_file():
        raise SystemExit(f"{path} does not exist; write the page, with a place for each measured part")
    text = path.read_text(encoding="utf-8")
    for name in names:
        if not _marks(name).search(text):
            raise SystemExit(f"{path} has no place for '{name}'; expected <!-- measured: {name} --> and <!-- end -->")


def replace_tables(path: Path, name: str, lines: Iterable[str]) -> None:
    """Put a part between its marks.

    Raises:
        SystemExit: If the file has no such marks.
    """
    check_places(path, [name])
    body = "\n".join(lines) + "\n"
    text = _marks(name).sub(lambda match: f"{match[1]}{body}{match[2]}", path.read_text(encoding="utf-8"))
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _marks(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
