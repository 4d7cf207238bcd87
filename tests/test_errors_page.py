"""docs/errors.md from top to bottom: each command is run, fails as the page says, and leaves nothing behind."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import odd_files
import pytest
import pyvips
import torch
from support import run

import moceir.errors
from moceir.cli import exit_code
from moceir.errors import MoceirError
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.weights import ModelFile, save

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
SECTIONS = [
    (int(code), re.split(r"^\$ moceir ", block, flags=re.MULTILINE)[1:])
    for code, block in re.findall(r"\(exit code (\d)\)\n\n```console\n(.*?)```", PAGE, re.DOTALL)
]
TRANSCRIPTS = [(code, *entry.split("\n", 1)) for code, entries in SECTIONS for entry in entries]


class _Runs:
    """What a malicious checkpoint holds: reading it would start a program."""

    def __reduce__(self) -> tuple[object, tuple[list[str]]]:
        return subprocess.check_call, ([sys.executable, "-c", "open('started', 'w')"],)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page's commands are given."""
    home = tmp_path_factory.mktemp("home")
    photo = pyvips.Image.new_from_file(str(ROOT / "examples" / "degraded" / "rain_rocket.png"))
    small = photo.crop(0, 0, 48, 32)
    for folder in ("empty", "scans", "clean", "degraded", "damaged_model"):
        (home / folder).mkdir()
    photo.write_to_file(str(home / "photo.jpg"))
    for name in (
        "taken.png",
        "scans/a.png",
        "scans/a.jpg",
        "clean/a.png",
        "clean/c.png",
        "degraded/a.png",
        "degraded/b.png",
    ):
        small.write_to_file(str(home / name))
    torn = (home / "photo.jpg").read_bytes()
    (home / "torn.jpg").write_bytes(torn[: len(torn) // 2])
    (home / "nothing.jpg").touch()
    for name in ("letter.jpg", "letter.onnx"):
        (home / name).write_text("Dear reader")
    pages = small.join(small.invert(), "vertical").copy()
    pages.set_type(pyvips.GValue.gint_type, "page-height", small.height)
    pages.tiffsave(str(home / "pages.tif"))
    pages.gifsave(str(home / "moving.gif"))
    (small.cast("float") / 255).tiffsave(str(home / "hdr.tif"))
    for name, data in odd_pictures().items():
        (home / name).write_bytes(data)
    pyvips.Image.black(40000, 40000).pngsave(str(home / "bomb.png"), bitdepth=1, compression=9)
    shutil.copy(ROOT / "src" / "moceir" / "pretrained" / "tiny" / "config.json", home / "damaged_model")
    (home / "damaged_model" / "model.safetensors").write_bytes(b"cut")
    own_join = MoCEIR(preset("nano").model_copy(update={"join": "values"}))
    save(own_join, home / "own_join", ModelFile(model=own_join.config))
    broken = MoCEIR(preset("nano"))
    torch.nn.init.constant_(broken.output.weight, torch.nan)
    save(broken, home / "broken_model", ModelFile(model=broken.config))
    torch.save({"state_dict": _Runs()}, home / "dangerous.ckpt")
    torch.save({"state_dict": {"weight": torch.ones(2)}}, home / "other.ckpt")
    recipe = (ROOT / "recipes" / "tiny.yaml").read_text(encoding="utf-8")
    (home / "tiny.yaml").write_text(recipe)
    (home / "misspelt.yaml").write_text(recipe.replace("optimizer", "optimiser"))
    (home / "broken.yaml").write_text("model: [tiny\n")
    return home


def odd_pictures() -> dict[str, bytes]:
    """Pictures that are of the right format, but not of a kind that is restored."""
    preview = odd_files.page(odd_files.drawn(height=24, width=32), t254=(4, [1]), t50706=(1, [1, 4, 0, 0]))
    preview[-1] = [odd_files.page(odd_files.drawn(np.uint16, 96, 128, bands=1), t262=(3, [32803]))]
    return {
        "moving.png": odd_files.animated_png(3),
        "moving.avif": odd_files.avif(frames=2),
        "IMG_0001.dng": odd_files.tiff([preview]),
        "iphone.heic": odd_files.heif_items({1: b"hvc1"}, brand=b"heic"),
        "new.jxl": b"\xff\x0a" + bytes(20),
        "._photo.jpg": b"\0\x05\x16\x07" + bytes(20),
        "lab.tif": odd_files.tiff([odd_files.page(odd_files.drawn(), t262=(3, [8]))]),
        "signed.tif": odd_files.tiff([odd_files.page(odd_files.drawn(np.uint16), t339=(3, [2, 2, 2]))]),
        "pq.png": odd_files.png(odd_files.chunk(b"cICP", bytes([9, 16, 0, 1]))),
    }


@pytest.mark.parametrize(("code", "command", "expected"), TRANSCRIPTS, ids=[command for _, command, _ in TRANSCRIPTS])
def test_the_page_from_top_to_bottom(
    home: Path, monkeypatch: pytest.MonkeyPatch, code: int, command: str, expected: str
) -> None:
    if command.startswith("cluster "):
        pytest.importorskip("ray")
        pytest.importorskip("fsspec")
    monkeypatch.chdir(home)
    monkeypatch.setattr("moceir.image_io.other_decoders.find_spec", lambda _: None)  # extras may be installed
    before = sorted(home.rglob("*"))
    result = run(*shlex.split(command))
    assert result.exit_code == code
    shown = result.stderr + (f"moceir: {result.exception}" if isinstance(result.exception, MoceirError) else "")
    wanted = ".*".join(map(re.escape, _one_line(expected).split("...")))
    assert re.search(wanted, _one_line(shown)), shown
    assert sorted(home.rglob("*")) == before


def _one_line(text: str) -> str:
    """Text without the frames around complaints about usage, and with single spaces."""
    return " ".join(re.sub(r"[╭╮╰╯─│]", " ", text).split())


def test_the_page_has_every_class_with_its_exit_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (\d) \|$", PAGE, re.MULTILINE))
    classes = {c for c in vars(moceir.errors).values() if isinstance(c, type) and issubclass(c, MoceirError)}
    assert rows == {c.__name__: str(exit_code(c("..."))) for c in classes - {MoceirError}}
    assert len(TRANSCRIPTS) > 40
