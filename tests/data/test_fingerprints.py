"""No training picture of the bundled weights is a test picture: told by fingerprints, as the pictures are not here."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FINGERPRINTS = Path(__file__).parent / "fingerprints"
SAME_SCENE_BITS = 32
"""Versions of one scene differ in fewer of the 256 bits."""


def read(path: Path) -> dict[str, int]:
    rows = (line.rsplit(" ", 1) for line in path.read_text(encoding="utf-8").splitlines())
    return {name: int(digest, 16) for name, digest in rows}


def mirrored(digest: int) -> int:
    """The fingerprint of the mirror image: each row reversed, and what was brighter than its left is now darker."""
    bits = f"{digest:0256b}"
    rows = (bits[start : start + 16][::-1] for start in range(0, 256, 16))
    return int("".join("10"[int(bit)] for row in rows for bit in row), 2)


def distance(one: int, other: int) -> int:
    return min((one ^ other).bit_count(), (one ^ mirrored(other)).bit_count())


@pytest.mark.parametrize(("name", "count"), [("cbsd68", 68), ("rain100l", 100)])
def test_no_training_picture_is_a_test_picture(name: str, count: int) -> None:
    training, test = read(FINGERPRINTS / "train.txt"), read(FINGERPRINTS / f"{name}.txt")
    assert (len(training), len(test)) == (768, count)
    closest = min((distance(a, b), one, other) for (one, a), (other, b) in product(training.items(), test.items()))
    assert closest[0] > SAME_SCENE_BITS, closest


def test_versions_of_one_scene_are_told_from_other_scenes(tmp_path: Path) -> None:
    script = ROOT / "tools" / "fingerprints.py"
    hashes: list[dict[str, int]] = []
    for folder in ("clean", "degraded"):
        target = tmp_path / f"{folder}.txt"
        subprocess.run([sys.executable, script, ROOT / "examples" / folder, "-o", target], check=True, timeout=120)
        hashes.append(read(target))
    clean, degraded = hashes
    for name, digest in degraded.items():
        if "rain" not in name:  # streaks over an evening sky are its only structure; no rainy pictures are compared
            assert distance(digest, clean[name]) <= SAME_SCENE_BITS, name
        scene = Path(name).stem.split("_")[-1]  # of which the examples show several crops
        for other, its in clean.items():
            assert scene in other or distance(digest, its) > SAME_SCENE_BITS, (name, other)
