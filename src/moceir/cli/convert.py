"""``moceir convert``: weights from the published layout to a model folder, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation


@dataclass(frozen=True)
class ConvertArguments:
    """What ``moceir convert`` was called with; see ``convert_command``."""

    model: str
    output: Path
    top_k: int | None
    half: bool
    license: str
    overwrite: bool


def convert_command(
    model: Annotated[str, typer.Argument(help="Published .ckpt file, model folder, or name of a bundled model.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="FILE.ckpt for the published layout, any other name for a folder.")
    ],
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="Experts per image of a .ckpt file, which does not say it. By default 1."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the folder's weights as float16: half the size.")] = False,
    license: Annotated[str, typer.Option(help="Terms of the weights of a .ckpt file, for the folder.")] = "unknown",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.")] = False,
) -> None:
    """Convert weights from the published checkpoint layout to a model folder, or back.

    Prints the shape that was found, and the SHA-256 checksum of the weights
    that were written. A .ckpt file holds no licence, results or top-k, so
    these stay behind when it is written.

    Examples:

        moceir convert MoCE-IR-S.ckpt -o small

        moceir convert runs/mine/best -o mine.ckpt
    """
    arguments = ConvertArguments(
        model=model, output=output, top_k=top_k, half=half, license=license, overwrite=overwrite
    )
    implementation("convert").run(arguments)
