"""The parts of a picture file that are not its pixels, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

MOST_BLOCKS = 20_000
"""A file with more blocks than this is refused: no program writes so many, and each costs time."""


class TornError(Exception):
    """The structure of a container does not hold together."""


class Fate(StrEnum):
    """What becomes of a block."""

    KEPT = "kept"
    """It is written back."""
    FOLLOWED = "followed"
    """It says how to decode or show the pixels. The result says the same in its own way."""
    NAMED = "named"
    """It is left out, and the status line says so."""


@dataclass(frozen=True)
class Rule:
    """What happens to one kind of block, and the words for it if it is left out."""

    fate: Fate
    words: str = ""


@dataclass(frozen=True)
class Block:
    """One block of a file.

    Attributes:
        name: Its name in the format's terms: ``tEXt``, ``APP1 Exif``, ``tag 33550``.
        size: Bytes of its content.
        rule: What happens to it.
        content: A view of the content, without the container's framing.
    """

    name: str
    size: int
    rule: Rule
    content: bytes = field(default=b"", repr=False)

    @property
    def fate(self) -> Fate:
        """What becomes of it."""
        return self.rule.fate


@dataclass(frozen=True)
class Statements:
    """What a file says about its colours beside an ICC profile; None where it says nothing.

    Attributes:
        cicp: Colour primaries, transfer characteristics, matrix and full-range flag (ITU-T H.273).
        srgb: Whether it says that it is sRGB.
        gamma: Exponent that was applied to the light, as in PNG: 0.45455 is usual.
        chromaticities: x and y of white, red, green and blue.
        curve: TIFF's TransferFunction: 16-bit light for each value, one table.
    """

    cicp: tuple[int, int, int, int] | None = None
    srgb: bool = False
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
    curve: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Inventory:
    """Everything in a file beside its pixels.

    Attributes:
        format: ``jpeg``, ``png``, ``webp``, ``tiff`` or ``avif``.
        blocks: All blocks in the order of the file.
        refusal: Why this is not one picture that can be restored, and what to do; empty if it is.
        page: Number of the picture among the pages of a TIFF file.
        metadata: Blocks to carry over, by the names in ``moceir.image_io.picture``.
        statements: What it says about its colours.
        resolution: Whether it states a resolution.
        samples: Meaning of each channel beyond the colours in a TIFF file, as in its tag ExtraSamples.
    """

    format: str
    blocks: tuple[Block, ...] = ()
    refusal: str = ""
    page: int = 0
    metadata: dict[str, bytes] = field(default_factory=dict[str, bytes])
    statements: Statements = Statements()
    resolution: bool = False
    samples: tuple[int, ...] = ()

    @property
    def notes(self) -> list[str]:
        """One note for each kind of block that is left out, with its size in the file."""
        return left_out((block.rule.words or block.name, block.size) for block in self.blocks if block.fate == "named")


def left_out(lost: Iterable[tuple[str, int]]) -> list[str]:
    """Notes on what a result lacks, sizes of the same kind added up."""
    sizes: dict[str, int] = {}
    for words, size in lost:
        sizes[words] = sizes.get(words, 0) + size
    return [f"left out: {words}, {size:,} byte{'' if size == 1 else 's'}" for words, size in sizes.items()]
