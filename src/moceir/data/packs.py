"""Decoded pictures in one memory-mapped file, so that training does not wait for decoding.

A pack is a safetensors file: ``(3, H, W)`` uint8 tensors by the picture's path relative to the packed folder. Paths
treat the pack as a folder, for example ``photographs.pack/garden/rose.jpg``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from moceir import image_io
from moceir.errors import DataError
from moceir.files import whole_file

PACK_SUFFIX = ".pack"
_FORMAT = {"format": "moceir-pack", "version": "1"}


def decode(path: Path) -> Tensor:
    """Read a picture for training.

    Returns:
        ``(3, H, W)`` uint8 RGB; 16-bit values are reduced to their upper 8 bits.

    Raises:
        ImageError: If the file cannot be read.
    """
    rgb = image_io.read(path).rgb
    if rgb.dtype == np.uint16:
        rgb = (rgb >> 8).astype(np.uint8)
    return torch.from_numpy(rgb).permute(2, 0, 1).contiguous()


def pack_of(path: Path) -> Path | None:
    """Return the pack that a path names or lies in; None for other paths."""
    return next((p for p in (path, *path.parents) if p.suffix.lower() == PACK_SUFFIX and p.is_file()), None)


class Pack:
    """An open pack.

    Args:
        path: The pack file.

    Raises:
        DataError: If the file is not a pack, or is damaged or truncated.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: Any = safe_open(path, "pt")
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path} is no whole pack ({error}); make it anew with moceir data pack") from error
        if (self._file.metadata() or {}) != _FORMAT:
            raise DataError(f"{path} is no pack of pictures; make one with moceir data pack")
        self.names: list[str] = sorted(self._file.keys(), key=PurePath)

    def __reduce__(self) -> tuple[type[Pack], tuple[Path]]:
        """Pickle only the path, so that spawned loader processes open the file themselves."""
        return Pack, (self.path,)

    def __getitem__(self, name: str) -> Tensor:
        """Return one picture, ``(3, H, W)`` uint8, memory-mapped: only the parts in use are read.

        Raises:
            DataError: If the pack has no picture with that name.
        """
        try:
            return self._file.get_tensor(name)
        except SafetensorError as error:
            raise DataError(f"{self.path} holds no picture {name}; make it anew with moceir data pack") from error


def write_pack(pictures: Mapping[str, Path], goal: Path, on_picture: Callable[[], None] | None = None) -> None:
    """Decode pictures one by one into a pack; on failure no file is left.

    Args:
        pictures: Files by their name in the pack.
        goal: Path of the pack to write.
        on_picture: Called after each picture, for progress.

    Raises:
        ImageError: If a picture cannot be read.
        OutputError: If the pack cannot be written.
    """
    # The header comes first but is known last: reserve the most room it could need and pad it with spaces later.
    room = len(_header(dict.fromkeys(pictures, ((3, 2**32, 2**32), 2**62, 2**62))))
    entries: dict[str, tuple[tuple[int, ...], int, int]] = {}
    end = 0
    with whole_file(goal) as part, part.open("wb") as file:
        file.seek(8 + room)
        for name, path in pictures.items():
            picture = decode(path)
            file.write(picture.numpy().data)
            entries[name] = (tuple(picture.shape), end, end := end + picture.numel())
            if on_picture:
                on_picture()
        file.seek(0)
        file.write(struct.pack("<Q", room) + _header(entries).ljust(room))


def _header(entries: Mapping[str, tuple[tuple[int, ...], int, int]]) -> bytes:
    """Build a safetensors JSON header from each picture's shape, begin and end, padded to a multiple of 8 bytes."""
    content: dict[str, Any] = {
        name: {"dtype": "U8", "shape": shape, "data_offsets": (begin, end)}
        for name, (shape, begin, end) in entries.items()
    }
    text = json.dumps({"__metadata__": _FORMAT, **content}, separators=(",", ":")).encode()
    return text.ljust(-(-len(text) // 8) * 8)
