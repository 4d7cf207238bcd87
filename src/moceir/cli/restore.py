"""``moceir restore``: files and folders of pictures in, restored files out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import (
    OUTPUT,
    Backend,
    BackendOption,
    Compiled,
    Device,
    EffortOption,
    FileFormat,
    ForceExpert,
    Format,
    KeepTones,
    MaxFileSize,
    MaxMegapixels,
    MemoryLimit,
    Model,
    Overwrite,
    Precision,
    Quality,
    RouteOption,
    SkipExisting,
    Strength,
    StripMetadata,
    Threads,
    Upscale,
    asked_options,
)

MANY, SERVER = "Many files", "Another machine"


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
    upscale: Upscale = None,
    backend: BackendOption = Backend.auto,
    device: Device = "auto",
    strength: Strength = 1.0,
    keep_tones: KeepTones = False,
    file_format: FileFormat = Format.auto,
    quality: Quality = None,
    suffix: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Added to names, as _restored.", show_default=False, rich_help_panel=OUTPUT),
    ] = "",
    strip_metadata: StripMetadata = False,
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
    memory_limit: MemoryLimit = None,
    max_megapixels: MaxMegapixels = None,
    max_file_size: MaxFileSize = None,
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
    r"""Restore pictures: take out noise, rain, haze, blur, darkness and JPEG artefacts; or enlarge them.

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

        Four times as wide and high; sizes and resolutions in metadata follow:
            moceir restore small.jpg -o large.png --upscale 4

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
    asked = asked_options(context.params) | {"threads": threads}
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
