"""``moceir benchmark``: parameters, multiply-accumulates, time and peak memory of networks on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import Compiled, Device, Precision, Threads, parse_size


@dataclass(frozen=True)
class BenchmarkArguments:
    """What ``moceir benchmark`` was called with; see ``benchmark_command``."""

    models: list[str]
    presets: list[str]
    sizes: list[tuple[int, int]]
    device: str
    precision: str
    compiled: bool
    threads: int | None
    repeat: int
    json_file: Path | None


def benchmark_command(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A bundled model, a model folder or a published .ckpt file. Repeatable."),
    ] = None,
    preset: Annotated[
        list[str] | None, typer.Option(help="A shape with random weights: nano, tiny, small or base. Repeatable.")
    ] = None,
    size: Annotated[list[str] | None, typer.Option(help="Size of the picture, WIDTHxHEIGHT. Repeatable.")] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Compiled = False,
    threads: Threads = None,
    repeat: Annotated[int, typer.Option(min=1, help="Number of restorations; the median time is reported.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
) -> None:
    """Measure the cost of a picture on the cheapest, the dearest and the chosen route.

    Measures model tiny at 256x256 by default. GMACs count convolutions and
    matrix products; the experts' FFTs are listed separately. Peak memory is
    counted on top of the loaded model. A network with random weights chooses
    other experts than a trained one, so the row of its chosen route says little
    about a trained model.

    Examples:

        moceir benchmark --size 256x256 --size 1024x768 --threads 2

        moceir benchmark --preset small --preset base --size 224x224 --json cost.json
    """
    arguments = BenchmarkArguments(
        models=model or [],
        presets=preset or [],
        sizes=[parse_size(text) for text in size or ["256x256"]],
        device=device,
        precision=precision,
        compiled=compiled,
        threads=threads,
        repeat=repeat,
        json_file=json_file,
    )
    implementation("benchmark").run(arguments)
