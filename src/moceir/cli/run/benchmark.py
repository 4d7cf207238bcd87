"""Run ``moceir benchmark``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from moceir.batch.planning import check_reports
from moceir.cli.benchmark import BenchmarkArguments
from moceir.evaluation.profiling import Profile, Subject, describe_machine, profile
from moceir.evaluation.report import markdown_table
from moceir.files import write_json
from moceir.machine.allocator import keep_freed_memory

COLUMNS = ("model", "size", "parameters", "route", "GMACs", "FFT Gops", "seconds", "peak MiB")


def run(arguments: BenchmarkArguments) -> None:
    """Measure each network at each size, and print a row per route as soon as it is measured."""
    check_reports(arguments.json_file)
    keep_freed_memory()
    subjects = [*map(Subject, arguments.models), *(Subject(name, untrained=True) for name in arguments.presets)]
    done: list[Profile] = []
    for subject in subjects or [Subject("tiny")]:
        for width, height in arguments.sizes:
            for result in profile(
                subject,
                width,
                height,
                arguments.device,
                arguments.precision,
                threads=arguments.threads,
                repeat=arguments.repeat,
                compiled=arguments.compiled,
            ):
                for line in markdown_table(COLUMNS, [_cells(result)])[2 if done else 0 :]:
                    typer.echo(line)
                done.append(result)
    if arguments.json_file:
        machine = describe_machine(arguments.device, arguments.threads, arguments.precision)
        settings = {"compiled": arguments.compiled, "repeat": arguments.repeat}
        write_json(arguments.json_file, {**machine, **settings, "rows": [asdict(result) for result in done]})


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
