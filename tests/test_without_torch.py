"""An exported file restores where torch is not installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from support import write_picture

from moceir import Restorer, image_io
from moceir.export.cache import export_model

ROOT = Path(__file__).parents[1]
BLOCKED = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from moceir.cli import main
main()
"""


def without_torch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_files_are_restored(golden: Path, tmp_path: Path) -> None:
    model, checkpoint = tmp_path / "nano.onnx", golden / "nano_lightning.ckpt"
    export_model(str(checkpoint), model, "onnx")
    write_picture(tmp_path / "in" / "a.png")
    write_picture(tmp_path / "in" / "b.png", seed=1)
    done = without_torch(
        *("restore", tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--strength", "0.8"),
        *("--reference", tmp_path / "in", "--report", tmp_path / "report.jsonl", "--threads", "1"),
    )
    assert done.returncode == 0, done.stderr
    in_torch = Restorer.from_pretrained(checkpoint, device="cpu", strength=0.8)
    for name in ("a.png", "b.png"):
        expected = in_torch.restore(image_io.read(tmp_path / "in" / name).rgb)
        restored = image_io.read(tmp_path / "out" / name).rgb
        assert np.abs(restored.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        ([], 1, "the model 'tiny' needs torch, which is not installed; give a file of moceir export"),
        (["--backend", "onnx"], 1, "the model 'tiny' needs torch"),
        (["--model", "{exported}", "--keep-tones"], 2, "keep_tones needs torch"),
    ],
)
def test_what_needs_torch_says_so(extra: list[str], code: int, said: str, golden: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "in.png")
    exported = tmp_path / "nano.onnx"
    if "{exported}" in extra:
        export_model(str(golden / "nano_lightning.ckpt"), exported, "onnx")
    arguments = [argument.format(exported=exported) for argument in extra]
    done = without_torch("restore", tmp_path / "in.png", "-o", tmp_path / "out.png", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_the_page_lists_what_has_to_be_installed() -> None:
    """``--no-deps`` leaves out torch, and so all the other dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[>=<]", name)[0] for name in [*project["dependencies"], "onnxruntime"]} - {"torch"}
    page = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"\$ pip install --no-deps moceir\n\$ pip install (.*)", page)
    assert {name.strip("'") for name in command.split()} == needed
