"""What several tests need: pictures, and the command line as a function and as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typer.testing import CliRunner, Result

from moceir import image_io
from moceir.cli import app, exit_code
from moceir.errors import MoceirError
from moceir.models.network import MoCEIR


def write_picture(path: Path, height: int = 24, width: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    """Write a picture of seeded noise and return its pixels."""
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image_io.write(path, image_io.Picture(rgb))
    return rgb


def write_photographs(folder: Path, count: int = 8) -> Path:
    """Fill a folder with pictures of coloured tiles, which have edges and flat regions."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        image_io.write(folder / f"p{number}.png", image_io.Picture(np.kron(coarse, np.ones((8, 8, 1), dtype=np.uint8))))
    return folder


def varied(number: int) -> Tensor:
    """A picture ``(1, 3, 40, 56)`` of flat colour, texture or both, so that routes differ."""
    generator = torch.Generator().manual_seed(number)
    level, texture = torch.rand(2, generator=generator)
    return (level + texture * torch.randn(1, 3, 40, 56, generator=generator)).clamp(0, 1)


def compare_on_each_expert(network: MoCEIR, restore: Callable[[Tensor], Tensor]) -> None:
    """Compare another program with a network on pictures that take every expert of every block."""
    seen: list[set[int]] = [set() for _ in range(network.config.routed_blocks)]
    for number in range(60):
        image = varied(number)
        with torch.no_grad():
            expected, decisions = network.restore_with_routing(image)
        route = [int(decision.experts) for decision in decisions]
        if all(expert in block for expert, block in zip(route, seen, strict=True)):
            continue
        for expert, block in zip(route, seen, strict=True):
            block.add(expert)
        torch.testing.assert_close(restore(image), expected, atol=2e-4, rtol=0)
    assert seen == [set(range(network.config.experts))] * network.config.routed_blocks


def run(*arguments: str | Path) -> Result:
    """Run the command in this process; expected errors come back as the exit code main() would give them."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, MoceirError):
        result.exit_code = exit_code(result.exception)
    elif result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def moceir_process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "moceir", *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False
    )


def run_script(script: str, out: Path, *options: str) -> dict[str, Any]:
    """Run a measuring script of this repository with one thread, and return the JSON that it writes."""
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[1] / script, *options, "--json", out],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| ---" in done.stdout
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["machine"]["cpu"]
    assert content["machine"]["threads"] == 1
    return content
