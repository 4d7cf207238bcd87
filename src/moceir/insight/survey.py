"""Inspection of picture files and folders: the route and cost of each picture, and statistics of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from moceir import image_io
from moceir.data.degraded import DESCRIPTIONS, name_of, read_descriptions
from moceir.errors import DataError
from moceir.insight.observing import Observation, observe
from moceir.insight.signatures import Guess, Signatures
from moceir.restoration import Restorer
from moceir.restoration.reports import ExpertUsage, RoutingReport


@dataclass(frozen=True)
class PictureInsight:
    """Route, cost and likely degradation of one picture.

    Attributes:
        file: File of the picture.
        group: Sub-folder or degradation of the picture, see ``group_of``.
        width: Width in pixels.
        height: Height in pixels.
        routing: Experts that worked on the picture.
        guess: Likely degradation; None without signatures.
    """

    file: Path
    group: str
    width: int
    height: int
    routing: RoutingReport
    guess: Guess | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dict that can be written as JSON."""
        return {
            "file": str(self.file),
            "group": self.group,
            "width": self.width,
            "height": self.height,
            "routing": self.routing.to_json(),
            "guess": self.guess.to_json() if self.guess else None,
        }


def inspect_file(
    restorer: Restorer, source: Path, group: str, signatures: Signatures | None
) -> tuple[PictureInsight, image_io.Picture, Observation]:
    """Restore a picture file and describe its route, without writing anything.

    Args:
        restorer: Restores the picture.
        source: File to read.
        group: Group of the picture, see ``group_of``.
        signatures: Signatures of the model, for the likely degradation; None for no guess.

    Returns:
        The description, the picture as read, and the observation with the restored picture.

    Raises:
        ImageError: If the file cannot be read or the picture does not fit into memory.
        WeightsError: If the signatures belong to another network.
    """
    picture = image_io.read(source)
    seen, guess = observe_and_guess(restorer, picture, signatures)
    height, width = picture.rgb.shape[:2]
    return PictureInsight(source, group, width, height, seen.routing, guess), picture, seen


def observe_and_guess(
    restorer: Restorer, picture: image_io.Picture, signatures: Signatures | None
) -> tuple[Observation, Guess | None]:
    """Restore a picture, and guess its degradation if there are signatures.

    Args:
        restorer: Restores the picture.
        picture: The decoded picture.
        signatures: Signatures of the model; None for no guess.

    Raises:
        ImageError: If the picture does not fit into memory.
        WeightsError: If the signatures belong to another network.
    """
    seen = observe(restorer, picture.rgb)
    return seen, signatures.guess(seen.features) if signatures else None


def group_of(source: Path, place: Path) -> str:
    """Return the name of the group of a picture.

    This is its sub-folder, if it has one; otherwise its degradation, if ``moceir degrade`` recorded one; otherwise its
    folder.

    Args:
        source: File of the picture.
        place: Path of the file relative to the input in which it was found.
    """
    if place.parent != Path():
        return place.parent.as_posix()
    return _described(source.parent).get(name_of(place.as_posix()), source.resolve().parent.name)


@cache
def _described(folder: Path) -> dict[str, str]:
    """Read the degradation of each picture in a folder, by name; empty if none is recorded."""
    listing = folder / DESCRIPTIONS
    if not listing.is_file():
        return {}
    try:
        return {name: str(made.degradation) for name, made in read_descriptions(listing).items()}
    except DataError:  # another file that happens to have this name
        return {}


def usage_by_group(pictures: Sequence[PictureInsight]) -> ExpertUsage:
    """Count how often each group uses each expert. Groups are sorted by name."""
    groups = sorted({picture.group for picture in pictures})
    routes = {group: [p.routing.experts for p in pictures if p.group == group] for group in groups}
    return ExpertUsage.of_routes(routes, len(pictures[0].routing.blocks[0].probabilities))


def principal_map(vectors: Sequence[Sequence[float]]) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Project vectors onto their first two principal components.

    Args:
        vectors: One vector per picture, all of the same length, which is at least 2.

    Returns:
        The coordinates of each vector, and the share of the variance along each of the two axes.
    """
    rows = torch.tensor(vectors, dtype=torch.double)
    rows = rows - rows.mean(dim=0)
    directions, lengths = torch.linalg.svd(rows, full_matrices=False)[2], torch.linalg.svdvals(rows)
    shares = (lengths.square() / lengths.square().sum().clamp_min(1e-12)).tolist()
    across = rows @ directions[:2].T
    places = [(row[0], row[1] if len(row) > 1 else 0.0) for row in across.tolist()]
    return places, (shares[0], shares[1] if len(shares) > 1 else 0.0)
