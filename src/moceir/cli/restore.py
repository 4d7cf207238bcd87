"""``moceir restore``: files and folders of pictures in, restored files out."""

from __future__ import annotations

import contextlib
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moceir.cli.jobs import Existing, Overwrite, SkipExisting, Stages, bar, echo, existing_policy, run_jobs
from moceir.cli.options import (
    Device,
    EffortOption,
    ForceExpert,
    Model,
    Precision,
    RouteOption,
    parse_effort,
    parse_experts,
)
from moceir.errors import MoceirError, OutputError

if TYPE_CHECKING:
    from moceir.batch import FileStages, Written
    from moceir.image_io import Limits
    from moceir.planning import Job
    from moceir.restoration import Restorer
    from moceir.results import FileResult

STREAM = Path("-")
OUTPUT, MANY, LIMITS = "What is written", "Many files", "Limits"


class Format(StrEnum):
    """Formats that are written; ``auto`` is the input's."""

    auto = "auto"
    png = "png"
    jpeg = "jpeg"
    webp = "webp"
    tiff = "tiff"


def restore_command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Files, folders (with all below them, but nothing hidden), quoted patterns as 'scans/**/*.tif'; or - "
            "for one picture from standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A folder (made if needed; sub-folders are mirrored), a file for one file, or - for standard output. "
            "With --suffix it can be left out: results then lie beside their inputs.",
            show_default=False,
        ),
    ] = None,
    model: Model = "tiny",
    device: Device = "auto",
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="How much of the restoration to take: 0 is none, 1 is all.")
    ] = 1.0,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="auto is the input's (PNG where that is only read, as AVIF).",
            rich_help_panel=OUTPUT,
        ),
    ] = Format.auto,
    quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Of JPEG and WebP, 1 to 100.", show_default="95", rich_help_panel=OUTPUT),
    ] = None,
    suffix: Annotated[
        str, typer.Option(help="Added to names, as _restored.", show_default=False, rich_help_panel=OUTPUT)
    ] = "",
    strip_metadata: Annotated[
        bool,
        typer.Option(
            "--strip-metadata",
            help="Leave out EXIF (with place and time), XMP, IPTC and comments. The colour profile stays.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    sequence: Annotated[
        bool,
        typer.Option(
            "--sequence",
            help="Folders hold frames of videos: one route per shot, so that nothing flickers.",
            rich_help_panel=MANY,
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add a line of JSON for each file: size, seconds, route, error ...",
            show_default=False,
            rich_help_panel=MANY,
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Clean pictures with the names of the inputs; the report then has the PSNR before and after.",
            show_default=False,
            rich_help_panel=MANY,
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="What the network may take for a picture, as 4GB; above it, pictures are restored in tiles.",
            show_default="most of what is free",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_megapixels: Annotated[
        float | None,
        typer.Option(
            help="Refuse larger pictures: small files can unpack to more than there is memory.",
            show_default="what memory allows, at most 500",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_file_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Refuse larger files.", show_default="2GB", rich_help_panel=LIMITS),
    ] = None,
    effort: EffortOption = "auto",
    experts: RouteOption = None,
    force_expert: ForceExpert = None,
    precision: Precision = "auto",
) -> None:
    """Restore pictures: noise, rain, haze, blur, low light, JPEG artefacts or several at once.

    The network finds out by itself what is wrong with a picture. JPEG, PNG, WebP, TIFF and AVIF, 8 or 16 bits, of any
    size. Results have the size, depth, transparency, colour profile, metadata and orientation of their inputs.

    Inputs are never replaced, and existing outputs only with --overwrite. An output is written whole or not at all;
    after an interruption the same command with --skip-existing goes on where it ended. Ctrl-C finishes the picture in
    hand.

    Each file gets one line. One that fails is reported and the others go on. The exit code is 0 only if all succeeded,
    1 if some failed or are left to do, 2 for wrong usage.

    Examples:

        moceir restore photo.jpg -o restored.jpg

        moceir restore scans/ more/*.png -o restored/ --skip-existing --report restored/report.jsonl

        moceir restore holiday/ --suffix _restored --strength 0.7

        moceir restore scans/ -o fast/ --effort low

        moceir restore raw.tif -o web/ --format webp --quality 85 --strip-metadata

        moceir restore frames/ -o clean_frames/ --sequence

        curl -s https://example.org/a.jpg | moceir restore - -o - > a.jpg
    """
    streamed = STREAM in (*inputs, output)
    _check_usage(inputs, output, file_format, quality, suffix, streamed and (sequence or bool(report or reference)))
    route = parse_experts(experts, force_expert)
    shift = parse_effort(effort)
    if sequence and (route != "auto" or shift not in ("auto", 0)):
        raise typer.BadParameter("--sequence chooses the experts itself; leave out --effort, --experts, --force-expert")
    existing = existing_policy(overwrite, skip_existing)

    from moceir.allocator import keep_freed_memory  # noqa: PLC0415 - keeps --help fast
    from moceir.batch import FileStages, limits_that_fit  # noqa: PLC0415
    from moceir.image_io.formats import DEFAULT_QUALITY  # noqa: PLC0415
    from moceir.memory import parse_bytes  # noqa: PLC0415
    from moceir.planning import Naming, plan  # noqa: PLC0415
    from moceir.restoration import Restorer  # noqa: PLC0415

    kind = None if file_format is Format.auto else file_format.value
    limits = limits_that_fit(
        None if max_megapixels is None else round(max_megapixels * 1e6),
        None if max_file_size is None else parse_bytes(max_file_size),
    )
    jobs, problems = ([], []) if streamed else plan(inputs, Naming(output, kind, suffix))
    keep_freed_memory()
    restorer = Restorer.from_pretrained(model, device, route, memory_limit, shift, precision)
    restorers = _by_shot(restorer, jobs, limits) if sequence else {}
    stages = FileStages(
        lambda source: restorers.get(source, restorer),
        limits=limits,
        strength=strength,
        quality=quality or DEFAULT_QUALITY,
        strip=strip_metadata,
        reference=reference,
    )
    if streamed:
        _restore_stream(stages, inputs[0], output or STREAM, kind, existing is Existing.REPLACE)
    else:
        _restore_files(stages, jobs, problems, existing, report)


def _check_usage(
    inputs: list[Path], output: Path | None, file_format: Format, quality: int | None, suffix: str, alone: bool
) -> None:
    """Refuse options that contradict each other.

    Raises:
        typer.BadParameter: If they do.
    """
    if STREAM in (*inputs, output) and len(inputs) > 1:
        raise typer.BadParameter("- stands for one picture; give no other input")
    if alone:
        raise typer.BadParameter("--sequence, --report and --reference are for files and folders, not for -")
    if output is None and not suffix and STREAM not in inputs:
        raise typer.BadParameter("say where results go: -o OUTPUT, or --suffix for names beside the inputs")
    if "/" in suffix or "\\" in suffix:
        raise typer.BadParameter(f"'{suffix}' is added to names and cannot hold a slash; give -o OUTPUT for a folder")
    if quality is not None and file_format in (Format.png, Format.tiff):
        raise typer.BadParameter(f"{file_format} keeps every level and has no --quality")


def _by_shot(restorer: Restorer, jobs: list[Job], limits: Limits) -> dict[Path, Restorer]:
    """The restorer of each frame, and a line that says how many shots there are."""
    from moceir.sequence import routes_by_shot  # noqa: PLC0415 - keeps --help fast

    with bar("looking for shots", len(jobs)) as advance:
        restorers, shots = routes_by_shot(restorer, jobs, limits, advance)
    starts = ", ".join(shot[0].name for shot in shots[:5]) + (" ..." if len(shots) > 5 else "")
    echo(f"{len(restorers)} frames in {len(shots)} shots, which begin with {starts or 'none'}", err=True)
    return restorers


def _restore_files(
    stages: FileStages, jobs: list[Job], problems: list[str], existing: Existing, report: Path | None
) -> None:
    """Restore all jobs, with a line for each and in the report."""
    from moceir.batch import Report  # noqa: PLC0415 - keeps --help fast

    megapixels = network_seconds = 0.0
    with contextlib.ExitStack() as opened:
        lines = opened.enter_context(Report(report)) if report else None

        def record(job: Job, outcome: Written | MoceirError | None) -> None:
            nonlocal megapixels, network_seconds
            if lines:
                lines.add(job, outcome)
            if outcome and not isinstance(outcome, MoceirError):
                megapixels += outcome.result.width * outcome.result.height / 1e6
                network_seconds += outcome.network_seconds

        def summarize(seconds: float) -> str:
            share = f"{network_seconds / seconds:.0%} of the time in the network"
            return f", {megapixels / seconds:.3g} megapixels/s, {share}" if network_seconds else ""

        run_jobs(
            jobs,
            problems,
            Stages("restored", stages.read, stages.work, stages.write, _describe, record, summarize),
            existing,
        )


def _describe(written: Written) -> str:
    """What the line of a restored file says of it."""
    parts = [_size_and_time(written.result)]
    if written.psnr_db is not None:
        before, after = written.psnr_db
        parts.append(f"PSNR {before:.2f} -> {after:.2f} dB")
    return ", ".join(parts)


def _size_and_time(result: FileResult) -> str:
    tiles = [] if result.tile_px is None else [f"in tiles of {result.tile_px} for lack of memory"]
    return ", ".join([f"{result.width}x{result.height}, {result.seconds:.2f} s", *tiles, *result.notes])


def _restore_stream(stages: FileStages, source: Path, target: Path, kind: str | None, overwrite: bool) -> None:
    """Restore one picture from standard input, to standard output, or both."""
    from moceir import image_io  # noqa: PLC0415 - keeps --help fast
    from moceir.image_io.formats import FORMATS  # noqa: PLC0415
    from moceir.planning import check_target  # noqa: PLC0415
    from moceir.results import FileResult  # noqa: PLC0415

    began = time.perf_counter()
    if target == STREAM and sys.stdout.isatty():
        raise typer.BadParameter("standard output is a terminal; lead it into a file or another command")
    if target != STREAM:
        check_target(target, exists_is_fine=overwrite)
    if source == STREAM:
        data = sys.stdin.buffer.read(stages.limits.max_bytes + 1)
        picture = image_io.decode(data, "standard input", stages.limits)
    else:
        picture = image_io.read(source, stages.limits)
    done = stages.restorer_for(source).restore_picture(picture, strength=stages.strength)
    if target == STREAM:
        kind = kind or (picture.format if picture.format in FORMATS else "png")
        target = Path(f"standard output{FORMATS[kind][0]}")
        try:
            sys.stdout.buffer.write(image_io.encode(done.picture, kind, quality=stages.quality, strip=stages.strip))
            sys.stdout.buffer.flush()
        except OSError as error:
            raise OutputError(f"cannot write to standard output: {error.strerror}; check what reads it") from error
    else:
        image_io.protect_original(source, target)
        image_io.write(target, done.picture, quality=stages.quality, strip=stages.strip)
    result = FileResult.of(done, source, target, time.perf_counter() - began)
    echo(f"restored {source} -> {target} ({_size_and_time(result)})", err=True)
