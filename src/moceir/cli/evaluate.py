"""``moceir evaluate``: PSNR and SSIM of a model on benchmarks, on pairs, or on synthetic degradations."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moceir.cli.options import Device, Model, Precision
from moceir.errors import MoceirError, require_extra

if TYPE_CHECKING:
    from moceir.evaluation import Evaluation, TestSet
    from moceir.restoration import Restorer


class Protocol(StrEnum):
    """How pictures are cropped before they are compared."""

    published = "published"
    uncropped = "uncropped"


def evaluate_command(
    model: Model = "tiny",
    benchmark: Annotated[
        list[str] | None,
        typer.Option(help="A benchmark, as rain100l, or a group: aio3, aio5, cdd11, all. Repeatable; needs --data."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the test sets.")] = None,
    pairs: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Folders of degraded and clean pictures.", metavar="DEGRADED CLEAN")
    ] = None,
    clean: Annotated[Path | None, typer.Option(help="Folder of clean pictures; needs --degrade.")] = None,
    degrade: Annotated[
        list[str] | None, typer.Option(help="Degradation, as noise:sigma=25 or low_light+haze. Repeatable.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="Crop to multiples of 16, or not.")] = Protocol.published,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first pictures only.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of synthetic degradations.")] = 0,
    with_lpips: Annotated[
        bool, typer.Option("--lpips", help="Measure LPIPS too; needs the packages lpips and torchvision.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results there, with a row per picture.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a row per picture there.")] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write a table beside the published results there.")
    ] = None,
    sheet_file: Annotated[
        Path | None, typer.Option("--sheet", help="Draw the worst pictures there: input, restored, clean (.png, .jpg).")
    ] = None,
    worst: Annotated[int, typer.Option(min=1, help="How many pictures of each test set the sheet shows.")] = 4,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Measure a model: mean PSNR and SSIM before and after, by the published protocol unless told otherwise.

    A test set that is missing or broken is reported and the others go on; the exit code is 0 only if all were measured.

    Examples:

        moceir evaluate --benchmark cbsd68-s25 --data testsets/

        moceir evaluate --benchmark aio3 --data testsets/ --markdown table.md --sheet worst.png

        moceir evaluate --pairs hazy/ clear/ --model runs/tiny/best --json result.json

        moceir evaluate --clean photographs/ --degrade noise:sigma=25 --degrade rain+haze --limit 20
    """
    require_extra("skimage", "evaluate")
    if sheet_file:
        require_extra("PIL", "evaluate")
        if sheet_file.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise typer.BadParameter(f"'{sheet_file}' must end in .png or .jpg", param_hint="--sheet")

    from moceir.batch.planning import check_reports  # noqa: PLC0415
    from moceir.data.metrics import load_lpips  # noqa: PLC0415
    from moceir.evaluation import evaluate  # noqa: PLC0415
    from moceir.machine.allocator import keep_freed_memory  # noqa: PLC0415 - keeps --help fast
    from moceir.restoration import Restorer  # noqa: PLC0415

    check_reports(json_file, csv_file, markdown_file, sheet_file)
    test_sets, problems = _choose_sets(benchmark, data, pairs, clean, degrade)
    keep_freed_memory()
    restorer = Restorer.from_pretrained(model, device=device, precision=precision)
    judge = partial(
        evaluate,
        restorer,
        model,
        protocol=protocol.value,
        seed=seed,
        limit=limit,
        lpips=load_lpips(restorer.device) if with_lpips else None,
    )
    done, broken = _judge_all(test_sets, judge, limit)
    problems += broken
    if not done and len(problems) == 1:
        raise problems[0]
    if done:
        _write_reports([result for _, result in done], json_file, csv_file, markdown_file)
    if done and sheet_file:
        _write_sheet(sheet_file, restorer, done, worst)
    for problem in problems:
        typer.echo(f"failed: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def _choose_sets(
    benchmarks: list[str] | None,
    data: Path | None,
    pairs: tuple[Path, Path] | None,
    clean: Path | None,
    degrade: list[str] | None,
) -> tuple[list[TestSet], list[MoceirError]]:
    """The test sets that are there, and what is wrong with each of the others."""
    from moceir.evaluation import benchmark_set, expand, paired_set, synthetic_set  # noqa: PLC0415 - keeps --help fast

    if [bool(benchmarks), pairs is not None, clean is not None].count(True) != 1:
        raise typer.BadParameter("give exactly one of --benchmark, --pairs and --clean")
    if pairs is not None:
        return [paired_set(*pairs)], []
    if clean is not None:
        if not degrade:
            raise typer.BadParameter("--clean needs --degrade, as --degrade noise:sigma=25")
        return [synthetic_set(clean, text) for text in degrade], []
    if data is None:
        raise typer.BadParameter("--benchmark needs --data, the folder that holds the test sets")
    found: list[TestSet] = []
    problems: list[MoceirError] = []
    for name in expand(benchmarks or []):
        try:
            found.append(benchmark_set(name, data))
        except MoceirError as error:
            problems.append(type(error)(f"{name}: {error}"))
    return found, problems


def _judge_all(
    test_sets: list[TestSet], judge: Callable[..., Evaluation], limit: int | None
) -> tuple[list[tuple[TestSet, Evaluation]], list[MoceirError]]:
    """Evaluate one set after the other, with a bar for people and lines for files."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(stderr=True)
    done: list[tuple[TestSet, Evaluation]] = []
    problems: list[MoceirError] = []
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        for test_set in test_sets:
            bar = progress.add_task(test_set.name, total=len(test_set.files[:limit]))
            try:
                result = judge(test_set, on_score=lambda _, bar=bar: progress.advance(bar))
            except MoceirError as error:
                problems.append(type(error)(f"{test_set.name}: {error}"))
                continue
            _print_result(result)
            done.append((test_set, result))
    return done, problems


def _print_result(result: Evaluation) -> None:
    typer.echo(
        f"{result.benchmark}: {len(result.scores)} pictures, {result.protocol} protocol, seed {result.seed}, "
        f"model {result.model}"
    )
    typer.echo(f"PSNR {result.mean('input_psnr_db'):.2f} -> {result.mean('psnr_db'):.2f} dB")
    typer.echo(f"SSIM {result.mean('input_ssim'):.4f} -> {result.mean('ssim'):.4f}")
    if "lpips" in result.measures():
        typer.echo(f"LPIPS {result.mean('lpips'):.4f}")
    typer.echo(f"{result.mean('gmacs'):.2f} GMACs and {result.mean('seconds'):.2f} s per picture on {result.device}")


def _write_reports(
    results: list[Evaluation], json_file: Path | None, csv_file: Path | None, markdown_file: Path | None
) -> None:
    from moceir.evaluation.report import to_csv, to_json, to_markdown  # noqa: PLC0415 - keeps --help fast
    from moceir.files import whole_file  # noqa: PLC0415

    for path, to_text in ((json_file, to_json), (csv_file, to_csv), (markdown_file, to_markdown)):
        if path:
            with whole_file(path) as part:
                part.write_text(to_text(results), encoding="utf-8")


def _write_sheet(path: Path, restorer: Restorer, done: list[tuple[TestSet, Evaluation]], worst: int) -> None:
    from moceir.evaluation.sheet import worst_sheet  # noqa: PLC0415 - keeps --help fast
    from moceir.files import whole_file  # noqa: PLC0415

    with whole_file(path) as part:
        worst_sheet(restorer, done, worst).save(part)
