"""Inventories take no more memory or time than their files are worth."""

from __future__ import annotations

import struct
import time
import tracemalloc

import odd_files as odd
import pytest

from moceir.image_io.containers import TornError, survey

MEGABYTE = 2**20


def sharing_entries(count: int) -> bytes:
    """A TIFF file whose entries all claim the same megabyte as their value."""
    tags = {f"t{tag}": (7, b"a long value") for tag in range(50_000, 50_000 + count)}
    data = bytearray(odd.tiff([odd.page(odd.drawn(), **tags)]))
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    for place in range(start + 2, start + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", data, place)[0] >= 50_000:
            struct.pack_into("<II", data, place + 4, MEGABYTE, len(data))
    return bytes(data) + bytes(MEGABYTE)


def circling_directories(count: int) -> bytes:
    """A TIFF file of directories that all lead to the same sub-directories."""
    pages = [odd.page(odd.drawn(height=2, width=2), t254=(4, [1]), t330=(4, [8] * 30)) for _ in range(count)]
    return odd.tiff([odd.page(odd.drawn()), *pages])


@pytest.mark.parametrize(
    "data",
    [
        sharing_entries(400),
        circling_directories(900),
        odd.png(*[odd.chunk(b"tEXt", b"a\0b")] * 19_000),
        odd.jpeg(*[odd.segment(0xFE, b"x")] * 19_000),
        odd.jpeg(behind=odd.jpeg() * 500),
        odd.jpeg(behind=b"\xff\xd8\xff\xe0\xff\xff" * 100_000),
        odd.webp(*[(b"what", b"")] * 19_000),
        odd.heif_items(dict.fromkeys(range(1, 9000), b"av01"), [(b"auxl", item, 1) for item in range(2, 9000)]),
    ],
    ids=["entries", "directories", "chunks", "segments", "pictures", "starts", "riff", "items"],
)
def test_many_blocks_cost_little(data: bytes) -> None:
    tracemalloc.start()
    began = time.process_time()
    try:
        survey(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 10
    assert peak < 8 * len(data) + 8 * MEGABYTE


@pytest.mark.parametrize(
    "data",
    [
        odd.png(*[odd.chunk(b"tEXt", b"a\0b")] * 21_000),
        odd.jpeg(*[odd.segment(0xFE, b"x")] * 21_000),
        odd.webp(*[(b"what", b"")] * 21_000),
        circling_directories(1100),
    ],
    ids=["chunks", "segments", "riff", "directories"],
)
def test_more_blocks_than_any_program_writes_are_refused(data: bytes) -> None:
    with pytest.raises(TornError, match="more than"):
        survey(data)
