"""Picture files for training: listed from folders and packs, and cached once decoded as far as memory allows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from unicodedata import normalize

from torch import Tensor

from moceir import image_io
from moceir.data.packs import PACK_SUFFIX, Pack, decode, pack_of
from moceir.errors import DataError, ImageError

DECODED_AT_ONCE = 64
"""Pictures decoded in parallel per batch; bounds how many are decoded beyond what the cache can hold."""


def is_folder(location: Path) -> bool:
    """Return whether a location is a folder, a pack, or a folder inside a pack."""
    return location.is_dir() or bool(_packed(location))


def picture_files(location: Path, *, deep: bool = True) -> list[Path]:
    """List the pictures of a folder in sorted order, as ``image_io.search`` finds them.

    Args:
        location: A folder, a pack, or a folder inside a pack.
        deep: Whether to include subfolders.

    Raises:
        DataError: If the location is none of these, cannot be read, or contains no pictures.
    """
    if location.is_dir():
        inside = image_io.search(location, image_io.READABLE_SUFFIXES, deep=deep)
        if inside.unread:
            error = inside.unread[0]
            raise DataError(f"{error.filename} cannot be searched: {error.strerror}; leave it out or allow it")
        found = inside.pictures
    elif pack_of(location):
        found = [path for path in _packed(location) if deep or path.parent == location]
    else:
        raise DataError(f"{location} is not a folder; give a folder of pictures, or a *{PACK_SUFFIX} file made of one")
    if not found:
        suffixes = ", ".join(image_io.READABLE_SUFFIXES)
        raise DataError(f"the folder {location} holds no pictures; expected files ending in {suffixes}")
    return found


def _packed(location: Path) -> list[Path]:
    pack = pack_of(location)
    paths = [pack / name for name in Pack(pack).names] if pack else []
    return [path for path in paths if location in path.parents]


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """Choose files spread evenly over a list: the middle one of each of ``count`` equal parts.

    Args:
        files: The list.
        count: Largest number of files to choose, at least 1.
    """
    count = min(count, len(files))
    return [files[(2 * i + 1) * len(files) // (2 * count)] for i in range(count)]


class Photographs:
    """Pictures by file, as ``(3, H, W)`` uint8 tensors; files may be in folders or in packs.

    Args:
        cache_bytes: Size of the cache of decoded pictures; pictures beyond it are decoded at each use.
    """

    def __init__(self, cache_bytes: int = 4 * 2**30) -> None:
        self._left = cache_bytes
        self._full = False
        self._cache: dict[Path, Tensor] = {}
        self._packs: dict[Path, Pack] = {}

    def __getitem__(self, path: Path) -> Tensor:
        """Decode one picture, or memory-map it from its pack.

        Raises:
            DataError: If the pack is damaged.
            ImageError: If the file cannot be read.
        """
        if path in self._cache:
            return self._cache[path]
        pack = pack_of(path)
        if pack is not None:
            if pack not in self._packs:
                self._packs[pack] = Pack(pack)
            return self._packs[pack][path.relative_to(pack).as_posix()]
        photo = decode(path)
        self._keep(path, photo)
        return photo

    def preload(self, paths: Iterable[Path]) -> None:
        """Fill the cache in advance, so that forked loader processes share it.

        Raises:
            DataError: If a picture is damaged; the message names the first few.
        """
        broken: list[str] = []
        unread = iter([path for path in dict.fromkeys(paths) if path not in self._cache])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while not self._full and (some := list(islice(unread, DECODED_AT_ONCE))):
                for path, photo in zip(some, pool.map(_decoded, some), strict=True):
                    if isinstance(photo, ImageError):
                        broken.append(str(photo))
                    elif photo is not None:
                        self._keep(path, photo)
        if broken:
            msg = f"{len(broken)} pictures cannot be used, remove or mend them: {'; '.join(broken[:5])}"
            raise DataError(msg)

    def _keep(self, path: Path, photo: Tensor) -> None:
        if photo.numel() > self._left:
            self._full = True
        else:
            self._left -= photo.numel()
            self._cache[path] = photo


def _decoded(path: Path) -> Tensor | ImageError | None:
    """Return a decoded picture, or the error; None for a picture in a pack, which needs no decoding."""
    try:
        return None if pack_of(path) else decode(path)
    except ImageError as error:
        return error


def split_by_name(paths: Sequence[Path], share: float) -> tuple[list[Path], list[Path]]:
    """Split pictures into training and validation by a hash of the file name, so that the split is reproducible.

    Args:
        paths: Picture files.
        share: Fraction to set aside for validation.

    Returns:
        Training and validation files.

    Raises:
        DataError: If either part would be empty.
    """
    ranked = sorted(paths, key=lambda path: hashlib.blake2b(normalize("NFC", path.name).encode()).digest())
    held_out = max(1, round(share * len(ranked)))
    if held_out >= len(ranked):
        msg = f"{len(ranked)} photographs are too few to set {share:.0%} aside for validation; give at least 2"
        raise DataError(msg)
    return sorted(ranked[held_out:]), sorted(ranked[:held_out])
