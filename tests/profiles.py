"""Colour profiles made from the ICC specification (ICC.1:2022) and from published primaries, and their arithmetic."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

D50 = (0.9642, 1.0, 0.8249)
# Primaries of each space, adapted to D50, as columns that give XYZ.
PRIMARIES = {
    "srgb": [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]],
    "p3": [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
    "prophoto": [[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]],
}
GAMMA = {"p3": 2.19921875, "prophoto": 1.80078125}


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(*values)


def gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))


def assemble(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Header (7.2), tag table (7.3) and tags."""
    text = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 8, 28) + "test".encode("utf-16-be")
    tags = {b"desc": text, b"cprt": text, b"wtpt": xyz(D50), **tags}
    place = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", place + len(body), b"\0" * 4, 0x04200000, kind, space, pcs)
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + fixed(*D50)
    return header.ljust(128, b"\0") + table + body


def rgb_profile(name: str) -> bytes:
    columns = np.array(PRIMARIES[name]).T
    tags = {letter + b"XYZ": xyz(tuple(column)) for letter, column in zip((b"r", b"g", b"b"), columns, strict=True)}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma_curve(GAMMA[name]))
    return assemble(b"RGB ", b"mntr", b"XYZ ", tags | curves)


def grey_profile(gamma: float) -> bytes:
    return assemble(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": gamma_curve(gamma)})


def scanner_profile() -> bytes:
    """A profile that leads to Lab by a table, and not back (lut8Type, 10.11)."""
    grid = [(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    lab = bytes(value for r, g, b in grid for value in ((r + g + b) // 3, 128 + (r - g) // 4, 128 + (g - b) // 4))
    ramp = bytes(range(256)) * 3
    table = b"mft1\0\0\0\0" + bytes((3, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp + lab + ramp
    return assemble(b"RGB ", b"scnr", b"Lab ", {b"A2B0": table})


def srgb_to_linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_xyz(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """XYZ of ``(..., 3)`` values in [0, 1]."""
    linear = srgb_to_linear(values) if name == "srgb" else np.clip(values, 0, 1) ** GAMMA[name]
    return linear @ np.array(PRIMARIES[name]).T


def delta_e(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE 1976 difference of two XYZ colours: 1 can just be seen, 2.3 in general."""
    return np.linalg.norm(_lab(one) - _lab(other), axis=-1)


def _lab(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.maximum(colour / np.array(D50), 0)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
