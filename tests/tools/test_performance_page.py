"""docs/performance.md is what its tool makes of the kept results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*/*.json"))


def test_the_page_is_up_to_date() -> None:
    script = ROOT / "tools" / "performance_page.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_kept_results_tell_how_they_were_made_and_are_on_the_page(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content.keys() == {"machine", "commit", "command", "rows"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-[0-9a-f]{8}\+?(-\d+)?", path.stem)
    assert content["commit"] in path.stem
    script, *given = content["command"].split()[1:]
    assert (ROOT / script).is_file()
    assert not any(word.startswith("/") for word in given)
    assert {"cpu", "cores", "threads", "torch", "instruction_sets"} <= content["machine"].keys()
    assert content["rows"]
    assert f"`{content['command']}` at commit {content['commit']}" in (ROOT / "docs/performance.md").read_text()
