"""Picture files to arrays and back.

In: JPEG, PNG, WebP, TIFF and AVIF (and BMP, which published data sets hold), 8 or 16 bits, grey, RGB, CMYK or palette,
with or without alpha. Out: JPEG, PNG, WebP and TIFF. What surrounds the pixels (ICC profile, EXIF, XMP, IPTC, comments,
resolution, orientation) travels with the `Picture` and is written back. A file is written under a temporary name
beside its goal and renamed, so that a goal is either old or whole.
"""

from moceir.image_io.colour import SRGB_PROFILE
from moceir.image_io.formats import READABLE_SUFFIXES, SUFFIXES, WRITABLE_SUFFIXES, Limits
from moceir.image_io.picture import Picture, Pixels
from moceir.image_io.reading import decode, read
from moceir.image_io.searching import find
from moceir.image_io.view import from_network, to_network, to_srgb
from moceir.image_io.writing import encode, losses, protect_original, write

__all__ = [
    "READABLE_SUFFIXES",
    "SRGB_PROFILE",
    "SUFFIXES",
    "WRITABLE_SUFFIXES",
    "Limits",
    "Picture",
    "Pixels",
    "decode",
    "encode",
    "find",
    "from_network",
    "losses",
    "protect_original",
    "read",
    "to_network",
    "to_srgb",
    "write",
]
