"""A batch that is killed again and again ends as one that was not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import write_picture

KILLS = 50


@pytest.mark.slow
def test_kill_at_random_moments_and_go_on(tmp_path: Path, model_folder: Path) -> None:
    for i in range(60):
        write_picture(tmp_path / "in" / f"{i:02}{('.png', '.jpg', '.webp', '.tif')[i % 4]}", 40, 40, seed=i)
    script = Path(__file__).parents[1] / "killing.py"
    command = [sys.executable, script, tmp_path, "--model", model_folder, "--kills", str(KILLS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    assert summary["kills"] == KILLS
    # Most kills came while there was something to lose, and some while a file was being written.
    assert summary["between"] > KILLS / 2
    assert summary["leftovers"] > 0
