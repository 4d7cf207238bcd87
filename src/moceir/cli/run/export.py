"""Run ``moceir export``."""

from __future__ import annotations

from pathlib import Path

from moceir.cli.export import ExportArguments
from moceir.cli.run.terminal import echo
from moceir.errors import OutputError
from moceir.export import to_onnx
from moceir.weights import ModelFile, load, read_description, resolve


def run(arguments: ExportArguments) -> None:
    """Export a model, and print what was compared.

    Raises:
        OutputError: If the file exists already and may not be replaced.
    """
    if arguments.output.exists() and not arguments.overwrite:
        raise OutputError(f"{arguments.output} exists already; add --overwrite or choose another output")
    network = load(arguments.model)
    folder = resolve(arguments.model)
    description = read_description(folder) if folder.is_dir() else ModelFile(model=network.config)
    done = to_onnx(
        network,
        arguments.output,
        batch=arguments.batch,
        half=arguments.half,
        name=Path(arguments.model).name,
        license=description.license,
    )
    echo(f"wrote {done.path}: {done.size_bytes / 1e6:.1f} MB, ONNX opset {done.opset}")
    echo(
        f"onnxruntime equals the model in {done.comparisons} comparisons that take every expert; the largest "
        f"difference is {done.largest_difference:.1e}, where white is 1"
    )
