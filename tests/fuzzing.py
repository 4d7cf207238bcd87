"""Read, restore and write mutated picture files of every format in a process of its own, and print what came of it.

    python tests/fuzzing.py FOLDER --files 2500 --seed 0

The network is the smallest thing that changes a picture: files are what is under test here.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from mutating import mutated, seeds

from moceir import image_io
from moceir.errors import ImageError, OutputError

LIMITS = image_io.Limits(max_pixels=4_000_000, max_bytes=1_000_000)
WRITTEN = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif", "avif": ".png", "heic": ".png"}


def main() -> None:
    """Go through the files, and print a summary as JSON; anything unexpected ends with a traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    start = time.process_time()
    files = seeds()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(arguments.files):
        source = arguments.folder / f"{number}.dat"
        source.write_bytes(mutated(rng, files))
        began = time.process_time()  # other programs may hold the machine up
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
            if target.suffix == ".tif":
                assert again.samples == picture.samples
            outcomes["restored"] += 1
        except (ImageError, OutputError) as error:
            outcomes[type(error).__name__] += 1
            if "\n" in str(error) or source.stem not in str(error):
                raise AssertionError(f"not one line about {source}") from error
        slowest = max(slowest, time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    seconds = time.process_time() - start
    summary = {"outcomes": outcomes, "slowest_s": slowest, "peak_mb": peak / 1024, "seconds": seconds}
    sys.stdout.write(json.dumps(summary))


if __name__ == "__main__":
    main()
