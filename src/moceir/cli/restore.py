"""``moceir restore``: files and folders of pictures in, restored files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.jobs import plan_jobs, run_jobs
from moceir.cli.options import Device, EffortOption, ForceExpert, Model, RouteOption, parse_effort, parse_experts


def restore_command(
    inputs: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or TIFF files, and folders of them.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A folder (created if needed; sub-folders are mirrored), or a file for one file."
        ),
    ],
    model: Model = "tiny",
    device: Device = "auto",
    memory_limit: Annotated[
        str | None,
        typer.Option(help="Memory a picture may take, as 4GB; most of what is free by default. Above it, in tiles."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist already.")] = False,
    effort: EffortOption = "auto",
    experts: RouteOption = None,
    force_expert: ForceExpert = None,
) -> None:
    """Restore pictures: noise, rain, haze, blur, low light, JPEG artefacts or several at once.

    Each file gets one line. A file that fails is reported and the others go on; the exit code is 0 only if all
    succeeded, 1 if some failed, 2 for wrong usage.

    Examples:

        moceir restore photo.jpg -o restored.jpg

        moceir restore scans/ more/*.png -o restored/

        moceir restore scans/ -o fast/ --effort low
    """
    route = parse_experts(experts, force_expert)

    from moceir.allocator import keep_freed_memory  # noqa: PLC0415 - keeps --help fast
    from moceir.restoration import Restorer  # noqa: PLC0415

    jobs, problems = plan_jobs(inputs, output)
    keep_freed_memory()
    restorer = Restorer.from_pretrained(model, device, route, memory_limit, parse_effort(effort))

    def restore(source: Path, target: Path) -> str:
        done = restorer.restore_file(source, target)
        tiles = "" if done.tile_px is None else f", in tiles of {done.tile_px} for lack of memory"
        return f"{done.width}x{done.height}, {done.seconds:.2f} s{tiles}"

    run_jobs(jobs, problems, restore, done="restored", overwrite=overwrite)
