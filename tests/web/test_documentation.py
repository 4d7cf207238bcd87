"""docs/serve.md: its examples work, and its tables say what the code does."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from serving import Serve, Served, picture
from support import run

from moceir import image_io
from moceir.web.problems import _STATUSES  # pyright: ignore[reportPrivateUsage] - compared with the page
from moceir.web.settings import ServeSettings

PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7860"


def blocks(language: str, url: str = ADDRESS) -> list[str]:
    """Examples of a language, for a server at another address."""
    return [block.replace(ADDRESS, url) for block in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the examples are run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    for name, kind in (("photo.jpg", "jpeg"), ("scan.png", "png"), ("scans/a.png", "png")):
        (tmp_path / name).write_bytes(picture(kind=kind))
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples call curl, which is not installed")
def test_examples_for_a_shell(serving: Serve, model_folder: Path, home: Path) -> None:
    server = serving(models=(str(model_folder), "tiny-x2"))
    (block,) = blocks("sh", server.url)
    commands = [shlex.split(line) for line in block.splitlines()]
    assert len(commands) == 9
    for command in commands:
        if command[0] == "moceir":
            assert run(*command[1:]).exit_code == 0, command
        else:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, (command, done.stderr)
    assert (home / "restored.jpg").read_bytes() == (home / "by_server.jpg").read_bytes()
    assert zipfile.ZipFile(home / "restored.zip").namelist() == ["photo.jpg", "scan.png", "report.jsonl"]
    assert (home / "restored.webp").read_bytes()[8:12] == b"WEBP"
    assert (home / "restored" / "a.png").is_file()
    assert image_io.read(home / "large.jpg").rgb.shape == (48, 80, 3)
    assert (home / "large.jpg").read_bytes() == (home / "large_by_server.jpg").read_bytes()


def test_examples_for_python(server: Served, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = blocks("python", server.url)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/serve.md", "exec"), {})  # noqa: S102 - the project's own page
    assert "(64, 96, 3)" in capsys.readouterr().out
    assert (home / "restored.png").is_file()
    assert (home / "restored.jpg").is_file()


def test_the_tables_have_the_statuses_and_the_defaults() -> None:
    statuses = {int(status) for status in re.findall(r"^\| (\d{3}) \|", PAGE, re.MULTILINE)}
    assert {int(status) for _, status in _STATUSES} <= statuses
    plain = ServeSettings()
    rows = dict(re.findall(r"^\| `--([\w-]+)` \| (\S+)", PAGE, re.MULTILINE))
    assert int(rows["max-body"]) * 1_000_000 == plain.max_body
    for name in ("queue-length", "seconds", "drain-seconds"):
        assert float(rows[name]) == getattr(plain, name.replace("-", "_"))
