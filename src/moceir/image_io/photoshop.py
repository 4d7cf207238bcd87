"""Photoshop's image resources: how JPEG files hold IPTC, beside paths, layers' names and thumbnails."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_IPTC, _RESOLUTION = 0x0404, 0x03ED


def iptc_of(resources: bytes) -> bytes:
    """The IPTC records among resources; empty if there are none."""
    return next((resources[at:end] for number, at, end in _walk(resources) if number == _IPTC), b"")


def with_iptc(resources: bytes, iptc: bytes) -> bytes:
    """Resources with IPTC records, unless they have some already."""
    if not iptc or iptc_of(resources):
        return resources
    return resources + b"8BIM" + struct.pack(">HxxI", _IPTC, len(iptc)) + iptc + bytes(len(iptc) % 2)


def enlarged(resources: bytes, scale: int) -> bytes:
    """Resources for a picture of ``scale`` times as many pixels each way: ResolutionInfo follows, up to its limit."""
    made = bytearray(resources)
    for number, start, end in _walk(resources):
        if number == _RESOLUTION and end - start == 16:
            for at in (start, start + 8):  # fixed-point numbers across and down, each with two units behind it
                (value,) = struct.unpack_from(">I", made, at)
                struct.pack_into(">I", made, at, min(value * scale, 2**31 - 1))
    return bytes(made)


def _walk(resources: bytes) -> Iterator[tuple[int, int, int]]:
    """Number of each resource, and where its content begins and ends; stops where they are broken."""
    at = 0
    while at + 12 <= len(resources) and resources[at : at + 4] == b"8BIM":
        number, letters = struct.unpack_from(">HB", resources, at + 4)
        at += 6 + (letters + 2) // 2 * 2
        if at + 4 > len(resources):
            return
        (size,) = struct.unpack_from(">I", resources, at)
        if at + 4 + size > len(resources):
            return
        yield number, at + 4, at + 4 + size
        at += 4 + size + size % 2
