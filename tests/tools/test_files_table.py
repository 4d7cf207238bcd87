"""The table of docs/files.md is what the script writes, and a block that vanishes without a word makes it fail."""

from __future__ import annotations

import files_table
import pytest

from moceir.image_io.containers import policy


def test_the_page_has_what_becomes_of_each_block() -> None:
    page = files_table.PAGE.read_text(encoding="utf-8")
    assert files_table.with_table(page, files_table.table()) == page


@pytest.mark.parametrize(
    ("table", "name"),
    [("JPEG", "trailing video"), ("PNG", "sBIT"), ("TIFF", 37724), ("WEBP", "C2PA"), ("AVIF", "mpvd")],
)
def test_a_lost_block_is_found(monkeypatch: pytest.MonkeyPatch, table: str, name: str | int) -> None:
    """Where the policy says that a block is followed, and nothing follows it."""
    monkeypatch.setitem(getattr(policy, table), name, policy.FOLLOWED)
    with pytest.raises(SystemExit, match="lost: "):
        files_table.table([table])
