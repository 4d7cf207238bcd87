"""``moceir signatures``: learn how degradations look to a model, and measure how well it tells them apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import Device, Model


@dataclass(frozen=True)
class SignaturesArguments:
    """What ``moceir signatures`` was called with; see ``signatures_command``."""

    photographs: Path
    model: str
    pictures: int
    held_out: int
    patch_px: int
    seed: int
    device: str


def signatures_command(
    photographs: Annotated[Path, typer.Argument(help="Folder or pack of the clean pictures the model was trained on.")],
    model: Model = "tiny",
    pictures: Annotated[int, typer.Option(min=2, help="Training pictures per task to learn from.")] = 100,
    held_out: Annotated[int, typer.Option(min=1, help="Validation pictures per task to measure on, at most.")] = 100,
    patch_px: Annotated[int, typer.Option(min=8, help="Side in pixels of the centre crop of each picture.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the degradations.")] = 0,
    device: Device = "auto",
) -> None:
    """Learn the signatures of a model's tasks, which 'moceir inspect' guesses from, and write them beside its weights.

    Learns from the training pictures and measures on the validation pictures,
    divided as in the model's training. The table shows how unseen pictures of
    each task (rows) are classified (columns). Composites are never learnt;
    their rows show how pictures with several degradations are classified.

    Example:

        moceir signatures photographs/ --model runs/tiny/best
    """
    arguments = SignaturesArguments(
        photographs=photographs,
        model=model,
        pictures=pictures,
        held_out=held_out,
        patch_px=patch_px,
        seed=seed,
        device=device,
    )
    implementation("signatures").run(arguments)
