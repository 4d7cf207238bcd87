"""``moceir evaluate``: PSNR and SSIM of a model on a benchmark, on pairs, or on synthetic degradations."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moceir.cli.options import Device, Model
from moceir.errors import require_extra
from moceir.files import write_text

if TYPE_CHECKING:
    from moceir.evaluation import TestSet


class Protocol(StrEnum):
    """How pictures are cropped before they are compared."""

    published = "published"
    uncropped = "uncropped"


def evaluate_command(
    model: Model = "tiny",
    benchmark: Annotated[
        str | None, typer.Option(help="cbsd68-s15, cbsd68-s25, cbsd68-s50 or rain100l; needs --data.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the test sets.")] = None,
    pairs: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Folders of degraded and clean pictures.", metavar="DEGRADED CLEAN")
    ] = None,
    clean: Annotated[Path | None, typer.Option(help="Folder of clean pictures; needs --degrade.")] = None,
    degrade: Annotated[str | None, typer.Option(help="Degradation, as noise:sigma=25 or rain.")] = None,
    protocol: Annotated[Protocol, typer.Option(help="Crop to multiples of 16, or not.")] = Protocol.published,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first pictures only.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of synthetic degradations.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result there, with a row per picture.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Measure a model: mean PSNR and SSIM before and after, by the published protocol unless told otherwise.

    Examples:

        moceir evaluate --benchmark cbsd68-s25 --data testsets/

        moceir evaluate --pairs hazy/ clear/ --model runs/tiny/best --json result.json

        moceir evaluate --clean photographs/ --degrade noise:sigma=25 --limit 20
    """
    require_extra("skimage", "evaluate")
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import Progress  # noqa: PLC0415

    from moceir.allocator import keep_freed_memory  # noqa: PLC0415
    from moceir.evaluation import evaluate  # noqa: PLC0415
    from moceir.restoration import Restorer  # noqa: PLC0415

    test_set = _choose_set(benchmark, data, pairs, clean, degrade)
    keep_freed_memory()
    restorer = Restorer.from_pretrained(model, device)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(test_set.name, total=len(test_set.files[:limit]))
        result = evaluate(
            restorer,
            model,
            test_set,
            protocol=protocol.value,
            seed=seed,
            limit=limit,
            on_score=lambda _: progress.advance(bar),
        )
    typer.echo(
        f"{result.benchmark}: {len(result.scores)} pictures, {result.protocol} protocol, seed {seed}, model {model}"
    )
    typer.echo(f"PSNR {result.mean('input_psnr_db'):.2f} -> {result.mean('psnr_db'):.2f} dB")
    typer.echo(f"SSIM {result.mean('input_ssim'):.4f} -> {result.mean('ssim'):.4f}")
    typer.echo(f"{result.mean('seconds'):.2f} s per picture on {result.device}")
    if json_file:
        write_text(json_file, json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n")


def _choose_set(
    benchmark: str | None, data: Path | None, pairs: tuple[Path, Path] | None, clean: Path | None, degrade: str | None
) -> TestSet:
    from moceir.evaluation import benchmark_set, paired_set, synthetic_set  # noqa: PLC0415 - keeps --help fast

    if [benchmark is not None, pairs is not None, clean is not None].count(True) != 1:
        raise typer.BadParameter("give exactly one of --benchmark, --pairs and --clean")
    if benchmark is not None:
        if data is None:
            raise typer.BadParameter("--benchmark needs --data, the folder that holds the test sets")
        return benchmark_set(benchmark, data)
    if pairs is not None:
        return paired_set(*pairs)
    if clean is None or degrade is None:
        raise typer.BadParameter("--clean needs --degrade, as --degrade noise:sigma=25")
    return synthetic_set(clean, degrade)
