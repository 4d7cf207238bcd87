"""Markdown pages with measured parts: scripts write the text between two marks, people write the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from moceir.errors import ConfigError
from moceir.files import whole_file


def check_parts(page: Path, names: Iterable[str]) -> None:
    """Check that a page has a place for each part, before anything is measured.

    Args:
        page: Markdown file.
        names: Names of the parts.

    Raises:
        ConfigError: If the page is missing or has no marks for one of the parts.
    """
    if not page.is_file():
        raise ConfigError(f"{page} does not exist; write the page, with a place for each measured part")
    text = page.read_text(encoding="utf-8")
    for name in names:
        if not _marks(name).search(text):
            raise ConfigError(f"{page} has no place for '{name}'; expected <!-- measured: {name} --> and <!-- end -->")


def replace_part(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replace the text between the marks of a part.

    Args:
        page: Markdown file.
        name: Name of the part.
        lines: New text, without line ends.

    Raises:
        ConfigError: If the page is missing or has no such marks.
        OutputError: If the page cannot be written.
    """
    check_parts(page, [name])
    body = "\n".join(lines) + "\n"
    text = _marks(name).sub(lambda match: f"{match[1]}{body}{match[2]}", page.read_text(encoding="utf-8"))
    with whole_file(page) as part:
        part.write_text(text, encoding="utf-8")


def _marks(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
