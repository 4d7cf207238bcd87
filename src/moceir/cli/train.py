"""``moceir train``: a recipe and a folder of photographs in, a model folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import Device, parse_duration
from moceir.errors import require_extra


def train_command(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe, as recipes/tiny.yaml.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of clean photographs, searched with its sub-folders.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder; runs/NAME of the recipe if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
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
    """
    require_extra("lightning", "train")
    implementation("train").run(
        recipe,
        overrides or (),
        data=data,
        output=output or Path("runs") / recipe.stem,
        resume=resume,
        start=start,
        max_seconds=max_time,
        device=device,
        processes=processes,
        nodes=nodes,
        workers=workers,
    )
