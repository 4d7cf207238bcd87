"""What comes out of a restoration beside the pixels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Self

from moceir import image_io
from moceir.image_io import Picture, Pixels
from moceir.restoration.reports import RoutingReport


@dataclasses.dataclass(frozen=True)
class NetworkResult:
    """What the network made of a picture as it is shown one.

    Attributes:
        pixels: Restored sRGB, ``(H, W, 3)``, of the type that came.
        routing: Which experts worked on it.
        tile_px: Side of the tiles it was restored in; None if it was restored whole, as it should be.
        seconds: Time in the network alone.
    """

    pixels: Pixels
    routing: RoutingReport
    tile_px: int | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class PictureResult:
    """A restored picture, with `FileResult`'s ``tile_px`` and ``routing``."""

    picture: Picture
    routing: RoutingReport
    tile_px: int | None


@dataclasses.dataclass(frozen=True)
class FileResult:
    """What happened to one file.

    Attributes:
        source: The degraded file.
        target: The restored file.
        width: Pixels.
        height: Pixels.
        seconds: Time for reading, restoring and writing.
        tile_px: Side of the tiles it was restored in; None if it was restored whole, as it should be.
        routing: Which experts worked on it.
        notes: What the target has not of the source, in a few words each, as ``16 bits became 8``.
    """

    source: Path
    target: Path
    width: int
    height: int
    seconds: float
    tile_px: int | None = None
    routing: RoutingReport | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, done: PictureResult, source: Path, target: Path, seconds: float) -> Self:
        """The result of a picture that was read and written."""
        height, width = done.picture.rgb.shape[:2]
        notes = (*done.picture.notes, *image_io.losses(done.picture, target.suffix))
        return cls(source, target, width, height, seconds, done.tile_px, done.routing, notes)
