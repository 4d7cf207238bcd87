"""The answer to a batch: a zip with the restored pictures and a report."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from moceir.errors import MoceirError
from moceir.image_io.formats import FORMATS
from moceir.restoration import RestorationResult
from moceir.web.client import REPORT
from moceir.web.jobs import Job
from moceir.web.problems import document, public_class, status_of


def write_archive(names: Sequence[str], jobs: Sequence[Job[RestorationResult[bytes]]], model: str) -> bytes:
    """Build the zip of a batch.

    Args:
        names: What clients called the pictures; the restored ones keep their names, made distinct.
        jobs: The finished jobs, in the same order.
        model: Public name of the model.

    Returns:
        A zip without compression, which pictures do not need. Its last file has a line of JSON for each picture.

    Raises:
        Exception: What a job raised, if it is not an error that a picture can cause.
    """
    buffer, lines, taken = io.BytesIO(), list[str](), {REPORT}
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, job in zip(names, jobs, strict=True):
            error = job.future.exception()
            if error is None:
                result = job.future.result()
                file = _distinct(_restored_name(name, result.format), taken)
                archive.writestr(file, result.restored)
                row = {"input": name, "status": "restored", "file": file, "model": model, **describe(result)}
            elif isinstance(error, MoceirError):
                problem = document(status_of(error), str(error), public_class(error))
                row = {"input": name, "status": "failed", "problem": problem}
            else:
                raise error
            lines.append(json.dumps(row))
        archive.writestr(REPORT, "".join(f"{line}\n" for line in lines))
    return buffer.getvalue()


def describe(result: RestorationResult[Any]) -> dict[str, Any]:
    """Return everything there is to say about a result but the picture, as JSON can hold it."""
    return {
        "format": result.format,
        "width": result.width,
        "height": result.height,
        "seconds": round(result.seconds, 4),
        "network_seconds": round(result.network_seconds, 4),
        "precision": result.precision,
        "tile_px": result.tile_px,
        "upscale": result.upscale,
        "notes": list(result.notes),
        "routing": result.report.to_json(),
    }


def _restored_name(name: str, kind: str) -> str:
    """Return the name of a restored picture: the client's, with a suffix of the format."""
    path = PurePosixPath(name.lstrip(".") or "picture")
    return str(path if path.suffix.lower() in FORMATS[kind] else path.with_suffix(FORMATS[kind][0]))


def _distinct(name: str, taken: set[str]) -> str:
    """Return a name that is not taken yet, and take it; file systems may not tell ``A`` from ``a``."""
    path, number = PurePosixPath(name), 1
    while name.lower() in taken:
        number += 1
        name = f"{path.stem}-{number}{path.suffix}"
    taken.add(name.lower())
    return name
