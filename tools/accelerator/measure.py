"""Measure inference there in under two minutes, and single layers in the forms that training can use."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moceir.evaluation.report import markdown_table
from moceir.files import whole_file
from moceir.models.cost import network_cost
from moceir.models.execution import for_inference
from moceir.models.execution.device import faster_class
from moceir.models.execution.views import view
from moceir.models.experts import WindowFFTAttention
from moceir.models.layers import ChannelLayerNorm, depthwise
from moceir.models.network import DecoderBlock, EncoderBlock, MoCEIR
from moceir.weights import load

SIZES = ((256, 256), (1024, 1024), (4000, 3000))
FORMS = ("float32", "bfloat16", "float32 compiled", "bfloat16 compiled", "bfloat16 compiled graphs")
BATCHES = (1, 16)
MOST_PIXELS = 2**25
"""Batches with more pixels are left out: they would not fit, and say nothing new."""


def measure(
    model: str,
    device: str,
    output: Path,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    batches: Sequence[int] = BATCHES,
    forms: Sequence[str] = FORMS,
    seconds: float = 110.0,
) -> None:
    """Measure a model in all forms, and layers, until the time is up.

    Args:
        model: Name or folder.
        device: ``cuda`` or ``cpu``.
        output: Folder for ``measure.json``.
        sizes: Width and height of the pictures.
        batches: Pictures per batch.
        forms: Some of `FORMS`.
        seconds: No measurement begins after this time.
    """
    end = time.monotonic() + seconds
    place = torch.device(device)
    bandwidth, matrix_rate = ceilings(place)
    print(f"copies {bandwidth / 1e9:.0f} GB/s, bfloat16 products {matrix_rate / 1e12:.1f} TFLOP/s\n")
    rows: list[dict[str, Any]] = []
    for form, (width, height), batch in product(forms, sizes, batches):
        if time.monotonic() > end or batch * width * height > MOST_PIXELS:
            continue
        network = load(model).to(place)
        images = torch.rand(batch, 3, height, width, device=place).contiguous(memory_format=torch.channels_last)
        taken = median_seconds(_inference(network, form, images), place)
        macs = network_cost(network.config, height, width)
        flops = 2 * batch * macs.macs(macs.cheapest)
        rows.append(
            {
                "form": form,
                "size": f"{width}x{height}",
                "batch": batch,
                "images_per_s": batch / taken,
                "share_of_products": flops / taken / matrix_rate,
                "share_of_bandwidth": least_bytes(network, images, form) / taken / bandwidth,
            }
        )
        print(rows[-1], flush=True)
    layers = measure_layers(place, end)
    with whole_file(output / "measure.json") as part:
        content = {"bandwidth": bandwidth, "matrix_rate": matrix_rate, "inference": rows, "layers": layers}
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    header = ("form", "size", "batch", "images/s", "of products", "of bandwidth")
    shares = ("share_of_products", "share_of_bandwidth")
    cells = [
        [r["form"], r["size"], str(r["batch"]), f"{r['images_per_s']:.1f}", *(f"{r[share]:.1%}" for share in shares)]
        for r in rows
    ]
    print("", *markdown_table(header, cells), "", sep="\n")
    print(*markdown_table(("layer, forward and backward", "usual ms", "device ms"), layers), sep="\n")


def median_seconds(call: Callable[[], object], device: torch.device, repeat: int = 5) -> float:
    """Time a call: the median of some, after two that prepare."""
    for _ in range(2):
        call()
    times: list[float] = []
    for _ in range(repeat):
        _wait(device)
        begun = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ceilings(device: torch.device) -> tuple[float, float]:
    """Measure what the device can do: bytes per second of a copy, read and written, and operations of a product."""
    large = device.type == "cuda"
    source = torch.rand(2**28 if large else 2**22, device=device)
    target = torch.empty_like(source)
    copying = median_seconds(lambda: target.copy_(source), device)
    side = 8192 if large else 512
    matrix = torch.randn(side, side, device=device).bfloat16()
    multiplying = median_seconds(lambda: matrix @ matrix, device)
    return 2 * source.numel() * 4 / copying, 2 * side**3 / multiplying


def _inference(network: MoCEIR, form: str, images: Tensor) -> Callable[[], object]:
    graphs = "graphs" in form
    if "compiled" in form:
        run = network
        for part in network.modules():
            if isinstance(part, EncoderBlock | DecoderBlock):
                part.compile(mode="reduce-overhead" if graphs else None)
    else:
        run = for_inference(network)

    def restore() -> None:
        if graphs:
            torch.compiler.cudagraph_mark_step_begin()  # what the last call left may be overwritten
        with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled="bfloat16" in form):
            run(images)

    return restore


def least_bytes(network: MoCEIR, images: Tensor, form: str) -> float:
    """Count the bytes of all layers' inputs and outputs, each read or written once; by a small picture of its kind."""
    counted = 0

    def count(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal counted
        counted += sum(x.numel() for x in (*inputs, output) if isinstance(x, Tensor))

    layers = [part for part in network.modules() if not list(part.children())]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
            network(torch.rand(1, 3, 64, 64, device=images.device))
    finally:
        for hook in hooks:
            hook.remove()
    item = 2 if "bfloat16" in form else 4
    return counted * item * images.shape[0] * images.shape[2] * images.shape[3] / 64**2


def measure_layers(device: torch.device, end: float) -> list[list[str]]:
    """Time layers forward and backward in both kinds; on a GPU compiled, as they are in training."""
    channels, size = (32, (64, 128, 128)) if device.type == "cuda" else (8, (1, 32, 32))
    layers: dict[str, nn.Module] = {
        "depthwise 3x3": depthwise(channels, 3, bias=True),
        "depthwise 7x7": depthwise(channels, 7, bias=True),
        "norm": ChannelLayerNorm(channels),
        "windows of 8": WindowFFTAttention(channels, 8),
        "windows of 32": WindowFFTAttention(channels, 32),
    }
    batch, height, width = size
    rows: list[list[str]] = []
    for name, layer in layers.items():
        if time.monotonic() > end:
            break
        plain = layer.to(device)
        cells = [name]
        for form in (plain, view(plain, faster_class)):
            x = torch.randn(batch, channels, height, width, device=device)
            x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
            compiled: Any = torch.compile(form, dynamic=False) if device.type == "cuda" else form

            def both(compiled: Any = compiled, x: Tensor = x) -> None:
                with torch.autocast(device.type, torch.bfloat16):
                    compiled(x).float().square().mean().backward()

            cells.append(f"{median_seconds(both, device) * 1e3:.3f}")
        rows.append(cells)
    return rows
