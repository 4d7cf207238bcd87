"""Write fingerprints of photographs, so that training and test pictures can be compared without the pictures.

    python tools/fingerprints.py FOLDER -o tests/data/fingerprints/NAME.txt

Writes one line per picture: its name and a difference hash of 256 bits in hexadecimal. Versions of one scene (scaled,
recompressed, noisy) differ in few bits, other scenes in about half of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from moceir.data.photographs import picture_files
from moceir.files import whole_file

SIDE = 16


def difference_hash(picture: Image.Image) -> int:
    """Compute a number of 256 bits: whether each of 16x16 fields is brighter than the field to its left."""
    small = np.asarray(picture.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), dtype=np.int16)
    bits = (np.diff(small, axis=1) > 0).flatten()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def main() -> None:
    """Hash the pictures of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of pictures, with its sub-folders")
    parser.add_argument("-o", "--output", type=Path, required=True, help="text file to write")
    arguments = parser.parse_args()
    lines: list[str] = []
    for path in picture_files(arguments.folder):
        with Image.open(path) as picture:
            lines.append(f"{path.relative_to(arguments.folder).as_posix()} {difference_hash(picture):064x}\n")
    with whole_file(arguments.output) as part:
        part.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
