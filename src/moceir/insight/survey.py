"""Picture files and folders of them: who worked on each, what it cost, and what groups of pictures have in common."""

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
    """One picture as the network sees it.

    Attributes:
        file: Where it lies.
        group: Its sub-folder or what was done to it, see `group_of`.
        width: Pixels.
        height: Pixels.
        routing: Which experts worked on it.
        guess: What it seems to suffer from; None without signatures.
    """

    file: Path
    group: str
    width: int
    height: int
    routing: RoutingReport
    guess: Guess | None

    def to_json(self) -> dict[str, Any]:
        """The same names with what JSON can hold."""
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
    """Restore a picture file while watching; nothing is written.

    Raises:
        ImageError: If it cannot be read or does not fit into memory.
        WeightsError: If the signatures are those of another network.
    """
    picture = image_io.read(source)
    seen = observe(restorer, picture.rgb)
    guess = signatures.guess(seen.features) if signatures else None
    height, width = picture.rgb.shape[:2]
    return PictureInsight(source, group, width, height, seen.routing, guess), picture, seen


def group_of(source: Path, place: Path) -> str:
    """What a picture is grouped by.

    Its sub-folder where it lies in one; else what ``moceir degrade`` says that was done to it; else its folder.

    Args:
        source: The file.
        place: Relative to the input that it was found by.
    """
    if place.parent != Path():
        return place.parent.as_posix()
    return _described(source.parent).get(name_of(place.as_posix()), source.resolve().parent.name)


@cache
def _described(folder: Path) -> dict[str, str]:
    """What was done to the pictures of a folder, as far as it says."""
    listing = folder / DESCRIPTIONS
    if not listing.is_file():
        return {}
    try:
        return {name: str(made.degradation) for name, made in read_descriptions(listing).items()}
    except DataError:  # a file of that name that is something else says nothing
        return {}


def usage_by_group(pictures: Sequence[PictureInsight]) -> ExpertUsage:
    """Count the experts of each group's pictures, groups in order of their names."""
    groups = sorted({picture.group for picture in pictures})
    routes = {group: [p.routing.experts for p in pictures if p.group == group] for group in groups}
    return ExpertUsage.of_routes(routes, len(pictures[0].routing.blocks[0].probabilities))


def principal_map(vectors: Sequence[Sequence[float]]) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Lay vectors out in a plane, along the two directions in which they differ most.

    Args:
        vectors: One per picture, all of the same length from 2.

    Returns:
        A place per vector, and the share of the variance along each of the two axes.
    """
    rows = torch.tensor(vectors, dtype=torch.double)
    rows = rows - rows.mean(dim=0)
    directions, lengths = torch.linalg.svd(rows, full_matrices=False)[2], torch.linalg.svdvals(rows)
    shares = (lengths.square() / lengths.square().sum().clamp_min(1e-12)).tolist()
    across = rows @ directions[:2].T
    places = [(row[0], row[1] if len(row) > 1 else 0.0) for row in across.tolist()]
    return places, (shares[0], shares[1] if len(shares) > 1 else 0.0)
