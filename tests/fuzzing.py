"""Read, restore and write mutated picture files of every format in a process of its own, and print what came of it.

    python tests/fuzzing.py FOLDER --files 2500 --seed 0

The network is the smallest thing that changes a picture: files are what is under test here.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyvips
from numpy.random import Generator
from PIL import Image
from profiles import grey_profile, rgb_profile

from moceir import image_io
from moceir.errors import ImageError, OutputError
from moceir.image_io.picture import EXIF, ICC, XMP

LIMITS = image_io.Limits(max_pixels=4_000_000, max_bytes=1_000_000)
WRITTEN = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif", "avif": ".png"}


def seeds() -> list[bytes]:
    """Small whole files: every format, 8 and 16 bits, grey, colour, alpha, palette, CMYK, with and without metadata."""
    rng = np.random.default_rng(0)
    rgb = np.kron(rng.integers(0, 256, (3, 4, 3)), np.ones((4, 4, 1), int)).astype(np.uint8)
    alpha = rng.integers(0, 3, rgb.shape[:2]).astype(np.uint8) * 127
    block = Image.Exif()
    block[271], block[274] = "Camera Works", 6
    block.get_ifd(34665)[37500] = b"note" * 20
    around = {ICC: rgb_profile("p3"), EXIF: block.tobytes()[6:], XMP: b"<x:xmpmeta/>"}
    pictures = [
        image_io.Picture(rgb),
        image_io.Picture(rgb, metadata=around, orientation=6),
        image_io.Picture(rgb, alpha),
        image_io.Picture(rgb[..., :1].repeat(3, axis=2), grey=True, metadata={ICC: grey_profile(2.2)}),
        image_io.Picture(rgb.astype(np.uint16) * 257, alpha.astype(np.uint16) * 257, metadata=around),
    ]
    files = [image_io.encode(picture, kind) for picture in pictures for kind in ("jpeg", "png", "webp", "tiff")]
    for mode, kind in (("RGB", "AVIF"), ("P", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("1", "TIFF"), ("LA", "PNG")):
        buffer = io.BytesIO()
        Image.fromarray(rgb).convert(mode).save(buffer, kind)
        files.append(buffer.getvalue())
    image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb")
    files.append(image.jpegsave_buffer(interlace=True))
    files.append(image.pngsave_buffer(interlace=True))
    files.append(image.tiffsave_buffer(tile=True, tile_width=16, tile_height=16, compression="jpeg"))
    return files


def mutated(rng: Generator, files: list[bytes]) -> bytes:
    """One file with a few things wrong."""
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 5)):
        # Headers are where it matters most.
        place = int(rng.integers(min(len(data), 96)) if rng.random() < 0.6 else rng.integers(len(data)))
        match int(rng.integers(6)):
            case 0:
                data[place] = rng.integers(256)
            case 1:
                data[place] ^= 1 << int(rng.integers(8))
            case 2:
                number = int(rng.choice([0, 1, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**32 - 1]))
                data[place : place + 4] = number.to_bytes(4, ["little", "big"][int(rng.integers(2))])
            case 3:
                del data[max(place, 8) :]
            case 4:
                data[place:place] = data[place : place + int(rng.integers(1, 64))]
            case _:
                other = files[rng.integers(len(files))]
                data[place : place + 32] = other[place : place + 32]
        if not data:
            break
    return bytes(data)


def main() -> None:
    """Go through the files, and print a summary as JSON; anything unexpected ends with a traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    files = seeds()
    for number, data in enumerate(files):
        image_io.decode(data, f"seed {number}", LIMITS)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(arguments.files):
        source = arguments.folder / f"{number}.dat"
        source.write_bytes(mutated(rng, files))
        began = time.perf_counter()
        try:
            picture = image_io.read(source, LIMITS)
            seen = image_io.to_network(picture)
            done = image_io.from_network(picture, seen, seen // 2)
            target = arguments.folder / f"{number}{WRITTEN[picture.format]}"
            image_io.write(target, done)
            again = image_io.read(target, LIMITS)
            assert again.rgb.shape == picture.rgb.shape
            # JPEG has no alpha, and WebP leaves it out where all is opaque.
            if target.suffix in (".png", ".tif"):
                assert (again.alpha is None) == (picture.alpha is None)
            outcomes["restored"] += 1
        except (ImageError, OutputError) as error:
            outcomes[type(error).__name__] += 1
            if "\n" in str(error) or source.stem not in str(error):
                raise AssertionError(f"not one line about {source}") from error
        slowest = max(slowest, time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(json.dumps({"outcomes": outcomes, "slowest_s": slowest, "peak_mb": peak / 1024}))


if __name__ == "__main__":
    main()
