"""``moceir train``: a recipe and a folder of photographs in, a model folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import Device, parse_duration
from moceir.errors import require_extra
from moceir.training.options import TrainOptions


def train_command(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="PLACE",
            help="Folder of clean photographs, searched with its sub-folders; a pack, or the URL of one: s3://B/NAME.pack.",
        ),
    ],
    recipe: Annotated[
        Path | None, typer.Argument(help="YAML recipe, for example recipes/tiny.yaml; with --continue, that of STATE.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder; else runs/NAME of the recipe, or that of STATE.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the run folder's last checkpoint; under torchrun, if there is one."),
    ] = False,
    continue_from: Annotated[
        Path | None,
        typer.Option("--continue", metavar="STATE", help="Train a further stretch from state.safetensors of a run."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="Model whose weights to begin with; a smaller network is grown.")
    ] = None,
    max_time: Annotated[
        float | None,
        typer.Option(
            "--max-time",
            parser=parse_duration,
            metavar="DURATION",
            help="End after this time (90s, 45m, 1h30m), with the learning rate annealed to fit.",
        ),
    ] = None,
    device: Device = "auto",
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share each batch; on a CPU, one per core is fastest.")
    ] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines that share each batch; start the command on each (torchrun, SLURM).")
    ] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Loader processes per training process.")] = 0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as optimizer.lr=1e-4.")
    ] = None,
) -> None:
    """Train a network on any folder of clean photographs; degradations are synthesised on the fly.

    The run folder gets the resolved recipe, checkpoints, TensorBoard logs (tensorboard --logdir runs) and the best
    model by validation PSNR in 'best', which every --model option takes.

    Examples:

        moceir train recipes/tiny.yaml --data photographs/ --max-time 90m --processes 2

        moceir restore photo.jpg -o restored.jpg --model runs/tiny/best

        moceir train --continue runs/small/state.safetensors --data photographs/ --max-time 9m
    """
    require_extra("lightning", "train")
    if recipe is not None:
        source, folder = recipe, Path("runs") / recipe.stem
    elif continue_from is not None:
        source, folder = continue_from, continue_from.parent
    else:
        raise typer.BadParameter("give a RECIPE, or --continue with the state of a run")
    options = TrainOptions(
        data=Path(),  # found when the work begins: it may have to be fetched
        output=output or folder,
        resume=resume,
        continue_from=continue_from,
        start=start,
        max_seconds=max_time,
        device=device,
        processes=processes,
        nodes=nodes,
        workers=workers,
    )
    implementation("train").run(source, overrides or [], data, options)
