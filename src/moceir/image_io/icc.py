"""ICC profiles made from primaries and a curve, for files that state their colours in another way (ICC.1:2022)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def gamma_curve(exponent: float) -> bytes:
    """Light as a power of the value (parametricCurveType, 10.18)."""
    return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(exponent)


def sloped_curve(gamma: float, a: float, b: float, c: float, d: float) -> bytes:
    """Light as ``(a v + b) ** gamma`` from d on, ``c v`` below."""
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(gamma, a, b, c, d)


def table_curve(light: Sequence[int]) -> bytes:
    """16-bit light for evenly spaced values (curveType, 10.6); long tables are thinned to 4,096 entries."""
    thinned = np.interp(np.linspace(0, len(light) - 1, min(len(light), 4096)), np.arange(len(light)), light)
    return b"curv\0\0\0\0" + struct.pack(">I", len(thinned)) + thinned.round().astype(">u2").tobytes()


def profile(chromaticities: Sequence[float], curve: bytes, *, grey: bool = False) -> bytes | None:
    """Describe a colour space.

    Args:
        chromaticities: x and y of white, red, green and blue (CIE 1931).
        curve: One of the curves above, for all channels.
        grey: Whether to make a profile for pictures with one channel.

    Returns:
        The profile; None if there is no such space, as where primaries lie on one line.
    """
    if grey:
        return _assembled(b"GRAY", {b"kTRC": curve})
    columns = _primaries(np.array(chromaticities, np.float64).reshape(4, 2))
    if columns is None:
        return None
    tags = {name: b"XYZ \0\0\0\0" + _fixed(*column) for name, column in zip(_XYZ, columns.T, strict=True)}
    return _assembled(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


_XYZ = (b"rXYZ", b"gXYZ", b"bXYZ")


def _primaries(xy: Matrix) -> Matrix | None:
    """XYZ of red, green and blue as columns, adapted to D50 by Bradford's matrix."""
    if not np.isfinite(xy).all() or (xy[:, 1] < 1e-4).any() or np.abs(xy).max() > 8:
        return None
    white, *rgb = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in xy]
    matrix = np.array(rgb).T
    response = _BRADFORD @ white
    if abs(np.linalg.det(matrix)) < 1e-6 or (np.abs(response) < 1e-6).any():
        return None
    scaled = matrix * np.linalg.solve(matrix, white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / response) @ _BRADFORD @ scaled
    return adapted if np.abs(adapted).max() < 8 else None


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _assembled(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Header (7.2), tag table (7.3) and tags; equal ones stand once."""
    name = "as the file states".encode("utf-16-be")
    text = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(name), 28) + name
    tags = {b"desc": text, b"cprt": text, b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    places: dict[bytes, int] = {}
    for tag, content in tags.items():
        if content not in places:
            places[content] = 128 + 4 + 12 * len(tags) + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", tag, places[content], len(content))
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x04200000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(*_D50)
    return header.ljust(128, b"\0") + table + body
