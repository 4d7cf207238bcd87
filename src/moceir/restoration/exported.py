"""A network that was exported, in onnxruntime: float batches in, restored batches out, without torch."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from moceir.errors import ConfigError
from moceir.machine.memory import available_ram_bytes
from moceir.machine.processes import check_fork
from moceir.onnx_files import LIBRARY, open_file
from moceir.restoration.backends import Room
from moceir.restoration.options import RestoreOptions
from moceir.restoration.pixels import Images
from moceir.restoration.result import RestorationResult
from moceir.restoration.tiles import ramp, starts

if TYPE_CHECKING:
    from torch import Tensor

MAPS = 20
"""Feature maps of the network's width that onnxruntime holds at once, at full resolution."""
PICTURE_BYTES = 24
"""Bytes per pixel of a picture and its result, as 32-bit floats."""
FIXED_BYTES = 64 * 2**20
"""Memory whatever the size. With these constants, every peak that ``benchmarks/interop.py`` measured is below the
prediction."""


class ExportedNetwork:
    """An exported file as a backend. It computes on the processor, one image after the other.

    Args:
        path: A file of ``moceir export``.
        threads: How many to compute with; None leaves it to onnxruntime.

    Raises:
        ConfigError: If this process was forked and would hang.
        MissingExtraError: If onnxruntime is not installed.
        WeightsError: If the file is missing, damaged or not from ``moceir export``.
    """

    batch_pixels = 0
    """Images come one after the other."""

    def __init__(self, path: Path, threads: int | None) -> None:
        self._threads = threads
        self._check_fork()
        runtime = open_file(path, threads)
        self.config, self._run = runtime.config, runtime.run
        self._room = Room("cpu", available_ram_bytes)

    @property
    def model(self) -> NoReturn:
        """Not there."""
        raise ConfigError("the backend onnx has no network in torch; load one with the backend torch")

    @property
    def device(self) -> NoReturn:
        """Not there."""
        raise ConfigError("the backend onnx computes on the processor, on no device of torch")

    def check(self, options: RestoreOptions) -> None:
        """Check that the file can do what is asked, and that all that is needed for it is installed.

        Raises:
            ConfigError: If pictures are to be enlarged, or torch is missing where it is needed.
        """
        if max(self.config.scale, options.upscale or 1) > 1:
            raise ConfigError("the backend onnx does not enlarge pictures; use the backend torch")
        if options.keep_tones and find_spec("torch") is None:
            raise ConfigError("keep_tones needs torch, which is not installed; install it, or leave the option out")

    def upscale(self, options: RestoreOptions) -> int:
        """Return 1: pictures keep their size."""
        return 1

    def needed_bytes(self, height: int, width: int, tile: int | None = None, images: int = 1) -> int:
        """Predict the peak memory of restoring a picture, whole or in tiles, beside the loaded network."""
        pictures = images * PICTURE_BYTES * height * width
        if tile is not None:
            height, width = min(height, tile), min(width, tile)
        rows, columns = self.config.padded_size(height, width)
        return pictures + 4 * self.config.dim * MAPS * rows * columns + FIXED_BYTES

    def restore(self, images: Images, options: RestoreOptions) -> RestorationResult[Images]:
        """Restore a batch ``(B, 3, H, W)`` of RGB in [0, 1]. Routes are not reported.

        Raises:
            ConfigError: If this process was forked and would hang.
            TooLargeError: If not even tiles fit into memory.
        """
        self._check_fork()
        height, width = images.shape[-2:]
        began = time.perf_counter()
        restored, tile_px = self._room.fit(
            images,
            options.memory_limit,
            lambda tile, _: self.needed_bytes(height, width, tile),
            lambda tile, _: self._attempt(images, tile),
        )
        seconds = time.perf_counter() - began
        if options.keep_tones:
            # Needs torch, and everything else here does without.
            from moceir.restoration.tones import keep_tones  # noqa: PLC0415

            pairs = zip(images, restored, strict=True)
            kept = [keep_tones(before.transpose(1, 2, 0), after.transpose(1, 2, 0)) for before, after in pairs]
            restored: Images = np.stack(kept).transpose(0, 3, 1, 2)
        if options.strength < 1:
            restored = np.add(images, options.strength * (restored - images), dtype=np.float32)
        return RestorationResult(restored, (), width, height, seconds, seconds, tile_px=tile_px)

    def restore_tensor(self, images: Tensor, options: RestoreOptions) -> RestorationResult[Tensor]:
        """Do the same for a tensor on any device; the result is on the processor."""
        from torch import from_numpy  # noqa: PLC0415 - who has a tensor has torch

        answer = self.restore(images.cpu().numpy(), options)
        return answer.with_restored(from_numpy(np.ascontiguousarray(answer.restored)))

    def _check_fork(self) -> None:
        if self._threads != 1:
            check_fork(LIBRARY)

    def _attempt(self, images: Images, tile: int | None) -> Images | None:
        """Restore images, whole or in tiles; None if memory runs out."""
        try:
            parts = [self._whole(image) if tile is None else self._in_tiles(image, tile) for image in images[:, None]]
            return np.concatenate(parts)
        except MemoryError:
            return None

    def _whole(self, image: Images) -> Images:
        return self._run(np.ascontiguousarray(image)).clip(0, 1)

    def _in_tiles(self, image: Images, tile: int) -> Images:
        """Restore overlapping tiles as pictures of their own: the file cannot share what it sums up and decides."""
        height, width = image.shape[-2:]
        restored: Any = np.zeros_like(image, order="C")
        for top in starts(height, tile):
            for left in starts(width, tile):
                part = self._whole(image[..., top : top + tile, left : left + tile])
                rows, columns = ramp(top, part.shape[-2], height), ramp(left, part.shape[-1], width)
                restored[..., top : top + tile, left : left + tile] += part * rows[:, None] * columns
        return restored
