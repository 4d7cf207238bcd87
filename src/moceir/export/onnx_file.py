"""``to_onnx``: a network as an ONNX file that is written only if it computes what the network computes."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from moceir.errors import require_extra
from moceir.files import whole_file
from moceir.models.network import MoCEIR


class Exported(NamedTuple):
    """A file that was exported and verified."""

    path: Path
    opset: int
    size_bytes: int
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
    for library in ("onnx_ir", "onnxruntime"):
        require_extra(library, "export")
    # Libraries of the extra: only here is it certain that they are installed.
    import onnx_ir  # noqa: PLC0415

    from moceir.export.graph import INPUT, OUTPUT, network_graph  # noqa: PLC0415
    from moceir.export.verification import on_cpu, verify  # noqa: PLC0415

    path = Path(path)
    scale = network.config.scale
    enlarged = "" if scale == 1 else f" (H and W times {scale})"
    plain = on_cpu(network, half=half)
    model = network_graph(plain, batch=batch, half=half)
    model.producer_version = version("moceir")
    model.metadata_props.update(
        model=name,
        moceir_version=version("moceir"),
        license=license,
        input=f"{INPUT}: (N, 3, H, W) float32 RGB in [0, 1], any H and W from 1, N {'from 1' if batch else '= 1'}",
        output=f"{OUTPUT}: the same shape{enlarged} and range, not clamped",
        config=network.config.model_dump_json(),
    )
    with whole_file(path) as part:
        onnx_ir.save(model, part)
        comparisons, difference = verify(plain, part, batch=batch)
    return Exported(path, model.opset_imports[""], path.stat().st_size, comparisons, difference)
