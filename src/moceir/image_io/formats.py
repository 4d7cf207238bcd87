"""Which formats there are, and how large a file may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moceir.errors import ConfigError, ImageError, OutputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif")
"""File names that count as pictures when a folder is searched."""
READABLE_SUFFIXES = (*SUFFIXES, ".bmp")
"""The same where pictures are only read, as training data is."""

FORMATS: dict[str, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg"),
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
}
"""Formats that are written, and their suffixes, the usual one first."""
WRITABLE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

LOADERS = {"jpegload": "jpeg", "pngload": "png", "webpload": "webp", "tiffload": "tiff", "heifload": "avif"}
"""Beginnings of libvips' names for its loaders."""
WANTED = "JPEG, PNG, WebP, TIFF or AVIF"

DEFAULT_QUALITY = 95
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "jpeg": {"optimize_coding": True, "subsample_mode": "off"},
    "png": {"compression": 6},
    "webp": {"smart_subsample": True},
    "tiff": {"compression": "deflate", "predictor": "horizontal"},
}
LOSSY = ("jpeg", "webp")
EIGHT_BIT_ONLY = ("jpeg", "webp")


def format_of(suffix: str) -> str | None:
    """The format that a suffix asks for, if it is one that is written."""
    return next((name for name, suffixes in FORMATS.items() if suffix.lower() in suffixes), None)


def writable_format(path: Path, asked: str | None = None) -> str:
    """Return the format that a file's name asks for.

    Args:
        path: The file to write.
        asked: The format that was asked for beside it, if any.

    Raises:
        OutputError: If the suffix is unknown, or not one of the format that was asked for.
    """
    kind = format_of(path.suffix)
    if kind is None:
        expected = ", ".join(WRITABLE_SUFFIXES)
        raise OutputError(f"cannot write {path}: unknown suffix '{path.suffix}'; use one of {expected}")
    if asked not in (None, kind):
        suffixes = " or ".join(FORMATS[asked])
        raise OutputError(f"{path} does not have a suffix of {asked}; expected {suffixes}, or leave the format out")
    return kind


@dataclass(frozen=True)
class Limits:
    """What a file may ask for before it is refused: small files can unpack to more than there is memory.

    Attributes:
        max_pixels: Width times height.
        max_bytes: Size of the file.

    Raises:
        ConfigError: If a limit is not positive.
    """

    max_pixels: int = 500_000_000
    max_bytes: int = 2_000_000_000

    def __post_init__(self) -> None:
        if self.max_pixels < 1 or self.max_bytes < 1:
            msg = f"limits of {self.max_pixels} pixels and {self.max_bytes} bytes let nothing through; give more than 0"
            raise ConfigError(msg)

    def check_pixels(self, name: str, width: int, height: int) -> None:
        """Refuse a picture that is too large.

        Raises:
            ImageError: If it is.
        """
        if width * height > self.max_pixels:
            msg = (
                f"{name} claims {width}x{height} pixels, above the limit of {self.max_pixels / 1e6:g} megapixels; if "
                "you trust the file and have the memory, raise it with --max-megapixels"
            )
            raise ImageError(msg)

    def check_bytes(self, name: str, amount: int) -> None:
        """Refuse a file that is too large.

        Raises:
            ImageError: If it is.
        """
        if amount > self.max_bytes:
            msg = (
                f"{name} is larger than the limit of {self.max_bytes / 1e6:g} MB per file; if you trust it, raise it "
                "with --max-file-size"
            )
            raise ImageError(msg)
