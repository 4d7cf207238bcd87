"""``moceir export``: a model as a file for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation
from moceir.errors import require_extra


class ExportFormat(StrEnum):
    """Formats of exported files."""

    onnx = "onnx"
    openvino = "openvino"


SUFFIXES = {ExportFormat.onnx: ".onnx", ExportFormat.openvino: ".xml"}
LIBRARIES = {"onnx_ir": "export", "onnxruntime": "export", "openvino": "openvino"}
"""Libraries that are needed, with their extras; the last one only for its own format."""


@dataclass(frozen=True)
class ExportArguments:
    """What ``moceir export`` was called with; see ``export_command``."""

    model: str
    output: Path
    format: ExportFormat
    batch: bool
    half: bool
    overwrite: bool


def export_command(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, a model folder, or a published .ckpt file.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write: .onnx, or .xml for OpenVINO (with a .bin beside).",
        ),
    ],
    file_format: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="By default, the suffix of the file decides.", show_default=False),
    ] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="Take any number of images at once. All experts then work on each.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Store the weights as float16: half the size.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists already.")] = False,
) -> None:
    """Write a model as a file that restores images of any size elsewhere.

    The input 'image' and the output 'restored' are (N, 3, H, W) float32 RGB
    from 0 to 1. The file holds all experts and chooses between them itself.
    It is compared with the model before it is written, on small pictures of
    odd and even sizes that take every expert.

    Examples:

        moceir export tiny -o tiny.onnx

        moceir export runs/mine/best -o mine.onnx --batch --half

        moceir export tiny -o tiny.xml --format openvino
    """
    chosen = file_format or next((each for each, suffix in SUFFIXES.items() if suffix == output.suffix), None)
    if chosen is None:
        raise typer.BadParameter(f"'{output}' must end in .onnx, or in .xml for OpenVINO", param_hint="--output")
    if output.suffix != SUFFIXES[chosen]:
        msg = f"'{output}' must end in {SUFFIXES[chosen]} for {chosen.value}"
        raise typer.BadParameter(msg, param_hint="--output")
    for library, extra in LIBRARIES.items():
        if library != ExportFormat.openvino or chosen is ExportFormat.openvino:
            require_extra(library, extra)
    arguments = ExportArguments(model=model, output=output, format=chosen, batch=batch, half=half, overwrite=overwrite)
    implementation("export").run(arguments)
