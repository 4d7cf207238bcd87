"""Tests of pages with measured parts: the text between the marks is replaced, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from moceir.errors import ConfigError
from moceir.evaluation.pages import check_parts, replace_part

PAGE = "# By hand\n\n<!-- measured: a -->\nold\n<!-- end -->\n\nmore\n<!-- measured: b -->\nkept\n<!-- end -->\n"


def test_a_part_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    replace_part(page, "a", ["new", r"\1 is text"])
    assert page.read_text(encoding="utf-8") == PAGE.replace("old", "new\n\\1 is text")
    check_parts(page, ["a", "b"])


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    with pytest.raises(ConfigError, match="does not exist"):
        check_parts(page, ["a"])
    page.write_text(PAGE, encoding="utf-8")
    for refuse in (lambda: check_parts(page, ["a", "c"]), lambda: replace_part(page, "c", [])):
        with pytest.raises(ConfigError, match="no place for 'c'; expected <!-- measured: c -->"):
            refuse()
    assert page.read_text(encoding="utf-8") == PAGE
