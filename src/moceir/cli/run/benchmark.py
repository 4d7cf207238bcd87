"""Run ``moceir benchmark``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from moceir.batch.planning import check_reports
from moceir.cli.benchmark import BenchmarkOptions
from moceir.evaluation.profiling import Profile, Subject, describe_machine, profile
from moceir.evaluation.report import markdown_table
from moceir.files import write_json
from moceir.machine.allocator import keep_freed_memory

COLUMNS = ("model", "size", "parameters", "route", "GMACs", "FFT Gops", "seconds", "peak MiB")


def run(options: BenchmarkOptions) -> None:
    """Measure each network at each size, and print a row per route as soon as it is measured."""
    check_reports(options.json_file)
    keep_freed_memory()
    subjects = [*map(Subject, options.models), *(Subject(name, untrained=True) for name in options.presets)]
    done: list[Profile] = []
    for subject in subjects or [Subject("tiny")]:
        for width, height in options.sizes:
            for result in profile(
                subject,
                width,
                height,
                options.device,
                options.precision,
                threads=options.threads,
                repeat=options.repeat,
                compiled=options.compiled,
            ):
                for line in markdown_table(COLUMNS, [_cells(result)])[2 if done else 0 :]:
                    typer.echo(line)
                done.append(result)
    if options.json_file:
        machine = describe_machine(options.device, options.threads, options.precision)
        settings = {"compiled": options.compiled, "repeat": options.repeat}
        write_json(options.json_file, {**machine, **settings, "rows": [asdict(result) for result in done]})


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
