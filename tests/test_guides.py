"""Every command and every block of Python in the README, the tutorial and the guides works, on small pictures."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from layouts import build_layout
from support import run, write_photographs, write_picture

from moceir import image_io
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.weights.published import save_published

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/index.md",
    "docs/tutorial.md",
    "docs/published-weights.md",
    "docs/how-to/photographers.md",
    "docs/how-to/archivists.md",
    "docs/how-to/researchers.md",
    "docs/how-to/engineers.md",
)
# In tests/test_docs.py and tests/web/test_documentation.py.
TESTED_ELSEWHERE = {f"docs/{name}.md" for name in ("training", "files", "interop", "super-resolution", "serve")}
SHORT = ("steps=2", "epoch_steps=1", "stages.0.patch_px=16", "stages.0.batch=2", "validation.patch_px=16")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the pages' commands are given."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", "recipes")
    for kind in ("clean", "degraded"):
        for name in ("rain_rocket", "noise25_chelsea", "low_light_coffee"):
            pixels = image_io.read(ROOT / "examples" / kind / f"{name}.png").rgb[:48, :64]
            image_io.write(Path("examples", kind, f"{name}.png"), image_io.Picture(pixels.copy()))
    for folder in ("mine/degraded", "mine/clean", "photographs"):
        write_photographs(Path(folder), 3)
    for name in ("photo.jpg", "photos/a.jpg", "holiday/IMG_0001.jpg", "frames/1.png", "frames/2.png"):
        write_picture(Path(name))
    for folder in ("scans", "masters"):
        write_picture(Path(folder, "1950", "a.tif"))
    build_layout(Path("datasets"), "cbsd68-s25")
    save_published(MoCEIR(preset("nano")), Path("MoCE-IR-S.ckpt"))
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_python_of_a_page(home: Path, page: str) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if not line.startswith("pip install ")]
    assert commands
    for command in commands:
        extra = [word for change in SHORT for word in ("--set", change)] if command[0] == "train" else []
        if command[0] in ("restore", "inspect", "train", "evaluate", "benchmark"):
            extra += ["--device", "cpu"]
        result = run(*command, *extra)
        assert result.exit_code == 0, (command, result.output)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)  # noqa: S102 - the page's own code


def test_no_page_has_commands_that_no_test_runs() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")} | {"README.md"}
    assert {page for page in pages if blocks(page, "sh")} == {*PAGES, *TESTED_ELSEWHERE}


def test_the_tables_of_fields_are_what_commands_write(home: Path) -> None:
    page = (ROOT / "docs" / "reference" / "reports.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `(.*?)`\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))

    def documented(section: str) -> set[str]:
        rows = re.findall(r"^\| (`.*?) \|", sections[section], re.MULTILINE)
        return {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    run("restore", "scans", "-o", "out", "--reference", "masters", "--report", "r.jsonl", "--device", "cpu")
    assert documented("moceir restore --report FILE") == set(json.loads(Path("r.jsonl").read_text()))

    run(
        "evaluate", "--pairs", *("mine/degraded", "mine/clean"), "--json", "e.json", "--csv", "e.csv", "--device", "cpu"
    )
    assert documented("moceir evaluate --json FILE") == set(json.loads(Path("e.json").read_text()))
    columns = Path("e.csv").read_text().splitlines()[0].split(",")
    named = re.findall(r"`(\w+)`", sections["moceir evaluate --csv FILE"])
    assert named == columns

    run("inspect", "photo.jpg", "--json", "i.json", "--device", "cpu")
    content = json.loads(Path("i.json").read_text())
    assert documented("moceir inspect --json FILE") == set(content)
    assert all(f"`{field}`" in sections["moceir inspect --json FILE"] for field in content["pictures"][0])
