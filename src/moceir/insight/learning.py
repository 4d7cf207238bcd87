"""From a model folder and its photographs to signatures that were measured on pictures the model has never seen."""

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
"""Pictures with several degradations, of which nothing is learnt."""


@dataclass(frozen=True)
class Amount:
    """How much to learn from and measure on.

    Attributes:
        pictures: Training pictures per task.
        held_out: Validation pictures per task, at most.
        patch_px: Side of the pictures' centres.
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
        model: A model folder or bundled name.
        photographs: Folder or pack of clean pictures, divided as in the model's training.
        amount: How many.
        device: As for `Restorer`.
        on_picture: Called after each picture with how many are done and how many there are.

    Returns:
        The signatures with their confusion table, the training pictures they were learnt from, and the validation
        pictures it was measured on.

    Raises:
        ConfigError: If the model was trained without setting pictures aside, or the device is not there.
        DataError: If there are too few pictures.
        ImageError: If a picture cannot be read.
        WeightsError: If the model is missing or damaged, or no folder.
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
