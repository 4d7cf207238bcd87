"""``moceir inspect``: show which experts work on pictures, at what cost, and what seems to be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import Device, EffortOption, Forced, ForceExpert, Model, RouteOption, Threads


@dataclass(frozen=True)
class InspectArguments:
    """What ``moceir inspect`` was called with; see ``inspect_command``."""

    inputs: list[Path]
    model: str
    device: str
    threads: int | None
    effort: str
    experts: str | None
    force_expert: Forced | None
    json_file: Path | None
    figure: Path | None


def inspect_command(
    inputs: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or TIFF files, and folders of them.")],
    model: Model = "tiny",
    device: Device = "auto",
    threads: Threads = None,
    effort: EffortOption = "auto",
    experts: RouteOption = None,
    force_expert: ForceExpert = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all results to this file.")] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw to this file (.png, .svg): one picture with its routes, or a summary of several."),
    ] = None,
) -> None:
    """Show which experts work on pictures, their rank, reach and cost, and the likely degradation.

    Several pictures are grouped by sub-folder, or by the degradation that
    'moceir degrade' recorded for them. No restored picture is written. The
    likely degradation is the one with the nearest signature ('moceir
    signatures'). A picture that is near none, or between several, counts as
    unknown, and so do most with several degradations.

    Examples:

        moceir inspect rainy.png --figure rainy-routes.png

        moceir inspect testset/ --json routes.json --figure routes.svg
    """
    arguments = InspectArguments(
        inputs=inputs,
        model=model,
        device=device,
        threads=threads,
        effort=effort,
        experts=experts,
        force_expert=force_expert,
        json_file=json_file,
        figure=figure,
    )
    implementation("inspect").run(arguments)
