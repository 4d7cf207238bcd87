"""Signatures: what each degradation looks like to a network, and how often a guess from them is right.

Each task has a centre in the space of the features of an observation. Distances are measured in units of the scatter
around the centres, which all tasks share (linear discriminant analysis, Fisher 1936, with a shrunk covariance).
Signatures belong to one set of weights and are stored beside them, together with the confusion table that was measured
on unseen pictures.
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
"""Share of the scatter that is assumed equal in all directions, since a few hundred pictures do not determine it."""
FARTHEST_SHARE = 0.99
"""A picture is unknown if it is farther from all centres than this share of the pictures they were learnt from."""
LEAST_PROBABILITY = 0.5
"""A picture is also unknown if no task is more likely than all others together."""


@dataclass(frozen=True)
class Guess:
    """The likely degradation of a picture.

    Attributes:
        task: The most likely task, or ``unknown``.
        probabilities: Probability of each task, assuming that there are no other tasks; most likely first.
        distance: Distance to the nearest centre, in standard deviations.
        precision: Share of the unseen pictures with this guess that really had the task; None for ``unknown``.
    """

    task: str
    probabilities: dict[str, float]
    distance: float
    precision: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dict that can be written as JSON."""
        return asdict(self)


class Signatures(StrictModel):
    """The centres of all tasks for one set of weights."""

    weights: str
    """Fingerprint of the weights that the signatures belong to."""
    tasks: tuple[str, ...]
    """Names of the tasks."""
    means: tuple[float, ...]
    """Mean of each feature over all pictures."""
    scales: tuple[float, ...]
    """Standard deviation of each feature."""
    projection: tuple[tuple[float, ...], ...]
    """Matrix that maps standardised features (rows) to the space of the centres (columns)."""
    centres: tuple[tuple[float, ...], ...]
    """Centre of each task."""
    farthest: float
    """Largest distance to the nearest centre that still counts as known."""
    patch_px: int
    """Side of the pictures that the signatures were learnt from and measured on, in pixels."""
    seed: int
    """Seed of the degradations."""
    fitted_on: int
    """Number of training pictures per task."""
    confusion: dict[str, dict[str, int]] = Field(default_factory=dict[str, dict[str, int]])
    """Counts of unseen pictures by true task (outer keys) and guessed task (inner keys)."""

    def guess(self, features: Tensor) -> Guess:
        """Guess the task of a picture: the one with the nearest centre.

        Args:
            features: ``(D,)``, see ``Observation``.

        Raises:
            WeightsError: If the features come from another network.
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
        """Compute the precision of a guess: the share of the pictures with this guess that really have the task.

        Only pictures with a single task count. The result is None if the task is not known or was never guessed.
        """
        taken = [self.confusion.get(truth, {}).get(task, 0) for truth in self.tasks]
        if task not in self.tasks or not sum(taken):
            return None
        return taken[self.tasks.index(task)] / sum(taken)

    def accuracy(self, task: str) -> float:
        """Compute the accuracy for a task: the share of its unseen pictures that are guessed right; NaN without any."""
        row = self.confusion.get(task, {})
        return row.get(task, 0) / sum(row.values()) if row else float("nan")

    def save(self, path: Path) -> None:
        """Write the signatures as JSON, completely or not at all.

        Args:
            path: File to write.

        Raises:
            OutputError: If the file cannot be written.
        """
        with whole_file(path) as part:
            part.write_text(self.model_dump_json() + "\n", encoding="utf-8")


def learn_signatures(
    sightings: Sequence[Sighting], tasks: Sequence[str], *, weights: str, patch_px: int, seed: int
) -> Signatures:
    """Compute the centres of tasks and the scatter around them.

    Args:
        sightings: Degraded pictures of all tasks, several of each.
        tasks: Names of the tasks.
        weights: Fingerprint of the weights of the network.
        patch_px: Side of the pictures, in pixels.
        seed: Seed of the degradations.
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
    # Only the directions between centres matter for which one is nearest: one fewer than there are tasks.
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
    """Count pictures by true task (outer keys) and guessed task (inner keys).

    Args:
        signatures: Signatures to guess from.
        sightings: Pictures to count, usually unseen ones.

    Raises:
        WeightsError: If the features come from another network than the signatures.
    """
    counts: dict[str, Counter[str]] = {}
    for sighting in sightings:
        counts.setdefault(sighting.task, Counter())[signatures.guess(sighting.features).task] += 1
    columns = (*signatures.tasks, UNKNOWN)
    return {truth: {task: row[task] for task in columns if row[task]} for truth, row in counts.items()}


def load_signatures(model: str | Path) -> Signatures:
    """Read the signatures stored beside the weights of a model.

    Args:
        model: Name or folder of a model, as for ``moceir.load``.

    Raises:
        WeightsError: If there are no signatures, they are damaged, or they belong to other weights.
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
        raise WeightsError(f"the signatures in {path} belong to other weights; {remedy}")
    return found


def fingerprint(folder: Path) -> str:
    """Compute a hash of the weights in a model folder.

    Raises:
        WeightsError: If the folder has no file of weights that can be read.
    """
    path = folder / WEIGHTS_FILE
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read; signatures need a model folder that contains this file") from error


def confusion_rows(table: Mapping[str, Mapping[str, int]], tasks: Sequence[str]) -> list[list[str]]:
    """Format a confusion table.

    Args:
        table: Counts of pictures by true task (outer keys) and guessed task (inner keys).
        tasks: Tasks that can be guessed.

    Returns:
        One row per true task: its name, the share of right guesses, and the count of each guess including ``unknown``.
    """
    rows: list[list[str]] = []
    for truth, row in table.items():
        right = f"{row.get(truth, 0) / sum(row.values()):.0%}" if truth in tasks else ""
        rows.append([truth, right, *(str(row.get(task, 0) or "") for task in (*tasks, UNKNOWN))])
    return rows


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.7g}") for value in values.tolist())
