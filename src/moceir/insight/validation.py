"""Validation pictures: not seen in training and degraded in known ways, for measuring signatures and in studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from moceir.data.mixtures import Source, ValidationPairs
from moceir.data.photographs import Photographs, picture_files, split_by_name
from moceir.data.synthesis import Sample
from moceir.degradations import parse
from moceir.degradations.spec import DegradationSpec
from moceir.errors import ConfigError
from moceir.insight.observing import observe
from moceir.models.cost import Route
from moceir.recipe import Recipe
from moceir.restoration import Restorer
from moceir.weights import ModelFile

TASKS = ("noise", "rain", "haze", "blur", "low_light", "jpeg", "snow", "clean")
"""Single degradations, used for models whose training is not known."""


class Sighting(NamedTuple):
    """Features and route of a degraded picture.

    Attributes:
        task: Degradation of the picture.
        features: ``(D,)``, see ``Observation``.
        experts: Route that the picture took.
    """

    task: str
    features: Tensor
    experts: Route


def single_tasks(description: ModelFile) -> tuple[str, ...]:
    """List the single degradations that a model was trained on, without composites.

    A degradation that was used with several parameters, for example ``jpeg`` and ``jpeg:quality=10``, is listed once,
    without parameters. A model whose training is not known gets ``TASKS``.
    """
    trained = Recipe.model_validate(description.training).tasks if description.training else {}
    specs = [(task, parse(task)) for task, weight in trained.items() if weight]
    singles = [(task, spec.name) for task, spec in specs if isinstance(spec, DegradationSpec)]
    often = Counter(name for _, name in singles)
    return tuple(dict.fromkeys(name if often[name] > 1 else task for task, name in singles)) or TASKS


def held_out_files(description: ModelFile, photographs: Path) -> tuple[list[Path], list[Path]]:
    """Split the pictures of a folder into training and validation pictures, as the training of the model did.

    Args:
        description: Description of the model, which includes its recipe.
        photographs: Folder or pack of clean pictures.

    Returns:
        Training pictures and validation pictures.

    Raises:
        ConfigError: If the training held out no pictures.
        DataError: If there are too few pictures.
    """
    share = Recipe.model_validate(description.training).validation.share if description.training else 0.05
    if not share:
        raise ConfigError("the model's training set no pictures aside, so nothing can be measured on unseen ones")
    return split_by_name(picture_files(photographs), share)


def degraded_centres(
    files: Sequence[Path], tasks: Sequence[str], *, most: int, patch_px: int, seed: int
) -> Iterator[tuple[str, Sample]]:
    """Degrade central crops of pictures by each task.

    Args:
        files: Clean pictures.
        tasks: Degradations as text, for example ``noise:sigma=25``.
        most: Largest number of pictures per task, spread evenly over the files.
        patch_px: Side of the crops, in pixels.
        seed: Seed of the degradations.

    Yields:
        Each pair with its task.

    Raises:
        ConfigError: If a task cannot be parsed.
        ImageError: If a file cannot be read.
    """
    photographs = Photographs()
    for task in tasks:
        source = Source(task, [(None, path) for path in files], parse(task))
        pairs = ValidationPairs([source], photographs, patch_px=patch_px, most=most, seed=seed)
        for number in range(len(pairs)):
            yield task, pairs[number]


def view_tasks(
    restorer: Restorer,
    files: Sequence[Path],
    tasks: Sequence[str],
    *,
    most: int,
    patch_px: int,
    seed: int,
    on_picture: Callable[[], object] | None = None,
) -> list[Sighting]:
    """Degrade central crops of pictures by each task, restore them, and record their features and routes.

    Args:
        restorer: Restores the pictures.
        files: Clean pictures.
        tasks: Degradations as text, for example ``noise:sigma=25``.
        most: Largest number of pictures per task, spread evenly over the files.
        patch_px: Side of the crops, in pixels.
        seed: Seed of the degradations.
        on_picture: Called after each picture, for progress.

    Raises:
        ConfigError: If a task cannot be parsed.
        ImageError: If a file cannot be read.
    """
    sightings: list[Sighting] = []
    for task, pair in degraded_centres(files, tasks, most=most, patch_px=patch_px, seed=seed):
        seen = observe(restorer, pair.degraded.permute(1, 2, 0).numpy())
        sightings.append(Sighting(task, seen.features, seen.routing.experts))
        if on_picture:
            on_picture()
    return sightings
