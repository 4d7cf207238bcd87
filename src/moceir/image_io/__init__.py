"""Picture files to arrays and back.

In: JPEG, PNG, WebP, TIFF and AVIF (HEIC and BMP with an extra), 8 or 16 bits, grey, RGB, CMYK or palette, with alpha
and other channels. Out: JPEG, PNG, WebP and TIFF. `containers` lists what surrounds the pixels, block by block: each is
kept in the `Picture` and written back, followed, or named in its notes. A file is written under a temporary name beside
its goal and renamed, so that a goal is either old or whole.
"""

from moceir.image_io.colour import SRGB_PROFILE
from moceir.image_io.formats import READABLE_SUFFIXES, SUFFIXES, WRITABLE_SUFFIXES, Limits
from moceir.image_io.picture import Picture, Pixels
from moceir.image_io.reading import decode, read, read_bytes
from moceir.image_io.searching import find, matching_name, search, sift
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
    "matching_name",
    "protect_original",
    "read",
    "read_bytes",
    "search",
    "sift",
    "to_network",
    "to_srgb",
    "write",
]
