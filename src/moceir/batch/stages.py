"""Many picture files: what is read, restored, written and reported of each."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import torch

from moceir import image_io
from moceir.batch.planning import Job
from moceir.data.metrics import psnr_db
from moceir.errors import ImageError, MoceirError
from moceir.files import cannot_write
from moceir.image_io import Limits, Picture, Pixels
from moceir.image_io.formats import DEFAULT_QUALITY
from moceir.machine.allocator import Heap
from moceir.machine.memory import available_bytes
from moceir.restoration import Restorer
from moceir.restoration.results import FileResult, NetworkResult, PictureResult

BYTES_PER_PIXEL = 60
"""What a picture of 16 bits with alpha takes at its peak, as it is decoded and as it is shown to the network."""


def limits_that_fit(max_pixels: int | None = None, max_bytes: int | None = None) -> Limits:
    """Limits of files, where not given the defaults, and no more pixels than there is memory to decode.

    Raises:
        ConfigError: If a limit is not positive.
    """
    given = {"max_pixels": max_pixels, "max_bytes": max_bytes}
    limits = Limits(**{name: value for name, value in given.items() if value is not None})
    free = available_bytes(torch.device("cpu"))
    if max_pixels is not None or free is None:
        return limits
    return replace(limits, max_pixels=max(min(limits.max_pixels, free // BYTES_PER_PIXEL), 1))


@dataclass(frozen=True)
class Opened:
    """A picture that was read, what the network is to see of it, and how long that took."""

    picture: Picture
    seen: Pixels
    seconds: float


@dataclass(frozen=True)
class Restored:
    """The same, what the network made of it, and how long it took so far."""

    opened: Opened
    answer: NetworkResult
    seconds: float


@dataclass(frozen=True)
class Written:
    """What the report says of one file that was restored.

    Attributes:
        result: Files, size, route, notes; its seconds are those of all three stages without waiting.
        network_seconds: Those of the network itself, which is most of the second stage.
        psnr_db: Before and after, against the reference; None without one.
    """

    result: FileResult
    network_seconds: float
    psnr_db: tuple[float, float] | None


class FileStages:
    """The three stages of restoring a file, for ``moceir.batch.pipeline.overlapped``.

    Args:
        restorer_for: Gives the restorer of a file.
        limits: How large a file may be.
        strength: How much of the restoration is taken, 0 to 1.
        quality: Of lossy formats, 1 to 100.
        strip: Whether metadata are left out.
        reference: Folder of clean pictures of the same places and names (suffixes may differ), to measure against.

    Raises:
        ImageError: If the reference is no folder or holds no pictures.
    """

    def __init__(
        self,
        restorer_for: Callable[[Path], Restorer],
        *,
        limits: Limits,
        strength: float = 1.0,
        quality: int = DEFAULT_QUALITY,
        strip: bool = False,
        reference: Path | None = None,
    ) -> None:
        self.restorer_for = restorer_for
        self.limits = limits
        self.strength = strength
        self.quality = quality
        self.strip = strip
        if reference is not None and not reference.is_dir():
            raise ImageError(
                f"the reference {reference} is no folder; give one with clean pictures named as the inputs"
            )
        references = image_io.find([reference]) if reference else []
        self.references = {image_io.matching_name(place): path for path, place in references}
        self.measured = reference is not None
        self._heap = Heap()

    def read(self, job: Job) -> Opened:
        """First stage."""
        began = time.perf_counter()
        picture = image_io.read(job.source, self.limits)
        return Opened(picture, image_io.to_network(picture), time.perf_counter() - began)

    def work(self, job: Job, opened: Opened) -> Restored:
        """Second stage: the network, and as little else as can be."""
        began = time.perf_counter()
        answer = self.restorer_for(job.source).restore_pixels(opened.seen, strength=self.strength)
        self._heap.settle()
        return Restored(opened, answer, opened.seconds + time.perf_counter() - began)

    def write(self, job: Job, restored: Restored) -> Written:
        """Third stage."""
        began = time.perf_counter()
        before, answer = restored.opened.picture, restored.answer
        picture = image_io.from_network(before, restored.opened.seen, answer.pixels)
        measured = self._measure(job, before, picture) if self.measured else None
        image_io.protect_original(job.source, job.target)
        image_io.write(job.target, picture, quality=self.quality, strip=self.strip)
        seconds = restored.seconds + time.perf_counter() - began
        done = PictureResult(picture, answer.routing, answer.tile_px)
        return Written(FileResult.of(done, job.source, job.target, seconds), answer.seconds, measured)

    def _measure(self, job: Job, before: Picture, after: Picture) -> tuple[float, float] | None:
        """PSNR in dB before and after, in sRGB; None if there is no picture to measure against."""
        path = self.references.get(image_io.matching_name(job.place))
        if path is None:
            return None
        clean = image_io.read(path, self.limits)
        return _psnr(before, clean, path), _psnr(after, clean, path)


def _psnr(picture: Picture, clean: Picture, path: Path) -> float:
    if picture.rgb.shape != clean.rgb.shape:
        sizes = " and ".join(f"{p.rgb.shape[1]}x{p.rgb.shape[0]}" for p in (picture, clean))
        raise ImageError(f"the reference {path} differs in size ({sizes}); mend the pair or leave --reference out")
    both = [_to_tensor(image_io.to_srgb(one)) for one in (picture, clean)]
    return float(psnr_db(*both))


def _to_tensor(pixels: Pixels) -> torch.Tensor:
    scaled = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return torch.from_numpy(scaled).permute(2, 0, 1)[None]


class Report:
    """A JSON Lines file with a line for each file, each written at once: after a kill, all but the last are whole.

    A report that is there is continued, so that the runs that a batch took are together in one.

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

    def add(self, job: Job, outcome: Written | MoceirError | None) -> None:
        """Say what came of a job; None if it was skipped because its output was there.

        Raises:
            OutputError: If the report cannot be written.
        """
        row: dict[str, Any] = {"input": str(job.source), "output": str(job.target)}
        if isinstance(outcome, Written):
            row |= {"status": "restored", **_row(outcome), "error": None}
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


def _row(written: Written) -> dict[str, Any]:
    result = written.result
    row: dict[str, Any] = {
        "width": result.width,
        "height": result.height,
        "megapixels": result.width * result.height / 1e6,
        "bytes": result.target.stat().st_size,
        "seconds": round(result.seconds, 4),
        "network_seconds": round(written.network_seconds, 4),
        "route": None if result.routing is None else [list(block) for block in result.routing.experts],
        "gmacs": None if result.routing is None else round(result.routing.gmacs, 3),
        "tile_px": result.tile_px,
        "notes": list(result.notes),
    }
    if written.psnr_db is not None:
        before, after = written.psnr_db
        values = {"psnr_before_db": before, "psnr_after_db": after, "psnr_change_db": after - before}
        row |= {name: round(value, 4) if math.isfinite(value) else None for name, value in values.items()}
    return row


def _cut_half_line(file: IO[bytes]) -> None:
    """Remove what a killed run left of its last line."""
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
