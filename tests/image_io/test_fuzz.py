"""Thousands of files with something wrong: each is restored or refused in one line, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FILES = 2500
TESTS = Path(__file__).parents[1]


def test_mutated_files_are_restored_or_refused(tmp_path: Path) -> None:
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", TESTS / "fuzzing.py", tmp_path, "--files", str(FILES)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    outcomes = summary["outcomes"]
    restored = outcomes.pop("restored")
    refused = sum(outcomes.pop(error, 0) for error in ("ImageError", "FormatError", "TooLargeError"))
    assert restored + refused == FILES
    assert min(restored, refused) > FILES / 10
    assert summary["slowest_s"] < 20
    # 4 megapixels are the most that is let through; at 60 bytes each (see moceir.batch.stages) they take 240 MB.
    assert summary["peak_mb"] < 240
    written = [path.name for path in tmp_path.iterdir() if path.suffix != ".dat"]
    assert len(written) == restored
    assert not any(name.startswith(".") for name in written)
