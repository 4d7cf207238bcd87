"""``moceir benchmark``: parameters, multiply-accumulates, time and peak memory of networks on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moceir.cli.options import Compiled, Device, Precision, parse_size

if TYPE_CHECKING:
    from moceir.evaluation.profiling import Profile

COLUMNS = ("model", "size", "parameters", "route", "GMACs", "FFT Gops", "seconds", "peak MiB")


def benchmark_command(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A bundled model, a model folder or a published .ckpt. Repeatable."),
    ] = None,
    preset: Annotated[
        list[str] | None, typer.Option(help="A shape with random weights: nano, tiny, small, base. Repeatable.")
    ] = None,
    size: Annotated[list[str] | None, typer.Option(help="WIDTHxHEIGHT of the picture. Repeatable.")] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Compiled = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads on the processor; torch's own choice by default.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Restorations that the median time is taken of.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results there.")] = None,
) -> None:
    """Measure what a picture costs on the cheapest, the dearest and the chosen route; model tiny at 256x256 by default.

    GMACs count convolutions and matrix products; the experts' FFTs stand beside them. Peak memory is that above the
    loaded model. Random weights choose other experts than trained ones, which changes the row of the chosen route.

    Examples:

        moceir benchmark --size 256x256 --size 1024x768 --threads 2

        moceir benchmark --preset small --preset base --size 224x224 --json cost.json
    """
    sizes = [parse_size(text) for text in size or ["256x256"]]

    from moceir.batch.planning import check_reports  # noqa: PLC0415
    from moceir.evaluation.profiling import Subject, describe_machine, profile  # noqa: PLC0415
    from moceir.evaluation.report import markdown_table  # noqa: PLC0415
    from moceir.machine.allocator import keep_freed_memory  # noqa: PLC0415 - keeps --help fast

    check_reports(json_file)
    subjects = [Subject(name) for name in model or ()] + [Subject(name, untrained=True) for name in preset or ()]
    keep_freed_memory()
    done: list[Profile] = []
    for subject in subjects or [Subject("tiny")]:
        for width, height in sizes:
            for result in profile(
                subject, width, height, device, precision, threads=threads, repeat=repeat, compiled=compiled
            ):
                for line in markdown_table(COLUMNS, [_cells(result)])[2 if done else 0 :]:
                    typer.echo(line)
                done.append(result)
    if json_file:
        machine = describe_machine(device, threads, precision)
        _write_json(json_file, done, {**machine, "compiled": compiled, "repeat": repeat})


def _cells(result: Profile) -> list[str]:
    memory = "unknown" if result.peak_memory_mib is None else f"{result.peak_memory_mib:.0f}"
    return [
        result.model,
        f"{result.width}x{result.height}",
        f"{result.parameters:,}",
        result.route,
        f"{result.gmacs:.2f}",
        f"{result.fft_gops:.2f}",
        f"{result.seconds:.3f}",
        memory,
    ]


def _write_json(path: Path, results: list[Profile], circumstances: dict[str, Any]) -> None:
    from dataclasses import asdict  # noqa: PLC0415 - keeps --help fast

    from moceir.files import whole_file  # noqa: PLC0415

    content = {**circumstances, "rows": [asdict(result) for result in results]}
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
