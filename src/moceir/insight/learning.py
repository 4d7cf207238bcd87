"""Learn signatures from training pictures, and measure them on pictures that the model has never seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moceir.degradations import CDD11, parse
from moceir.insight.signatures import Signatures, confusion, fingerprint, learn_signatures
from moceir.insight.validation import Sighting, held_out_files, single_tasks, view_tasks
from moceir.restoration import Restorer
from moceir.weights import read_description, resolve

COMPOSITES = tuple(name for name, text in CDD11.items() if len(parse(text).names) > 1)
"""Composite degradations. Signatures are measured on them, but not learnt from them."""


@dataclass(frozen=True)
class Amount:
    """Number and size of the pictures to learn from and to measure on.

    Attributes:
        pictures: Largest number of training pictures per task.
        held_out: Largest number of validation pictures per task.
        patch_px: Side of the central crop of each picture, in pixels.
        seed: Seed of the degradations.
    """

    pictures: int = 100
    held_out: int = 100
    patch_px: int = 128
    seed: int = 0


def make_signatures(
    model: str | Path,
    photographs: Path,
    amount: Amount,
    device: str = "auto",
    on_picture: Callable[[int, int], object] | None = None,
) -> tuple[Signatures, list[Sighting], list[Sighting]]:
    """Learn a model's signatures on training pictures and measure them on validation pictures.

    Args:
        model: Model folder or name of a bundled model.
        photographs: Folder or pack of clean pictures. It is split as in the training of the model.
        amount: Number and size of the pictures.
        device: Device, as for ``Restorer``.
        on_picture: Called after each picture with the number of pictures done and the total.

    Returns:
        The signatures with their confusion table, the training pictures they were learnt from, and the validation
        pictures they were measured on.

    Raises:
        ConfigError: If the training of the model held out no pictures, or the device is not available.
        DataError: If there are too few pictures.
        ImageError: If a picture cannot be read.
        WeightsError: If the model is missing, damaged or not a folder.
    """
    folder = resolve(model)
    weights = fingerprint(folder)
    description = read_description(folder)
    tasks = single_tasks(description)
    training, validation = held_out_files(description, photographs)
    restorer = Restorer.from_pretrained(folder, device=device)
    judged = (*tasks, *COMPOSITES)
    total = len(tasks) * min(amount.pictures, len(training)) + len(judged) * min(amount.held_out, len(validation))
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if on_picture:
            on_picture(done, total)

    def view(files: list[Path], tasks: tuple[str, ...], most: int) -> list[Sighting]:
        settings = {"patch_px": amount.patch_px, "seed": amount.seed}
        return view_tasks(restorer, files, tasks, most=most, on_picture=count, **settings)

    seen = view(training, tasks, amount.pictures)
    learnt = learn_signatures(seen, tasks, weights=weights, patch_px=amount.patch_px, seed=amount.seed)
    unseen = view(validation, judged, amount.held_out)
    return learnt.model_copy(update={"confusion": confusion(learnt, unseen)}), seen, unseen
