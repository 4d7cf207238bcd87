"""``moceir signatures``: learn what degradations look like to a model, and measure how well it tells them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.options import Device, Model


def signatures_command(
    photographs: Annotated[Path, typer.Argument(help="Folder (or pack) of the clean pictures it was trained on.")],
    model: Model = "tiny",
    pictures: Annotated[int, typer.Option(min=2, help="Training pictures per task to learn from.")] = 100,
    held_out: Annotated[int, typer.Option(min=1, help="Validation pictures per task to measure on, at most.")] = 100,
    patch_px: Annotated[int, typer.Option(min=8, help="Side of the pictures' centres that are used.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the degradations.")] = 0,
    device: Device = "auto",
) -> None:
    """Learn the signatures of a model's tasks, for the guesses of 'moceir inspect', and write them beside its weights.

    They are learnt from the training pictures and measured on the validation pictures, told apart as in the model's
    training. The table shows what unseen pictures of each task (rows) are taken for (columns). Composites are never
    learnt; their rows show what becomes of pictures with several degradations.

    Example:

        moceir signatures photographs/ --model runs/tiny/best
    """
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import Progress  # noqa: PLC0415

    from moceir.evaluation.report import markdown_table  # noqa: PLC0415
    from moceir.insight.learning import Amount, make_signatures  # noqa: PLC0415
    from moceir.insight.signatures import SIGNATURES_FILE, UNKNOWN, confusion_rows  # noqa: PLC0415
    from moceir.machine.allocator import keep_freed_memory  # noqa: PLC0415
    from moceir.weights import resolve  # noqa: PLC0415

    keep_freed_memory()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("learning")
        learnt, *_ = make_signatures(
            model,
            photographs,
            Amount(pictures, held_out, patch_px, seed),
            device,
            lambda done, total: progress.update(bar, completed=done, total=total),
        )
    target = resolve(model) / SIGNATURES_FILE
    learnt.save(target)
    rows = confusion_rows(learnt.confusion, learnt.tasks)
    for line in markdown_table(("", "right", *learnt.tasks, UNKNOWN), rows):
        typer.echo(line)
    typer.echo(f"learnt from {learnt.fitted_on} pictures per task; written to {target}")
