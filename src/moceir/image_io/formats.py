"""Which formats there are, and how large a file may be."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from moceir.errors import ConfigError, OutputError, TooLargeError

FORMATS: dict[str, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp"),
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
}
"""Formats that are written, and their suffixes, the usual one first."""
WRITABLE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

HEIC_SUFFIXES = (".heic", ".heif", ".hif")
SUFFIXES = (*WRITABLE_SUFFIXES, ".avif", *(HEIC_SUFFIXES if find_spec("pillow_heif") else ()))
"""File names that count as pictures when a folder is searched; HEIC files only where they can be read."""
READABLE_SUFFIXES = (*SUFFIXES, ".bmp")
"""The same where pictures are only read, as training data is."""
OTHER_SUFFIXES = (
    *(".avifs", ".bmp", ".dds", ".djvu", ".emf", ".eps", ".exr", ".gif", ".hdr", *HEIC_SUFFIXES, ".ico", ".j2k"),
    *(".jp2", ".jpf", ".jpx", ".jxl", ".jxr", ".mov", ".mp4", ".pam", ".pbm", ".pdf", ".pgm", ".pnm", ".ppm", ".psb"),
    *(".psd", ".qoi", ".svg", ".svgz", ".tga", ".wmf", ".xcf"),
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf"),
    *(".raw", ".rw2", ".sr2", ".srw", ".x3f"),
)
"""Suffixes of pictures and films that are not read, or not written."""

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

    def check_pixels(self, name: str, width: int, height: int, channels: int = 4) -> None:
        """Refuse a picture that is too large; more than four channels count as so many more pixels.

        Raises:
            TooLargeError: If it is.
        """
        if width * height * max(channels, 4) > 4 * self.max_pixels:
            msg = (
                f"{name} claims {width}x{height} pixels, above the limit of {self.max_pixels / 1e6:g} megapixels; if "
                "you trust the file and have the memory, raise it with --max-megapixels"
            )
            raise TooLargeError(msg)

    def check_bytes(self, name: str, amount: int) -> None:
        """Refuse a file that is too large.

        Raises:
            TooLargeError: If it is.
        """
        if amount > self.max_bytes:
            msg = (
                f"{name} is larger than the limit of {self.max_bytes / 1e6:g} MB per file; if you trust it, raise it "
                "with --max-file-size"
            )
            raise TooLargeError(msg)
