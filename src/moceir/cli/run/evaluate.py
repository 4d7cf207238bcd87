"""Run ``moceir evaluate``."""

from __future__ import annotations

import typer

from moceir.batch.planning import check_reports
from moceir.cli.evaluate import EvaluateArguments
from moceir.cli.run.terminal import echo, progress_bar
from moceir.data.metrics import load_lpips
from moceir.errors import MoceirError
from moceir.evaluation import Evaluation, TestSet, benchmark_set, evaluate, expand, paired_set, synthetic_set
from moceir.evaluation.report import to_csv, to_json, to_markdown
from moceir.evaluation.sheet import worst_sheet
from moceir.files import whole_file, write_json
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration import Restorer

Measured = list[tuple[TestSet, Evaluation]]


def run(arguments: EvaluateArguments) -> None:
    """Measure a model on test sets, print the means and write the reports.

    Raises:
        typer.BadParameter: If benchmarks are named without the folder that holds them.
        MoceirError: If there is only one test set and it cannot be measured.
        typer.Exit: With code 1 if one of several test sets cannot be measured.
    """
    check_reports(arguments.json_file, arguments.csv_file, arguments.markdown_file, arguments.sheet_file)
    test_sets, problems = _find_sets(arguments)
    keep_freed_memory()
    restorer = Restorer.from_pretrained(
        arguments.model, device=arguments.device, threads=arguments.threads, precision=arguments.precision
    )
    measured, broken = _measure(restorer, test_sets, arguments)
    problems += broken
    if measured:
        _write_reports(restorer, measured, arguments)
    elif len(problems) == 1:
        raise problems[0]
    for problem in problems:
        echo(f"failed: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def _find_sets(arguments: EvaluateArguments) -> tuple[list[TestSet], list[MoceirError]]:
    """Return the test sets that are there, and an error for each of the others."""
    if arguments.pairs is not None:
        return [paired_set(*arguments.pairs)], []
    if arguments.clean is not None:
        return [synthetic_set(arguments.clean, text) for text in arguments.degradations], []
    if arguments.data is None:
        raise typer.BadParameter("--benchmark needs --data, the folder that holds the test sets")
    found: list[TestSet] = []
    problems: list[MoceirError] = []
    for name in expand(arguments.benchmarks):
        try:
            found.append(benchmark_set(name, arguments.data))
        except MoceirError as error:
            problems.append(type(error)(f"{name}: {error}"))
    return found, problems


def _measure(
    restorer: Restorer, test_sets: list[TestSet], arguments: EvaluateArguments
) -> tuple[Measured, list[MoceirError]]:
    """Evaluate one set after the other and print the means; return an error for each set that is broken."""
    lpips = load_lpips(restorer.device) if arguments.lpips else None
    measured: Measured = []
    problems: list[MoceirError] = []
    for test_set in test_sets:
        try:
            with progress_bar(test_set.name, len(test_set.files[: arguments.limit])) as advance:
                result = evaluate(
                    restorer,
                    arguments.model,
                    test_set,
                    protocol=arguments.protocol,
                    seed=arguments.seed,
                    limit=arguments.limit,
                    lpips=lpips,
                    on_score=lambda _, advance=advance: advance(),
                )
        except MoceirError as error:
            problems.append(type(error)(f"{test_set.name}: {error}"))
            continue
        _print(result)
        measured.append((test_set, result))
    return measured, problems


def _print(result: Evaluation) -> None:
    typer.echo(
        f"{result.benchmark}: {len(result.scores)} pictures, {result.protocol} protocol, seed {result.seed}, "
        f"model {result.model}"
    )
    typer.echo(f"PSNR {result.mean('input_psnr_db'):.2f} -> {result.mean('psnr_db'):.2f} dB")
    typer.echo(f"SSIM {result.mean('input_ssim'):.4f} -> {result.mean('ssim'):.4f}")
    if "y_psnr_db" in result.measures():
        typer.echo(
            f"on Y, bicubic -> ours: PSNR {result.mean('input_y_psnr_db'):.2f} -> {result.mean('y_psnr_db'):.2f} dB"
        )
        typer.echo(f"on Y, bicubic -> ours: SSIM {result.mean('input_y_ssim'):.4f} -> {result.mean('y_ssim'):.4f}")
    if "lpips" in result.measures():
        typer.echo(f"LPIPS {result.mean('lpips'):.4f}")
    typer.echo(f"{result.mean('gmacs'):.2f} GMACs and {result.mean('seconds'):.2f} s per picture on {result.device}")


def _write_reports(restorer: Restorer, measured: Measured, arguments: EvaluateArguments) -> None:
    results = [result for _, result in measured]
    if arguments.json_file:
        write_json(arguments.json_file, to_json(results))
    for path, to_text in ((arguments.csv_file, to_csv), (arguments.markdown_file, to_markdown)):
        if path:
            with whole_file(path) as part:
                part.write_text(to_text(results), encoding="utf-8")
    if arguments.sheet_file:
        with whole_file(arguments.sheet_file) as part:
            worst_sheet(restorer, measured, arguments.worst).save(part)
