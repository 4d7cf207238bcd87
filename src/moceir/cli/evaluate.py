"""``moceir evaluate``: PSNR and SSIM of a model on benchmarks, on pairs, or on synthetic degradations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import Device, Model, Precision, Threads
from moceir.errors import require_extra

if TYPE_CHECKING:
    from moceir import evaluation


class Protocol(StrEnum):
    """How pictures are cropped before they are compared."""

    published = "published"
    uncropped = "uncropped"


@dataclass(frozen=True)
class EvaluateArguments:
    """What ``moceir evaluate`` was called with; see ``evaluate_command``."""

    model: str
    benchmarks: list[str]
    data: Path | None
    pairs: tuple[Path, Path] | None
    clean: Path | None
    degradations: list[str]
    protocol: evaluation.Protocol
    limit: int | None
    seed: int
    lpips: bool
    json_file: Path | None
    csv_file: Path | None
    markdown_file: Path | None
    sheet_file: Path | None
    worst: int
    device: str
    threads: int | None
    precision: str


def evaluate_command(
    model: Model = "tiny",
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            help="A benchmark such as rain100l or set5-x4, or a group: aio3, aio5, cdd11, sr2, sr3, sr4 or all (of "
            "restoration). Repeatable; needs --data."
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the test sets.")] = None,
    pairs: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Folders of degraded and clean pictures.", metavar="DEGRADED CLEAN")
    ] = None,
    clean: Annotated[Path | None, typer.Option(help="Folder of clean pictures; needs --degrade.")] = None,
    degrade: Annotated[
        list[str] | None, typer.Option(help="Degradation such as noise:sigma=25 or low_light+haze. Repeatable.")
    ] = None,
    protocol: Annotated[
        Protocol, typer.Option(help="published crops pictures to multiples of 16.")
    ] = Protocol.published,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first pictures of each set.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of synthetic degradations.")] = 0,
    with_lpips: Annotated[
        bool, typer.Option("--lpips", help="Measure LPIPS too; needs the extra moceir[lpips].")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file, with a row per picture.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a row per picture to this file.")] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write a table with the published results to this file.")
    ] = None,
    sheet_file: Annotated[
        Path | None,
        typer.Option("--sheet", help="Draw the worst pictures (input, restored, clean) to this file, .png or .jpg."),
    ] = None,
    worst: Annotated[int, typer.Option(min=1, help="Number of pictures of each test set on the sheet.")] = 4,
    device: Device = "auto",
    threads: Threads = None,
    precision: Precision = "auto",
) -> None:
    """Measure a model: mean PSNR and SSIM before and after, by default with the published protocol.

    A test set that is missing or broken is reported and the others go on. The
    exit code is 0 only if all were measured.

    Examples:

        moceir evaluate --benchmark cbsd68-s25 --data testsets/

        moceir evaluate --benchmark aio3 --data testsets/ --markdown table.md --sheet worst.png

        moceir evaluate --model tiny-x4 --benchmark sr4 --data testsets/ --markdown table.md

        moceir evaluate --pairs hazy/ clear/ --model runs/tiny/best --json result.json

        moceir evaluate --clean photographs/ --degrade noise:sigma=25 --degrade rain+haze --limit 20
    """
    require_extra("skimage", "evaluate")
    if sheet_file:
        require_extra("PIL", "evaluate")
        if sheet_file.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise typer.BadParameter(f"'{sheet_file}' must end in .png or .jpg", param_hint="--sheet")
    arguments = EvaluateArguments(
        model=model,
        benchmarks=benchmark or [],
        data=data,
        pairs=pairs,
        clean=clean,
        degradations=degrade or [],
        protocol=protocol.value,
        limit=limit,
        seed=seed,
        lpips=with_lpips,
        json_file=json_file,
        csv_file=csv_file,
        markdown_file=markdown_file,
        sheet_file=sheet_file,
        worst=worst,
        device=device,
        threads=threads,
        precision=precision,
    )
    _check_usage(arguments)
    implementation("evaluate").run(arguments)


def _check_usage(arguments: EvaluateArguments) -> None:
    """Check that the options name test sets in exactly one way.

    Raises:
        typer.BadParameter: If they do not.
    """
    if [bool(arguments.benchmarks), arguments.pairs is not None, arguments.clean is not None].count(True) != 1:
        raise typer.BadParameter("give exactly one of --benchmark, --pairs and --clean")
    if arguments.clean is not None and not arguments.degradations:
        raise typer.BadParameter("--clean needs --degrade, for example --degrade noise:sigma=25")
