"""What computes the network: torch, or an exported file in onnxruntime."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moceir.config import ModelConfig
from moceir.errors import MissingExtraError, TooLargeError
from moceir.machine.memory import describe_bytes
from moceir.onnx_files import SUFFIX
from moceir.restoration.options import RestoreOptions
from moceir.restoration.pixels import Images
from moceir.restoration.result import RestorationResult
from moceir.restoration.tiles import tile_sides

if TYPE_CHECKING:
    from torch import Tensor

Done = TypeVar("Done")

FREE_SHARE = 0.9
"""How much of the free memory is used if no limit is given."""
ASK_EVERY_S = 1.0
"""How old an answer may be to how much memory is free: asking takes as long as a small picture."""


class Backend(Protocol):
    """A loaded network, shared by all restorers that differ only in what they ask of it."""

    config: ModelConfig
    """Shape of the network."""
    batch_pixels: int
    """Pixels of the largest batch that is faster than its pictures one by one; 0 where no batch is."""

    @property
    def model(self) -> Any:
        """The network in torch."""
        ...

    @property
    def device(self) -> Any:
        """The device of torch that computes."""
        ...

    def check(self, options: RestoreOptions) -> None:
        """Check the options that depend on the network and its device."""
        ...

    def upscale(self, options: RestoreOptions) -> int:
        """Return the factor by which pictures grow."""
        ...

    def needed_bytes(self, height: int, width: int, tile: int | None = None, images: int = 1) -> int:
        """Predict the peak memory of restoring pictures, whole or in tiles, beside the loaded network."""
        ...

    def restore(self, images: Images, options: RestoreOptions) -> RestorationResult[Images]:
        """Restore a batch ``(B, 3, H, W)`` of RGB in [0, 1]; the result has the same range, and grows by the factor."""
        ...

    def restore_tensor(self, images: Tensor, options: RestoreOptions) -> RestorationResult[Tensor]:
        """Do the same for a tensor on any device."""
        ...


def open_backend(options: RestoreOptions) -> Backend:
    """Load the model that options name into what is to compute it.

    Raises:
        ConfigError: If the device is not there.
        MissingExtraError: If the backend is not installed.
        WeightsError: If the model is missing, damaged or unsafe.
        ExportError: If the model had to be exported, and the file would compute something else.
    """
    exported = options.model.endswith(SUFFIX)
    if not exported and find_spec("torch") is None:
        raise MissingExtraError(
            f"the model '{options.model}' needs torch, which is not installed; give a file of moceir export as the "
            "model, or install torch"
        )
    # What is imported from here on needs libraries that the other ways do without.
    if options.chosen_backend == "torch":
        from moceir.restoration.engine import Engine, prepare_device  # noqa: PLC0415
        from moceir.weights import load  # noqa: PLC0415

        prepare_device(options)
        return Engine(load(options.network), options)
    from moceir.restoration.exported import ExportedNetwork  # noqa: PLC0415

    path = Path(options.model)
    if not exported:
        from moceir.export.cache import cached_export  # noqa: PLC0415

        path = cached_export(options.network)
    return ExportedNetwork(path, options.threads)


class Room:
    """Memory of a device for restorations, which are whole where they fit and else in the largest tiles that do.

    Args:
        where: What errors call the device.
        free_bytes: Asks how much is free; None is unknown.
    """

    def __init__(self, where: str, free_bytes: Callable[[], int | None]) -> None:
        self._where = where
        self._free_bytes = free_bytes
        self._free: tuple[float, int | None] = (-math.inf, None)

    def fit(
        self,
        images: Images | Tensor,
        limit: int | None,
        needed_bytes: Callable[[int | None, int], int],
        attempt: Callable[[int | None, int], Done | None],
    ) -> tuple[Done, int | None]:
        """Make the first attempt that fits and succeeds.

        Args:
            images: The batch ``(B, 3, H, W)``. Where it does not fit whole, its images come one after the other.
            limit: Bytes to take at most; None is most of what is free.
            needed_bytes: Predicts the memory, from the side of tiles (None is whole) and the images at a time.
            attempt: Restores, with the same arguments; None if memory ran out.

        Returns:
            What the attempt returned, and the side of the tiles.

        Raises:
            TooLargeError: If not even tiles fit.
        """
        height, width = images.shape[-2:]
        room = self._room_bytes(limit)
        needed = 0
        for tile in (None, *tile_sides(max(height, width))):
            for at_a_time in sorted({len(images), 1}, reverse=True):
                needed = needed_bytes(tile, at_a_time)
                if room is not None and needed > room:
                    continue
                done = attempt(tile, at_a_time)
                if done is not None:
                    return done, tile
        has = f"and {describe_bytes(room)} may be used" if room is not None else "which is not there"
        raise TooLargeError(
            f"a picture of {width}x{height} does not fit into the memory of {self._where}: it needs at least "
            f"{describe_bytes(needed)}, {has}; make it smaller, raise the limit or use another device"
        )

    def _room_bytes(self, limit: int | None) -> int | None:
        """Return what a restoration may take; None if nobody knows."""
        if limit is not None:
            return limit
        asked_at, free = self._free
        if time.monotonic() - asked_at > ASK_EVERY_S:
            free = self._free_bytes()
            self._free = (time.monotonic(), free)
        return None if free is None else int(FREE_SHARE * free)
