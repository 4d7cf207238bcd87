"""What a picture file holds beside its pixels, block by block: one module for each container, one for the policy."""

from __future__ import annotations

from moceir.image_io.containers import heif, jpeg, png, tiff, webp
from moceir.image_io.containers.inventory import Block, Fate, Inventory, TornError, left_out
from moceir.image_io.containers.tiff import raw_refusal

__all__ = ["Block", "Fate", "Inventory", "TornError", "foreign", "left_out", "survey"]

_SURVEYS = {
    png.SIGNATURE: png.survey,
    b"\xff\xd8\xff": jpeg.survey,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff.survey),
}
_RAW = (
    (0, b"FUJIFILMCCD-RAW"), (0, b"FOVb"), (0, b"\0MRM"), (8, b"CR\2\0"), (0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR"),
    (0, b"IIU\0"), (6, b"HEAPCCDR"), (4, b"ftypcrx "),
)  # fmt: skip
_FOREIGN = (
    (0, b"GIF8", "a GIF"),
    (0, b"%PDF", "a PDF"),
    (0, b"8BPS", "a Photoshop"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (0, b"v/1\x01", "an OpenEXR"),
    (0, b"#?RADIANCE", "a Radiance HDR"),
    (0, b"#?RGBE", "a Radiance HDR"),
    (0, b"<svg", "an SVG"),
    (0, b"DDS ", "a DDS"),
    (0, b"qoif", "a QOI"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"AT&TFORM", "a DjVu"),
    (0, b"gimp xcf", "a GIMP"),
)
_APPLE = ((0, b"\0\x05\x16\x07"), (0, b"\0\x05\x16\0"))
_HEIF = {"avif", "avis", "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "mif2"}


def survey(data: bytes) -> Inventory | None:
    """List the blocks of a file; None if it is of no format with a module here.

    Raises:
        TornError: If the structure does not hold together.
    """
    for magic, look in _SURVEYS.items():
        if data.startswith(magic):
            return look(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return webp.survey(data)
    return heif.survey(data) if heif.brands(data) & _HEIF else None


def foreign(data: bytes) -> str:
    """Say what a file is that is recognised but not read, and what to do; empty if it is not recognised.

    Raw camera files come first: some of them begin as TIFF files do.
    """
    if any(data.startswith(magic, at) for at, magic in _RAW):
        return raw_refusal()
    for at, magic, what in _FOREIGN:
        if data.startswith(magic, at):
            return f"is {what} file; convert it to"
    if any(data.startswith(magic, at) for at, magic in _APPLE):
        return (
            "holds what macOS keeps beside a file (AppleDouble), no picture; give the file of the same name without ._"
        )
    if data[4:8] == b"ftyp" and not heif.brands(data) & _HEIF:
        return "is a video; give its frames as"
    return ""
