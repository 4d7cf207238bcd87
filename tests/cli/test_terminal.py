"""What a person at a terminal sees, and what reaches a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import moceir_process, write_picture

pty = pytest.importorskip("pty")


def on_a_terminal(*arguments: str | Path) -> tuple[str, str]:
    """Standard output, which is a pipe, and standard error, which is a terminal, of a command."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "moceir", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        shown = bytearray()
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        assert process.stdout
        output = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    return output, shown.decode()


def test_the_bar_is_on_the_terminal_and_the_lines_are_in_the_file(tmp_path: Path) -> None:
    for name in "ab":
        write_picture(tmp_path / "in" / f"{name}.png")
    output, shown = on_a_terminal("degrade", tmp_path / "in", "-o", tmp_path / "out", "--with", "jpeg:quality=20")
    assert [line.split()[0] for line in output.splitlines()] == ["degraded", "degraded", "2"]
    assert "\x1b" not in output
    assert "0/2" in shown
    assert "left" in shown
    assert "a.png" not in shown


def test_without_a_terminal_there_is_no_bar(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a.png")
    done = moceir_process("data", "pack", tmp_path / "in", "-o", tmp_path / "a.pack")
    assert (done.returncode, done.stderr) == (0, "")


def test_names_cannot_break_lines_or_drive_the_terminal(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a\nb\x1b[31m.png")
    (tmp_path / "in" / "c\n.png").write_bytes(b"no picture")
    done = moceir_process("degrade", tmp_path / "in", "-o", tmp_path / "out", "--with", "jpeg:quality=20")
    assert done.returncode == 1
    assert done.stdout.count("\n") == 2
    assert "a\\nb\\x1b[31m.png" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stdout
