"""``moceir restore``: files and folders of pictures in, restored files out."""

from __future__ import annotations

import contextlib
import math
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moceir.cli.jobs import OUTPUT, Existing, Overwrite, SkipExisting, Stages, bar, echo, existing_policy, run_jobs
from moceir.cli.options import (
    Compiled,
    Device,
    EffortOption,
    ForceExpert,
    Model,
    Precision,
    RouteOption,
    parse_effort,
    parse_experts,
)
from moceir.cli.streams import STREAM, restore_stream, size_and_time
from moceir.errors import MoceirError

if TYPE_CHECKING:
    from moceir.batch.planning import Job
    from moceir.batch.stages import FileStages, Written
    from moceir.image_io import Limits
    from moceir.restoration import Restorer

MANY, LIMITS = "Many files", "Limits"


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
            metavar="INPUT",
            help="Files, folders (with all below them, but nothing hidden) and quoted patterns as 'scans/**/*.tif'; or "
            "- for one picture from standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PLACE",
            help="A folder (made if needed; sub-folders are mirrored), a file for one file, or - for standard output. "
            "With --suffix it can be left out: results then lie beside their inputs.",
            show_default=False,
        ),
    ] = None,
    model: Model = "tiny",
    device: Device = "auto",
    strength: Annotated[
        float, typer.Option(metavar="0..1", help="How much of the restoration to take: 0 is none, 1 is all.")
    ] = 1.0,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="png, jpeg, webp, tiff, or auto: the input's (PNG where that is only read, as AVIF).",
            rich_help_panel=OUTPUT,
        ),
    ] = Format.auto,
    quality: Annotated[
        int | None,
        typer.Option(metavar="1..100", help="Of JPEG and WebP.", show_default="95", rich_help_panel=OUTPUT),
    ] = None,
    suffix: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Added to names, as _restored.", show_default=False, rich_help_panel=OUTPUT),
    ] = "",
    strip_metadata: Annotated[
        bool,
        typer.Option(
            "--strip-metadata",
            metavar="",
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
            metavar="",
            help="Folders hold frames of videos: one route per shot, so that a changing route cannot make it flicker.",
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
            help="Clean pictures with the names of the inputs: lines and report then have the PSNR before and after.",
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
            metavar="NUMBER",
            help="Refuse larger pictures: small files can unpack to more than there is memory.",
            show_default="what memory allows, at most 500",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_file_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Refuse larger files, as 500MB.", show_default="2GB", rich_help_panel=LIMITS),
    ] = None,
    effort: EffortOption = "auto",
    experts: RouteOption = None,
    force_expert: ForceExpert = None,
    precision: Precision = "auto",
    compiled: Compiled = False,
) -> None:
    r"""Restore pictures: take out noise, rain, haze, blur, darkness and JPEG artefacts.

    The network finds out by itself what is wrong with a picture. JPEG, PNG, WebP,
    TIFF and AVIF files are read, of any size, with 8 or 16 bits. Results have the
    size, depth, transparency, colours, metadata and orientation of their inputs.

    Inputs are never replaced, and existing results only with --overwrite. A
    result is written whole or not at all. Ctrl-C finishes the picture in hand;
    after any interruption the same command with --skip-existing goes on.

    Each file gets a line on standard output. One that fails gets a line on
    standard error, and the others go on.

    Examples:

        One photograph:
            moceir restore photo.jpg -o restored.jpg

        Folders with all below them, with a report; the same command goes on
        where it was interrupted:
            moceir restore scans/ more/ -o restored/ --skip-existing \
                --report report.jsonl

        Results beside the originals, and not too much of a good thing:
            moceir restore holiday/ --suffix _restored --strength 0.7

        For the web, without place and time:
            moceir restore 'raw/*.tif' -o web/ --format webp --quality 85 \
                --strip-metadata

        Quick, with cheap experts; in little memory:
            moceir restore scans/ -o fast/ --effort low --memory-limit 2GB

        Frames of a video:
            moceir restore frames/ -o clean_frames/ --sequence

        In a pipe:
            curl -s https://example.org/a.jpg | moceir restore - -o - > a.jpg

    Exit codes:

        0  all pictures were restored, or skipped as asked
        1  something failed or is left to do; standard error says what
        2  wrong usage; nothing was written

    Every error with what to do about it is in docs/errors.md; formats, colours,
    metadata, reports and sequences are in docs/files.md.
    """
    streamed = STREAM in (*inputs, output)
    if streamed:
        named = {
            "--sequence": sequence,
            "--report": report,
            "--reference": reference,
            "--suffix": suffix,
            "--skip-existing": skip_existing,
        }
        _check_stream(inputs, [name for name, value in named.items() if value])
    _check_usage(inputs, output, file_format, quality, suffix)
    route = parse_experts(experts, force_expert)
    shift = parse_effort(effort)
    if sequence and (route != "auto" or shift not in ("auto", 0)):
        raise typer.BadParameter("--sequence chooses the experts itself; leave out --effort, --experts, --force-expert")
    existing = existing_policy(overwrite, skip_existing)

    from moceir.batch.planning import Naming, check_reports, plan  # noqa: PLC0415
    from moceir.batch.stages import FileStages  # noqa: PLC0415
    from moceir.image_io.formats import DEFAULT_QUALITY  # noqa: PLC0415
    from moceir.machine.allocator import keep_freed_memory  # noqa: PLC0415 - keeps --help fast
    from moceir.restoration.restorer import Restorer, check_strength  # noqa: PLC0415

    kind = None if file_format is Format.auto else file_format.value
    check_strength(strength)
    limits = _limits(max_megapixels, max_file_size)
    jobs, problems = ([], []) if streamed else plan(inputs, Naming(output, kind, suffix))
    _check_quality(quality, jobs)
    check_reports(report)
    keep_freed_memory()
    restorer = Restorer.from_pretrained(model, device, route, memory_limit, shift, precision, compiled)
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
        restore_stream(stages, inputs[0], output or STREAM, kind, existing is Existing.REPLACE)
    else:
        _restore_files(stages, jobs, problems, existing, report)


