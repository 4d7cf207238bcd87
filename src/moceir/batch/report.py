"""The report of a batch: a line of JSON for each file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import IO, Any, Self

from moceir.batch.planning import Job
from moceir.errors import MoceirError
from moceir.files import cannot_write
from moceir.restoration import RestorationResult


class Report:
    """A JSON Lines file with a line for each file, each written at once: after a kill, all but the last are whole.

    An existing report is continued: it then covers all runs that a batch took.

    Args:
        path: The file; its folder is made.

    Raises:
        OutputError: If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("ab+")
            _cut_half_line(self._file)
        except OSError as error:
            raise cannot_write(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, job: Job, outcome: RestorationResult[None] | MoceirError | None) -> None:
        """Add what came of a job; None if it was skipped because its output exists.

        Raises:
            OutputError: If the report cannot be written.
        """
        row: dict[str, Any] = {"input": str(job.source), "output": str(job.target)}
        if isinstance(outcome, RestorationResult):
            size = job.target.stat().st_size
            row |= {"status": "restored", **result_row(outcome, size), "error": None}
        else:
            row |= {
                "status": "skipped" if outcome is None else "failed",
                "error": None if outcome is None else str(outcome),
            }
        try:
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error


def result_row(result: RestorationResult[Any], written_bytes: int) -> dict[str, Any]:
    """Return what a report says about a restored picture.

    Args:
        result: The restoration.
        written_bytes: Size of the file that was written.
    """
    row: dict[str, Any] = {
        "width": result.width,
        "height": result.height,
        "megapixels": result.width * result.height / 1e6,
        "upscale": result.upscale,
        "bytes": written_bytes,
        "seconds": round(result.seconds, 4),
        "network_seconds": round(result.network_seconds, 4),
        "precision": result.precision,
        "route": [list(block) for block in result.report.experts] if result.routing else None,
        "gmacs": round(result.report.gmacs, 3) if result.routing else None,
        "tile_px": result.tile_px,
        "notes": list(result.notes),
    }
    if result.psnr_db is not None:
        before, after = result.psnr_db
        values = {"psnr_before_db": before, "psnr_after_db": after, "psnr_change_db": after - before}
        row |= {name: round(value, 4) if math.isfinite(value) else None for name, value in values.items()}
    return row


def _cut_half_line(file: IO[bytes]) -> None:
    """Remove the half line that a killed run left at the end."""
    end = file.seek(0, os.SEEK_END)
    tail = b""
    while end and b"\n" not in tail:
        start = max(end - 65536, 0)
        file.seek(start)
        tail = file.read(end - start)
        end = start
    whole = end + tail.rfind(b"\n") + 1
    file.truncate(whole)
    file.seek(whole)
