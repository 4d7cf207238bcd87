"""What several tests need: pictures, and the command line as a function and as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from moceir import image_io
from moceir.cli import app
from moceir.errors import MoceirError


def write_picture(path: Path, height: int = 24, width: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    """Write a picture of seeded noise and return its pixels."""
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image_io.write(path, image_io.Picture(rgb))
    return rgb


def run(*arguments: str | Path) -> Result:
    """Run the command in this process; expected errors come back as the exit code main() would give them."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, (SystemExit, MoceirError)):
        raise result.exception
    return result


def moceir_process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "moceir", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
