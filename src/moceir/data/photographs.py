"""A folder of clean photographs, decoded once as far as memory allows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moceir import image_io
from moceir.errors import DataError, ImageError


class Photographs:
    """Clean pictures as ``(3, H, W)`` uint8 tensors.

    Args:
        paths: Picture files.
        cache_bytes: Keep decoded pictures up to this many bytes; the rest is decoded at each use.
    """

    def __init__(self, paths: Sequence[Path], cache_bytes: int = 4 * 2**30) -> None:
        self.paths = list(paths)
        self._left = cache_bytes
        self._cache: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """Decode one picture.

        Raises:
            ImageError: If the file cannot be read.
        """
        if index in self._cache:
            return self._cache[index]
        rgb = image_io.read(self.paths[index]).rgb
        if rgb.dtype == np.uint16:
            rgb = (rgb >> 8).astype(np.uint8)
        photo = torch.from_numpy(rgb).permute(2, 0, 1).contiguous()
        if photo.numel() <= self._left:
            self._left -= photo.numel()
            self._cache[index] = photo
        return photo

    def preload(self) -> None:
        """Fill the cache now, so that forked loader processes share it.

        Raises:
            DataError: If a picture is damaged; the message names all of them.
        """
        broken: list[str] = []
        for index in range(len(self)):
            if self._left <= 0:
                break
            try:
                self[index]
            except ImageError as error:
                broken.append(str(error))
        if broken:
            msg = f"{len(broken)} pictures cannot be used, remove or mend them: {'; '.join(broken[:5])}"
            raise DataError(msg)


def split_by_name(paths: Sequence[Path], share: float) -> tuple[list[Path], list[Path]]:
    """Divide pictures into training and validation, for ever the same for the same file name.

    Args:
        paths: Picture files.
        share: Share to set aside for validation.

    Returns:
        Training and validation files.

    Raises:
        DataError: If one of the two would be empty.
    """
    ranked = sorted(paths, key=lambda path: hashlib.blake2b(path.name.encode()).digest())
    held_out = max(1, round(share * len(ranked)))
    if held_out >= len(ranked):
        msg = f"{len(ranked)} photographs are too few to set {share:.0%} aside for validation; give at least 2"
        raise DataError(msg)
    return sorted(ranked[held_out:]), sorted(ranked[:held_out])
