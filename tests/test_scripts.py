"""Every script has its row in the table of its folder, and every page names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "studies", "tools")
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
    *sorted((ROOT / "integrations").rglob("*.md")),
    *(ROOT / folder / "README.md" for folder in FOLDERS),
    *sorted((ROOT / "src" / "moceir" / "pretrained").rglob("*.md")),
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_table_of_a_folder_lists_its_scripts(folder: str) -> None:
    files = {path.name for path in (ROOT / folder).iterdir() if path.is_file()} - {"README.md"}
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(files)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_exist(page: Path) -> None:
    roots = "|".join((*FOLDERS, "docs", "examples", "integrations", "recipes", "src", "tests"))
    named = re.findall(rf"(?<![\w/.])(?:{roots})/[\w/]+\.(?:py|yaml)\b", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_usage_of_a_script_names_the_script_itself() -> None:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            text = path.read_text(encoding="utf-8")
            named = set(re.findall(r"python (\S+\.py)", text))
            expected = {f"{folder}/{path.name}"} if '__name__ == "__main__"' in text else set()
            assert named == expected, path
