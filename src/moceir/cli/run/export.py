"""Run ``moceir export``."""

from __future__ import annotations

from moceir.cli.export import ExportArguments, ExportFormat
from moceir.cli.run.terminal import echo
from moceir.errors import OutputError
from moceir.export.cache import export_model

PROGRAMS = {ExportFormat.onnx: "onnxruntime", ExportFormat.openvino: "OpenVINO"}


def run(arguments: ExportArguments) -> None:
    """Export a model, and print what was compared.

    Raises:
        OutputError: If a file exists already and may not be replaced.
    """
    weights = [arguments.output.with_suffix(".bin")] if arguments.format is ExportFormat.openvino else []
    for path in (arguments.output, *weights):
        if path.exists() and not arguments.overwrite:
            raise OutputError(f"{path} exists already; add --overwrite or choose another output")
    done = export_model(arguments.model, arguments.output, arguments.format, batch=arguments.batch, half=arguments.half)
    echo(f"wrote {done.path}: {done.size_bytes / 1e6:.1f} MB, {done.format}")
    echo(
        f"{PROGRAMS[arguments.format]} equals the model in {done.comparisons} comparisons that take every expert; the "
        f"largest difference is {done.largest_difference:.1e}, where white is 1"
    )
