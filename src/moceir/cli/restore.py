"""``moceir restore``: files and folders of pictures in, restored files out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import (
    OUTPUT,
    Compiled,
    Device,
    EffortOption,
    ForceExpert,
    Model,
    Overwrite,
    Precision,
    RouteOption,
    SkipExisting,
    Threads,
)

MANY, LIMITS, SERVER = "Many files", "Limits", "Another machine"


class Format(StrEnum):
    """Formats that are written; ``auto`` is the input's."""

    auto = "auto"
    png = "png"
    jpeg = "jpeg"
    webp = "webp"
    tiff = "tiff"


@dataclass(frozen=True)
class RestoreArguments:
    """What ``moceir restore`` was called with.

    Attributes:
        inputs: Files, folders, patterns, or ``-``.
        output: A folder, a file, ``-``, or None for the folder of each input.
        suffix: Added to the names of results.
        overwrite: Whether existing results are replaced.
        skip_existing: Whether inputs with existing results are skipped.
        sequence: Whether folders hold frames of videos.
        report: File to which a line of JSON is added for each picture.
        reference: Folder of clean pictures to measure against.
        force_expert: ``cheapest`` or ``dearest``.
        server: Address of a server that restores the pictures instead of this machine.
        token_file: File whose first line is the server's token.
        asked: Fields of ``moceir.RestoreOptions``; None where an option was left out.
    """

    inputs: list[Path]
    output: Path | None
    suffix: str
    overwrite: bool
    skip_existing: bool
    sequence: bool
    report: Path | None
    reference: Path | None
    force_expert: str | None
    server: str | None
    token_file: Path | None
    asked: dict[str, Any]


def restore_command(
    context: typer.Context,
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
    keep_tones: Annotated[
        bool,
        typer.Option(
            "--keep-tones",
            metavar="",
            help="Keep brightness and colours at large scales: for dusk and mist, which are not faults.",
        ),
    ] = False,
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
            min=1e-6,
            max=1e6,
            help="Refuse larger pictures: small files can unpack to more than there is memory.",
            show_default="what memory allows, at most 500",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_file_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Refuse larger files, as 500MB.", show_default="2GB", rich_help_panel=LIMITS),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Let 'moceir serve' at this address restore the pictures, as http://127.0.0.1:7860.",
            show_default=False,
            rich_help_panel=SERVER,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the server's token.", show_default=False, rich_help_panel=SERVER),
    ] = None,
    effort: EffortOption = "auto",
    experts: RouteOption = None,
    force_expert: ForceExpert = None,
    precision: Precision = "auto",
    compiled: Compiled = False,
    threads: Threads = None,
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

        On another machine:
            moceir restore scans/ -o restored/ --server http://10.0.0.7:7860 \
                --token-file token.txt

    Exit codes:

        0  all pictures were restored, or skipped as asked
        1  something failed or is left to do; standard error says what
        2  wrong usage; nothing was written

    Every error with what to do about it is in docs/errors.md; formats, colours,
    metadata, reports and sequences are in docs/files.md.
    """
    asked = {
        "model": model,
        "device": device,
        "precision": precision,
        "compiled": compiled,
        "threads": threads,
        "experts": experts,
        "effort": effort,
        "strength": strength,
        "keep_tones": keep_tones,
        "memory_limit": memory_limit,
        "format": None if file_format is Format.auto else file_format.value,
        "quality": quality,
        "metadata": "strip" if strip_metadata else "keep",
        "max_pixels": None if max_megapixels is None else max_megapixels * 1e6,
        "max_bytes": max_file_size,
    }
    source = context.get_parameter_source("model")
    if server is not None and source is not None and source.name == "DEFAULT":
        del asked["model"]  # the server has a default of its own
    arguments = RestoreArguments(
        inputs=inputs,
        output=output,
        suffix=suffix,
        overwrite=overwrite,
        skip_existing=skip_existing,
        sequence=sequence,
        report=report,
        reference=reference,
        force_expert=force_expert,
        server=server,
        token_file=token_file,
        asked=asked,
    )
    implementation("restore").run(arguments)
