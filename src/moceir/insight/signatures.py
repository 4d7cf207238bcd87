"""What a degradation looks like to a network: signatures, the guess that is made from them, and how often it is right.

Each task has a centre in the space of an observation's features; distances are measured in units of the scatter around
the centres, which all tasks share (linear discriminant analysis, Fisher 1936, with a shrunk covariance). Signatures
belong to one set of weights and lie beside them, with the confusion table that was measured on unseen pictures.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from moceir.config import StrictModel, describe_validation_error
from moceir.errors import WeightsError
from moceir.files import whole_file
from moceir.insight.validation import Sighting
from moceir.weights import WEIGHTS_FILE, resolve

SIGNATURES_FILE = "signatures.json"
UNKNOWN = "unknown"
SHRINKAGE = 0.05
"""How much of the scatter is taken to be equal in all directions; a few hundred pictures do not tell it in full."""
FARTHEST_SHARE = 0.99
"""A picture farther from all centres than this share of those that made them is unknown."""
LEAST_PROBABILITY = 0.5
"""So is one where no task is likelier than all others together."""


@dataclass(frozen=True)
class Guess:
    """What a picture seems to suffer from.

    Attributes:
        task: The likeliest task, or ``unknown``.
        probabilities: Of each task by its distance, were there no others; likeliest first.
        distance: To the nearest centre, in standard deviations.
        precision: How many of the unseen pictures that got this guess really had that task; None for ``unknown``.
    """

    task: str
    probabilities: dict[str, float]
    distance: float
    precision: float | None

    def to_json(self) -> dict[str, Any]:
        """The same names with what JSON can hold."""
        return asdict(self)


class Signatures(StrictModel):
    """The centres of all tasks for one set of weights."""

    weights: str
    """Fingerprint of the weights that they belong to."""
    tasks: tuple[str, ...]
    """Names of the tasks."""
    means: tuple[float, ...]
    """Of each feature over all pictures."""
    scales: tuple[float, ...]
    """Standard deviation of each feature."""
    projection: tuple[tuple[float, ...], ...]
    """Standardised features (rows) to the space of the centres (columns)."""
    centres: tuple[tuple[float, ...], ...]
    """Of each task."""
    farthest: float
    """Largest distance to the nearest centre that still counts as known."""
    patch_px: int
    """Side of the pictures that they were made of and measured on."""
    seed: int
    """Seed of the degradations."""
    fitted_on: int
    """Training pictures per task that they were made of."""
    confusion: dict[str, dict[str, int]] = Field(default_factory=dict[str, dict[str, int]])
    """What was really done to unseen pictures (outer), and how often that was taken for what (inner)."""

    def guess(self, features: Tensor) -> Guess:
        """Find the nearest task.

        Args:
            features: ``(D,)`` of an `Observation`.

        Raises:
            WeightsError: If the features are those of another network.
        """
        if len(features) != len(self.means):
            msg = f"the signatures are for {len(self.means)} features, but the network gives {len(features)}"
            raise WeightsError(f"{msg}; make them again with moceir signatures")
        standardised = (features.double() - torch.tensor(self.means)) / torch.tensor(self.scales)
        place = standardised @ torch.tensor(self.projection, dtype=torch.double)
        squares = (torch.tensor(self.centres, dtype=torch.double) - place).square().sum(dim=1)
        chances = (-squares / 2).softmax(dim=0)
        order = chances.argsort(descending=True).tolist()
        known = squares[order[0]].sqrt() <= self.farthest and chances[order[0]] >= LEAST_PROBABILITY
        task = self.tasks[order[0]] if known else UNKNOWN
        probabilities = {self.tasks[i]: float(chances[i]) for i in order}
        return Guess(task, probabilities, float(squares.min().sqrt()), self.precision(task))

    def precision(self, task: str) -> float | None:
        """Share of those among the pictures taken for a task (of all single tasks) that really had it."""
        taken = [self.confusion.get(truth, {}).get(task, 0) for truth in self.tasks]
        if task not in self.tasks or not sum(taken):
            return None
        return taken[self.tasks.index(task)] / sum(taken)

    def accuracy(self, task: str) -> float:
        """Share of a task's unseen pictures that were taken for it; NaN if there are none."""
        row = self.confusion.get(task, {})
        return row.get(task, 0) / sum(row.values()) if row else float("nan")

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        with whole_file(path) as part:
            part.write_text(self.model_dump_json() + "\n", encoding="utf-8")


