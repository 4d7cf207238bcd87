"""A batch of pictures of many sizes holds no more memory in the end than in the beginning."""

from __future__ import annotations

import ctypes
import itertools
import platform
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator

from moceir import image_io
from moceir.batch.pipeline import overlapped
from moceir.batch.planning import Naming, plan
from moceir.batch.stages import FileStages
from moceir.machine.allocator import PILE_BYTES, resident_bytes
from moceir.models.network import MoCEIR
from moceir.restoration import Restorer

WARM_UP, FILES = 120, 200
GROWTH_BYTES = 6_000_000
"""Less than one array of pixels of each picture. What is left of growth is oneDNN's memory of shapes, which is bounded,
and the pages around what stays."""
PICTURE_BYTES = 60_000_000
"""More than the network takes for the largest picture at a time."""


def picture(rng: Generator, kind: tuple[type, bool, bool]) -> image_io.Picture:
    dtype, transparent, coloured = kind
    rgb = rng.integers(0, np.iinfo(dtype).max, (*rng.integers(24, 161, 2), 3)).astype(dtype)
    metadata = {"icc-profile-data": image_io.SRGB_PROFILE} if coloured else {}
    return image_io.Picture(rgb, rgb[..., 0] if transparent else None, metadata=metadata)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap is looked after")
def test_memory_is_flat_over_200_pictures_of_mixed_sizes(tmp_path: Path, nano: MoCEIR) -> None:
    rng = np.random.default_rng(0)
    kinds = itertools.cycle(itertools.product((np.uint8, np.uint16), (False, True), (False, True)))
    suffixes = itertools.cycle((".png", ".jpg", ".webp", ".tif", ".png"))
    for number, kind, suffix in zip(range(WARM_UP + FILES), kinds, suffixes, strict=False):
        image_io.write(tmp_path / "in" / f"{number:03}{suffix}", picture(rng, kind))
    jobs, _ = plan([tmp_path / "in"], Naming(tmp_path / "out"))
    restorer = Restorer(nano, device="cpu")
    stages = FileStages(restorer)
    settled: list[int] = []
    most = 0
    done = overlapped(jobs, stages.read, stages.work, stages.write, threading.Event())
    for number, _ in enumerate(done, 1):
        most = max(most, resident_bytes())
        if number in (WARM_UP, WARM_UP + FILES):
            # What is held once all that is free was given back is what somebody still has.
            ctypes.CDLL(None).malloc_trim(0)
            settled.append(resident_bytes())
    assert settled[1] - settled[0] < GROWTH_BYTES
    assert most - settled[1] < PILE_BYTES + PICTURE_BYTES
