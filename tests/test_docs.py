"""Every command of docs/training.md works, on data sets laid out like the published ones but tiny."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from layouts import build_layout
from support import run, write_photographs

ROOT = Path(__file__).parents[1]
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
    for line in block.splitlines()
]
TINY = ["model=nano", "epochs=null", "steps=2", "stages.0.patch_px=16", "stages.0.batch=2", "epoch_steps=1"]
"""What makes a published recipe a matter of seconds."""


def test_the_page_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", "recipes")
    for name in ("denoising", "rain100l-train", "reside-ots", "cbsd68-s15", "rain100l", "sots-outdoor"):
        build_layout(Path("datasets"), name)
    for folder in ("photographs", "mine/degraded", "mine/clean"):
        write_photographs(Path(folder), 3)
    assert len(COMMANDS) > 8
    for command in COMMANDS:
        extra: list[str] = []
        if command[0] == "train" and "--resume" not in command:
            small = TINY[2:] if "finetune" in command[1] else TINY
            extra = [word for text in small for word in ("--set", text)]
        if command[0] in ("train", "evaluate", "benchmark"):
            extra += ["--device", "cpu"]
        result = run(*command, *extra)
        # Of 5,144 pictures three are there, and `data check` says so.
        assert result.exit_code == (1 if command[:2] == ["data", "check"] else 0), (command, result.output)
    for made in ("reports/aio3.json", "reports/aio3.md", "reports/worst.png", "runs/mine/best/model.safetensors"):
        assert Path(made).exists()
    assert "MoCE-IR-S" in Path("reports/aio3.md").read_text()