def learn_signatures(
    sightings: Sequence[Sighting], tasks: Sequence[str], *, weights: str, patch_px: int, seed: int
) -> Signatures:
    """Find the centres of tasks and the scatter around them.

    Args:
        sightings: Of pictures of all tasks, several of each.
        tasks: Their names.
        weights: Fingerprint of the network's weights.
        patch_px: Side of the pictures.
        seed: Seed of their degradations.
    """
    features = torch.stack([sighting.features for sighting in sightings]).double()
    labels = torch.tensor([list(tasks).index(sighting.task) for sighting in sightings])
    means, scales = features.mean(dim=0), features.std(dim=0).clamp_min(1e-9)
    features = (features - means) / scales
    centres = torch.stack([features[labels == task].mean(dim=0) for task in range(len(tasks))])
    around = features - centres[labels]
    scatter = around.T @ around / max(len(features) - len(tasks), 1)
    scatter = torch.lerp(scatter, scatter.diagonal().mean() * torch.eye(len(scatter), dtype=scatter.dtype), SHRINKAGE)
    values, vectors = torch.linalg.eigh(scatter)
    whiten = vectors / values.clamp_min(1e-12).sqrt()
    # Differences of distances lie in the directions between centres: one fewer than there are tasks.
    spread = (centres - centres.mean(dim=0)) @ whiten
    directions = torch.linalg.svd(spread, full_matrices=False).Vh[: len(tasks) - 1]
    projection = whiten @ directions.T
    places, centres = features @ projection, centres @ projection
    nearest = torch.cdist(places, centres).min(dim=1).values
    return Signatures(
        weights=weights,
        tasks=tuple(tasks),
        means=_rounded(means),
        scales=_rounded(scales),
        projection=tuple(_rounded(row) for row in projection),
        centres=tuple(_rounded(row) for row in centres),
        farthest=float(nearest.quantile(FARTHEST_SHARE)),
        patch_px=patch_px,
        seed=seed,
        fitted_on=len(sightings) // len(tasks),
    )


def confusion(signatures: Signatures, sightings: Sequence[Sighting]) -> dict[str, dict[str, int]]:
    """What was really done to pictures (outer keys), and how often that was taken for what (inner keys)."""
    counts: dict[str, Counter[str]] = {}
    for sighting in sightings:
        counts.setdefault(sighting.task, Counter())[signatures.guess(sighting.features).task] += 1
    columns = (*signatures.tasks, UNKNOWN)
    return {truth: {task: row[task] for task in columns if row[task]} for truth, row in counts.items()}


def load_signatures(model: str | Path) -> Signatures:
    """Read the signatures that lie beside a model's weights.

    Args:
        model: As for ``moceir.load``.

    Raises:
        WeightsError: If there are none, or they are damaged or those of other weights.
    """
    folder = resolve(model)
    path = folder / SIGNATURES_FILE
    remedy = f"make them with: moceir signatures PHOTOGRAPHS --model {model}"
    if not path.is_file():
        raise WeightsError(f"the model {model} has no signatures; {remedy}")
    try:
        found = Signatures.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} cannot be read; {remedy}") from error
    except ValidationError as error:
        why = describe_validation_error(error, Signatures)
        raise WeightsError(f"{path} holds no signatures: {why}; {remedy}") from error
    if found.weights != fingerprint(folder):
        raise WeightsError(f"the signatures in {path} are those of other weights; {remedy}")
    return found


def fingerprint(folder: Path) -> str:
    """Hash of a model folder's weights.

    Raises:
        WeightsError: If there is no such file: signatures lie beside weights in a model folder.
    """
    path = folder / WEIGHTS_FILE
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read; signatures need a model folder, which holds this file") from error


def confusion_rows(table: Mapping[str, Mapping[str, int]], tasks: Sequence[str]) -> list[list[str]]:
    """The cells of a confusion table: what it was, its share right, and the counts of each guess and ``unknown``."""
    rows: list[list[str]] = []
    for truth, row in table.items():
        right = f"{row.get(truth, 0) / sum(row.values()):.0%}" if truth in tasks else ""
        rows.append([truth, right, *(str(row.get(task, 0) or "") for task in (*tasks, UNKNOWN))])
    return rows


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.7g}") for value in values.tolist())
