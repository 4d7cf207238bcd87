"""One picture from standard input, to standard output, or both."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from moceir.cli.jobs import echo
from moceir.errors import OutputError

if TYPE_CHECKING:
    from moceir.batch.stages import FileStages
    from moceir.restoration.results import FileResult

STREAM = Path("-")


def restore_stream(stages: FileStages, source: Path, target: Path, kind: str | None, overwrite: bool) -> None:
    """Restore one picture from standard input, to standard output, or both."""
    from moceir import image_io  # noqa: PLC0415 - keeps --help fast
    from moceir.batch.planning import check_target  # noqa: PLC0415
    from moceir.image_io.formats import FORMATS  # noqa: PLC0415
    from moceir.restoration.results import FileResult  # noqa: PLC0415

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
    echo(f"restored {source} -> {target} ({size_and_time(result)})", err=True)


def size_and_time(result: FileResult) -> str:
    """What the line of a restored picture says of it."""
    tiles = [] if result.tile_px is None else [f"in tiles of {result.tile_px} for lack of memory"]
    return ", ".join([f"{result.width}x{result.height}, {result.seconds:.2f} s", *tiles, *result.notes])
