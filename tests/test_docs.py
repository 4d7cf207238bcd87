"""Every command of docs/training.md, docs/files.md and docs/interop.md works, on data like the real ones but tiny."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from layouts import build_layout
from support import run, write_photographs, write_picture

from moceir import image_io
from moceir.weights import load

ROOT = Path(__file__).parents[1]
TINY = ["model=nano", "epochs=null", "steps=2", "epoch_steps=1", "stages.0.patch_px=16", "stages.0.batch=2"]
TINY += ["validation.patch_px=16", "validation.most=1"]
"""What makes a published recipe a matter of seconds."""


def commands_of(page: str) -> list[list[str]]:
    """The commands of a page of the documentation, without the program's name."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", "recipes")
    for name in ("denoising", "rain100l-train", "reside-ots", "cbsd68-s15", "rain100l", "sots-outdoor"):
        build_layout(Path("datasets"), name)
    for folder in ("photographs", "mine/degraded", "mine/clean"):
        write_photographs(Path(folder), 3)
    commands = commands_of("training.md")
    assert len(commands) > 8
    for command in commands:
        extra: list[str] = []
        if command[0] == "train" and not {"--resume", "--continue"} & set(command):
            changes = TINY[2:] if "--start" in command else TINY
            extra = [word for text in changes for word in ("--set", text)]
        if command[0] in ("train", "evaluate", "benchmark"):
            extra += ["--device", "cpu"]
        result = run(*command, *extra)
        # Of 5,144 pictures three are there, and `data check` says so.
        assert result.exit_code == (1 if command[:2] == ["data", "check"] else 0), (command, result.output)
    for made in ("reports/aio3.json", "reports/aio3.md", "reports/worst.png", "runs/mine/best/model.safetensors"):
        assert Path(made).exists()
    assert "MoCE-IR-S" in Path("reports/aio3.md").read_text()


def test_super_resolution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", "recipes")
    write_photographs(Path("photographs"), 3)
    build_layout(Path("testsets"), "cbsd68-x4", count=2)
    write_picture(Path("photo.png"))
    write_picture(Path("scans/a.jpg"))
    for command in commands_of("super-resolution.md"):
        extra = ["--device", "cpu"]
        if "--start" in command:
            extra += [word for text in (*TINY[2:3], *TINY[4:], "validation.share=0.3") for word in ("--set", text)]
        command = ["2s" if word in ("72m", "8h") else word for word in command]
        result = run(*command, *extra)
        assert result.exit_code == 0, (command, result.output)
    assert image_io.read(Path("large.png")).rgb.shape == (96, 160, 3)
    assert image_io.read(Path("large/a.png")).rgb.shape == (48, 80, 3)
    assert load(Path("runs/sr4-longer/best")).config.scale == 4


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "scans/a.png", "scans/1950/b.tif", "holiday/c.webp", "raw/d.tif", "frames/1.png"):
        write_picture(Path(name))
    commands = commands_of("files.md")
    assert len(commands) >= 5
    for command in commands:
        result = run(*command, "--device", "cpu")
        assert result.exit_code == 0, (command, result.output)
    made = ("restored.jpg", "restored/1950/b.tif", "holiday/c_restored.webp", "web/d.webp", "clean_frames/1.png")
    assert all(Path(name).is_file() for name in made)


def test_interop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_picture(Path("photo.jpg"))
    commands = commands_of("interop.md")
    assert len(commands) >= 8
    for command in commands:
        result = run(*command)
        assert result.exit_code == 0, (command, result.output)
    files = ("tiny.onnx", "small_file.onnx", "batches.onnx", "tiny.xml", "tiny.ckpt", "tiny_again/model.safetensors")
    made = (*files, "one.jpg", "two.jpg")
    assert all(Path(name).is_file() for name in made)
