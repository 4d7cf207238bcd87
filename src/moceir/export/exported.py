"""``to_onnx`` and ``to_openvino``: files that are written only if they compute what the network computes."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from moceir.errors import require_extra
from moceir.files import whole_file
from moceir.models.network import MoCEIR
from moceir.onnx_files import CONFIG, INPUT, OUTPUT


class Exported(NamedTuple):
    """A file that was exported and verified."""

    path: Path
    format: str
    """With its version, for example ``ONNX opset 18``."""
    size_bytes: int
    """Of all that was written: OpenVINO has a second file for the weights."""
    comparisons: int
    """How many pictures and routes were compared."""
    largest_difference: float
    """Between the file and the network, where 1 is white."""


def to_onnx(
    network: MoCEIR,
    path: str | Path,
    *,
    batch: bool = False,
    half: bool = False,
    name: str = "MoCE-IR",
    license: str = "unknown",
) -> Exported:
    """Write a network as an ONNX file that restores images of any size, from 1x1 pixel up.

    The file has one input ``image``, ``(N, 3, H, W)`` float32 RGB in [0, 1], and one output ``restored``, the same or
    ``(N, 3, sH, sW)``, not clamped. Routing and padding happen inside. Before the file appears, onnxruntime runs it on
    small pictures of odd and even sizes, with every expert in every block, and the results are compared with the
    network's.

    Args:
        network: The network; it does not change.
        path: The file.
        batch: Leave the number of images open. All experts then work on all images, so each takes longer. By default,
            the file takes one image, and only the chosen experts work on it.
        half: Store the weights as float16: half the size, and exact for weights that were stored so before. The
            arithmetic stays in float32.
        name: Name of the model, for the file's metadata.
        license: Terms of the weights, for the file's metadata.

    Raises:
        MissingExtraError: If the libraries of the extra ``export`` are not installed.
        ExportError: If the file computes something else than the network. No file is left behind.
        OutputError: If the file cannot be written.
    """
    plain, model = _graph(network, batch=batch, half=half, name=name, license=license)
    # Libraries of the extra: only here is it certain that they are installed.
    import onnx_ir  # noqa: PLC0415

    from moceir.export.verification import onnx_candidate, verify  # noqa: PLC0415

    path = Path(path)
    with whole_file(path) as part:
        onnx_ir.save(model, part)
        compared = verify(plain, onnx_candidate(part), batch=batch)
    return Exported(path, f"ONNX opset {model.opset_imports['']}", path.stat().st_size, *compared)


def to_openvino(
    network: MoCEIR,
    path: str | Path,
    *,
    batch: bool = False,
    half: bool = False,
    name: str = "MoCE-IR",
    license: str = "unknown",
) -> Exported:
    """Write a network as OpenVINO's two files, ``NAME.xml`` and ``NAME.bin``, or neither.

    They hold what `to_onnx` writes, and OpenVINO itself is compared with the network in the same way.

    Args:
        network: The network; it does not change.
        path: The ``.xml`` file. The weights go beside it.
        batch: As for `to_onnx`.
        half: As for `to_onnx`.
        name: As for `to_onnx`.
        license: As for `to_onnx`.

    Raises:
        MissingExtraError: If the libraries of the extras ``export`` and ``openvino`` are not installed.
        ExportError: If the files compute something else than the network. No file is left behind.
        OutputError: If a file cannot be written.
    """
    require_extra("openvino", "openvino")
    plain, model = _graph(network, batch=batch, half=half, name=name, license=license)
    # Libraries of the extras: only here is it certain that they are installed.
    import onnx_ir  # noqa: PLC0415
    import openvino  # noqa: PLC0415

    from moceir.export.openvino_candidate import core, openvino_candidate  # noqa: PLC0415
    from moceir.export.verification import verify  # noqa: PLC0415

    path = Path(path)
    weights = path.with_suffix(".bin")
    converted: Any = core().read_model(onnx_ir.to_proto(model).SerializeToString())
    with whole_file(weights) as weights_part, whole_file(path) as part:
        openvino.serialize(converted, part, weights_part)
        compared = verify(plain, openvino_candidate(part, weights_part), batch=batch)
    return Exported(path, "OpenVINO IR", path.stat().st_size + weights.stat().st_size, *compared)


def _graph(network: MoCEIR, *, batch: bool, half: bool, name: str, license: str) -> tuple[MoCEIR, Any]:
    """Record a network; return the copy that was recorded, and the graph with its metadata.

    Raises:
        MissingExtraError: If the libraries of the extra ``export`` are not installed.
    """
    for library in ("onnx_ir", "onnxruntime"):
        require_extra(library, "export")
    # They need libraries of the extra.
    from moceir.export.graph import network_graph  # noqa: PLC0415
    from moceir.export.verification import on_cpu  # noqa: PLC0415

    scale = network.config.scale
    enlarged = "" if scale == 1 else f" (H and W times {scale})"
    plain = on_cpu(network, half=half)
    model = network_graph(plain, batch=batch, half=half)
    model.producer_version = version("moceir")
    model.metadata_props.update(
        {
            "model": name,
            "moceir_version": version("moceir"),
            "license": license,
            "input": f"{INPUT}: (N, 3, H, W) float32 RGB in [0, 1], any H and W from 1, "
            f"N {'from 1' if batch else '= 1'}",
            "output": f"{OUTPUT}: the same shape{enlarged} and range, not clamped",
            CONFIG: network.config.model_dump_json(),
        }
    )
    return plain, model
