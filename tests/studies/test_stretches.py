"""The comparison of stretches with one long run: what it draws and prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from moceir import image_io

SCRIPT = Path(__file__).parents[2] / "studies" / "stretches.py"


@pytest.mark.slow
def test_finished_runs_are_drawn_and_not_trained_again(tmp_path: Path) -> None:
    for name, steps, score in (("whole", 90, 25.0), ("part-1", 30, 23.0), ("part-2", 60, 24.5)):
        (tmp_path / name / "best").mkdir(parents=True)
        with SummaryWriter(str(tmp_path / name / "logs")) as board:
            for step in range(31 if name == "part-2" else 1, steps + 1):
                board.add_scalar("loss/total", 1.1 if name == "part-2" else 1, step)
            board.add_scalar("val/psnr_db", score, steps)
    command = [sys.executable, str(SCRIPT), str(tmp_path), "-o", str(tmp_path), "--parts", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "whole: 25.000 dB after step 90",
        "part-1: 23.000 dB after step 30, loss +0.0 % of the whole run's",
        "part-2: 24.500 dB after step 60, loss +10.0 % of the whole run's",
    ]
    assert image_io.read(tmp_path / "stretches.png").rgb.std() > 10
