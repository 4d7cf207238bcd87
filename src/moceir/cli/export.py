"""``moceir export``: a model as an ONNX file for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation
from moceir.errors import require_extra


@dataclass(frozen=True)
class ExportArguments:
    """What ``moceir export`` was called with; see ``export_command``."""

    model: str
    output: Path
    batch: bool
    half: bool
    overwrite: bool


def export_command(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, a model folder, or a published .ckpt file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.onnx", help="The file to write.")],
    batch: Annotated[
        bool, typer.Option("--batch", help="Take any number of images at once. All experts then work on each.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Store the weights as float16: half the size.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists already.")] = False,
) -> None:
    """Write a model as an ONNX file that restores images of any size.

    The input 'image' and the output 'restored' are (N, 3, H, W) float32 RGB
    from 0 to 1. The file holds all experts and chooses between them itself.
    It is compared with the model before it is written, on small pictures of
    odd and even sizes that take every expert.

    Examples:

        moceir export tiny -o tiny.onnx

        moceir export runs/mine/best -o mine.onnx --batch --half
    """
    if output.suffix != ".onnx":
        raise typer.BadParameter(f"'{output}' must end in .onnx", param_hint="--output")
    for library in ("onnx_ir", "onnxruntime"):
        require_extra(library, "export")
    arguments = ExportArguments(model=model, output=output, batch=batch, half=half, overwrite=overwrite)
    implementation("export").run(arguments)
