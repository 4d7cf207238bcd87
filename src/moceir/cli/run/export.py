"""Run ``moceir export``."""

from __future__ import annotations

from pathlib import Path

from moceir.cli.export import ExportArguments, ExportFormat
from moceir.cli.run.terminal import echo
from moceir.errors import OutputError
from moceir.export import to_onnx, to_openvino
from moceir.weights import ModelFile, load, read_description, resolve

PROGRAMS = {ExportFormat.onnx: ("onnxruntime", to_onnx), ExportFormat.openvino: ("OpenVINO", to_openvino)}


def run(arguments: ExportArguments) -> None:
    """Export a model, and print what was compared.

    Raises:
        OutputError: If a file exists already and may not be replaced.
    """
    weights = [arguments.output.with_suffix(".bin")] if arguments.format is ExportFormat.openvino else []
    for path in (arguments.output, *weights):
        if path.exists() and not arguments.overwrite:
            raise OutputError(f"{path} exists already; add --overwrite or choose another output")
    network = load(arguments.model)
    folder = resolve(arguments.model)
    description = read_description(folder) if folder.is_dir() else ModelFile(model=network.config)
    program, write = PROGRAMS[arguments.format]
    done = write(
        network,
        arguments.output,
        batch=arguments.batch,
        half=arguments.half,
        name=Path(arguments.model).name,
        license=description.license,
    )
    echo(f"wrote {done.path}: {done.size_bytes / 1e6:.1f} MB, {done.format}")
    echo(
        f"{program} equals the model in {done.comparisons} comparisons that take every expert; the largest "
        f"difference is {done.largest_difference:.1e}, where white is 1"
    )