def _check_stream(inputs: list[Path], of_names: list[str]) -> None:
    """Refuse what does not go with one picture in a pipe.

    Raises:
        typer.BadParameter: If there are other inputs, or options that need the names of files.
    """
    if len(inputs) > 1:
        raise typer.BadParameter("- stands for one picture; give no other input")
    if of_names:
        raise typer.BadParameter(f"- stands for one picture without a name; leave out {', '.join(of_names)}")


def _check_usage(
    inputs: list[Path], output: Path | None, file_format: Format, quality: int | None, suffix: str
) -> None:
    """Refuse options that contradict each other.

    Raises:
        typer.BadParameter: If they do.
    """
    if output is None and not suffix and STREAM not in inputs:
        raise typer.BadParameter("say where results go: -o OUTPUT, or --suffix for names beside the inputs")
    if "/" in suffix or "\\" in suffix:
        raise typer.BadParameter(f"'{suffix}' is added to names and cannot hold a slash; give -o OUTPUT for a folder")
    if quality is not None and not 1 <= quality <= 100:
        raise typer.BadParameter(f"{quality} is no quality; give 1 (small files) to 100 (good pictures)")
    if quality is not None and file_format in (Format.png, Format.tiff):
        raise typer.BadParameter(f"{file_format} keeps every level and has no --quality")


def _check_quality(quality: int | None, jobs: list[Job]) -> None:
    """Refuse a quality that would be ignored.

    Raises:
        typer.BadParameter: If no output has one.
    """
    from moceir.image_io.formats import LOSSY, format_of  # noqa: PLC0415 - keeps --help fast

    if quality is not None and jobs and not any(format_of(job.target.suffix) in LOSSY for job in jobs):
        raise typer.BadParameter(
            "--quality is of JPEG and WebP, and no output is either; leave it out, or add --format"
        )


def _limits(max_megapixels: float | None, max_file_size: str | None) -> Limits:
    """Limits of files from two options.

    Raises:
        typer.BadParameter: If the number of megapixels is none.
        ConfigError: If the file size is none.
    """
    from moceir.batch.stages import limits_that_fit  # noqa: PLC0415 - keeps --help fast
    from moceir.machine.memory import parse_bytes  # noqa: PLC0415

    if max_megapixels is not None and not 0 < max_megapixels < math.inf:
        raise typer.BadParameter(f"--max-megapixels {max_megapixels:g} makes no sense; give millions of pixels, as 100")
    return limits_that_fit(
        None if max_megapixels is None else max(round(max_megapixels * 1e6), 1),
        None if max_file_size is None else parse_bytes(max_file_size),
    )


def _by_shot(restorer: Restorer, jobs: list[Job], limits: Limits) -> dict[Path, Restorer]:
    """The restorer of each frame, and a line that says how many shots there are."""
    from moceir.batch.shots import routes_by_shot  # noqa: PLC0415 - keeps --help fast

    with bar("looking for shots", len(jobs)) as advance:
        restorers, shots = routes_by_shot(restorer, jobs, limits, advance)
    starts = ", ".join(shot[0].name for shot in shots[:5]) + (" ..." if len(shots) > 5 else "")
    echo(f"{len(restorers)} frames in {len(shots)} shots, which begin with {starts or 'none'}", err=True)
    return restorers


def _restore_files(
    stages: FileStages, jobs: list[Job], problems: list[str], existing: Existing, report: Path | None
) -> None:
    """Restore all jobs, with a line for each and in the report."""
    from moceir.batch.stages import Report  # noqa: PLC0415 - keeps --help fast

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

        describe = partial(_describe, measured=stages.measured)
        run_jobs(
            jobs,
            problems,
            Stages("restored", stages.read, stages.work, stages.write, describe, record, summarize),
            existing,
        )


def _describe(written: Written, *, measured: bool) -> str:
    """What the line of a restored file says of it."""
    parts = [size_and_time(written.result)]
    if written.psnr_db is not None:
        before, after = written.psnr_db
        parts.append(f"PSNR {before:.2f} -> {after:.2f} dB")
    elif measured:
        parts.append("no reference")
    return ", ".join(parts)
