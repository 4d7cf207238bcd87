"""What comes back from a restoration."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from moceir.errors import ConfigError

if TYPE_CHECKING:
    from moceir.restoration.reports import RoutingReport

Restored = TypeVar("Restored")
"""Kind of the picture: array, tensor, PIL image or bytes; None for files."""
Other = TypeVar("Other")


@dataclasses.dataclass(frozen=True)
class RestorationResult(Generic[Restored]):
    """One restored picture, or one batch of tensors, and how it came about.

    Attributes:
        restored: The restored picture, of the kind that was given: an array, a tensor, a PIL image or the bytes of a
            file. None if it was written to ``target``.
        routing: Which experts worked on it, one report per image; empty where an exported file restored it, which
            does not tell.
        width: Of the restored picture, in pixels.
        height: Likewise.
        network_seconds: Time in the network.
        seconds: Time in all, with reading and writing, without waiting in a batch.
        precision: Type of the arithmetic: ``float32``, ``bfloat16`` or ``float16``.
        tile_px: Side of the tiles that it was restored in for lack of memory; None if it was restored whole.
        notes: What the result lacks of the source, in a few words each, for example ``16 bits became 8``.
        format: Format of the file: ``jpeg``, ``png``, ``webp`` or ``tiff``; empty if there is none.
        source: The degraded file, if it came from one.
        target: The restored file, if it went into one.
        psnr_db: PSNR before (enlarged bicubically if need be) and after, if there was a clean picture to measure
            against.
        upscale: Factor by which width and height grew.
    """

    restored: Restored
    routing: tuple[RoutingReport, ...]
    width: int
    height: int
    network_seconds: float
    seconds: float
    precision: str = "float32"
    tile_px: int | None = None
    notes: tuple[str, ...] = ()
    format: str = ""
    source: Path | None = None
    target: Path | None = None
    psnr_db: tuple[float, float] | None = None
    upscale: int = 1

    @property
    def report(self) -> RoutingReport:
        """The routing of the picture; of the first one of a batch.

        Raises:
            ConfigError: If an exported file restored it.
        """
        if not self.routing:
            raise ConfigError("exported files do not tell which experts worked; restore with the backend torch")
        return self.routing[0]

    def with_restored(self, restored: Other, **changes: Any) -> RestorationResult[Other]:
        """Return the same result for the picture in another form."""
        result: Any = dataclasses.replace(cast("Any", self), restored=restored, **changes)
        return result
