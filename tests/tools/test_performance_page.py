"""docs/performance.md is what its tool makes of the kept results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import performance_page
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*/*.json"))


def test_the_page_is_up_to_date() -> None:
    script = ROOT / "tools" / "performance_page.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_kept_results_tell_how_they_were_made(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content.keys() == {"machine", "commit", "command", "rows"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}(\.\d{6})?-[0-9a-f]{8}\+?", path.stem)
    assert content["commit"] in path.stem
    script, *given = content["command"].split()[1:]
    assert (ROOT / script).is_file()
    assert not any(word.startswith("/") for word in given)
    assert {"cpu", "cores", "threads", "torch", "instruction_sets"} <= content["machine"].keys()
    assert content["rows"]


@pytest.mark.parametrize("name", sorted({path.parent.name for path in RESULTS} & set(performance_page.TABLES)))
def test_the_newest_result_of_a_kind_is_on_the_page(name: str) -> None:
    content = json.loads(max(path for path in RESULTS if path.parent.name == name).read_text(encoding="utf-8"))
    caption = f"`{content['command']}` at commit {content['commit']}"
    assert caption in performance_page.PAGE.read_text(encoding="utf-8")


def test_the_page_has_a_place_for_each_kind_of_table() -> None:
    text = (performance_page.RESULTS / "page.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^<!-- (\w+) -->$", text, re.MULTILINE)) == sorted(performance_page.TABLES)


def test_each_command_has_its_newest_result_and_a_name_without_results_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance_page, "RESULTS", tmp_path)
    (tmp_path / "page.md").write_text("Before.\n\n<!-- memory -->\n\nAfter.\n", encoding="utf-8")
    assert performance_page.page() == "Before.\n\nAfter.\n"

    machine = {"cpu": "Abacus", "cores": 3, "threads": 2, "torch": "2.0", "instruction_sets": [], "device_name": None}
    row = {"network": "tiny", "width": 64, "height": 48, "threads": 2, "measured_mib": 50.4, "predicted_mib": 100.0}
    for day, share, command in (
        ("01", 0.25, "python x.py --repeat 3"),
        ("02", 0.5, "python x.py --size 8x8"),
        ("03", 0.75, "python x.py"),
    ):
        content = {"machine": machine, "commit": f"c{day}", "command": command, "rows": [row | {"share": share}]}
        path = tmp_path / "memory" / f"2026-01-{day}-120000-abc.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    page = performance_page.page()
    assert page.startswith("Before.\n\n`python x.py` at commit c03 on 3 cores of an Abacus (unknown instruction sets)")
    assert re.findall(r"^\| tiny .*", page, re.MULTILINE) == [
        f"| tiny | 64x48 | 2 | 50 | 100 | {share} |" for share in ("75%", "50%")
    ]
    assert page.endswith("|\n\nAfter.\n")
