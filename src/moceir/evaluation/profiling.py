"""What a network costs on this machine: multiply-accumulates, time and peak memory, by route and size."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from moceir.errors import ImageError
from moceir.machine.allocator import keep_freed_memory
from moceir.machine.devices import choose_device, choose_precision
from moceir.machine.memory import available_bytes, describe_bytes
from moceir.models.cost import network_cost
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer
from moceir.restoration.options import Experts
from moceir.weights import load

Route = Literal["cheapest", "dearest", "taken"]
ROUTES: dict[Route, Experts] = {"cheapest": "cheapest", "dearest": "dearest", "taken": "auto"}
WARM_UPS = 2
SAMPLE_BYTES = 60
"""Of each pixel of a picture to measure with, as it is made."""


@dataclass(frozen=True)
class Subject:
    """A network to measure.

    Attributes:
        name: Of a model (see ``moceir.load``), or of a preset.
        untrained: Whether it is a preset, which gets random weights, always the same.
    """

    name: str
    untrained: bool = False

    def load(self) -> MoCEIR:
        """Build the network.

        Raises:
            ConfigError: If there is no such preset.
            WeightsError: If there is no such model.
        """
        if not self.untrained:
            return load(self.name)
        config = preset(self.name)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return MoCEIR(config)


@dataclass(frozen=True)
class Profile:
    """What one picture costs on one route.

    Attributes:
        model: Name of the network.
        width: Of the picture, in pixels.
        height: Likewise.
        parameters: Of the whole network, in all experts.
        route: ``cheapest`` and ``dearest`` are forced; ``taken`` is what the routers choose for `sample_picture`.
        experts: The experts of that route in each decoder block, deep first.
        gmacs: 10^9 multiply-accumulates of convolutions and matrix products.
        fft_gops: 10^9 real operations of the experts' FFTs, which are not among those.
        seconds: Median time of a restoration.
        peak_memory_mib: Memory at its peak above that of the loaded model; None where it cannot be told.
    """

    model: str
    width: int
    height: int
    parameters: int
    route: Route
    experts: tuple[tuple[int, ...], ...]
    gmacs: float
    fft_gops: float
    seconds: float
    peak_memory_mib: float | None


def describe_machine(
    device: str = "auto", threads: int | None = None, precision: str = "auto"
) -> dict[str, str | int | None]:
    """What a measured time must be read beside: processor, cores, threads, device, precision and the version of torch.

    Args:
        device: As for `Restorer`.
        threads: Of torch on the processor, if not those it has now.
        precision: As for `Restorer`.

    Raises:
        ConfigError: If the device is unknown or not there, or lacks the precision.
    """
    chosen = choose_device(device)
    return {
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "device": str(chosen),
        "device_name": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else None,
        "precision": str(choose_precision(precision, chosen)).removeprefix("torch."),
        "torch": torch.__version__,
    }


def wait_for(device: torch.device) -> None:
    """Let a device finish its work, so that the clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def sample_picture(width: int, height: int) -> Tensor:
    """A smooth pattern with Gaussian noise of sigma 25/255: ``(1, 3, height, width)`` in [0, 1], always the same."""
    y, x = torch.linspace(0, 6, height)[:, None], torch.linspace(0, 6, width)
    smooth = 0.5 + 0.4 * torch.stack([torch.sin(x + y), torch.cos(2 * x - y), torch.sin(x) * torch.cos(y)])
    noise = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    return (smooth + noise * 25 / 255).clamp(0, 1)[None]


def profile(
    subject: Subject,
    width: int,
    height: int,
    device: str = "auto",
    precision: str = "auto",
    *,
    threads: int | None = None,
    repeat: int = 5,
    compiled: bool = False,
) -> Iterator[Profile]:
    """Measure one network at one size on each route.

    Args:
        subject: What to measure.
        width: Of the picture, in pixels, from 1.
        height: Likewise.
        device: As for `Restorer`.
        precision: Likewise.
        threads: Of torch on the processor; None leaves them as they are.
        repeat: How many restorations the median is taken of, from 1.
        compiled: As for `Restorer`; the peak memory on the processor is that without it.

    Raises:
        ConfigError: If the preset or the device is unknown or not there, or the device lacks the precision.
        ImageError: If the picture does not fit into memory.
        WeightsError: If the model is missing, damaged or unsafe.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        model = subject.load()
        free = available_bytes(torch.device("cpu"))
        if free is not None and (needed := SAMPLE_BYTES * width * height) > free:
            taken = f"takes {describe_bytes(needed)} to make, and {describe_bytes(free)} are free"
            raise ImageError(f"a picture of {width}x{height} {taken}; give a smaller size")
        picture = sample_picture(width, height).to(choose_device(device))
        free_to_choose = Restorer(model, device=device, precision=precision, compiled=compiled)
        for route, experts in ROUTES.items():
            restorer = free_to_choose.with_experts(experts)
            report = restorer.restore(picture, return_routing=True)[1][0]
            yield Profile(
                model=subject.name,
                width=width,
                height=height,
                parameters=sum(p.numel() for p in model.parameters()),
                route=route,
                experts=report.experts,
                gmacs=report.gmacs,
                fft_gops=network_cost(model.config, height, width).fft_ops(report.experts) / 1e9,
                seconds=_median_seconds(restorer, picture, repeat),
                peak_memory_mib=_peak_mib(restorer, subject, picture, experts, precision),
            )
    finally:
        torch.set_num_threads(before)


def _median_seconds(restorer: Restorer, picture: Tensor, repeat: int) -> float:
    """Median time of `repeat` restorations, all work on the device included."""
    for _ in range(WARM_UPS):
        restorer.restore(picture)
    seconds: list[float] = []
    for _ in range(repeat):
        wait_for(restorer.device)
        began = time.perf_counter()
        restorer.restore(picture)
        wait_for(restorer.device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _cpu_name() -> str:
    """Name of the processor; on Linux Python itself knows only its family."""
    if (info := Path("/proc/cpuinfo")).exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _peak_mib(restorer: Restorer, subject: Subject, picture: Tensor, experts: Experts, precision: str) -> float | None:
    """Peak memory of one restoration: what torch handed out on CUDA, what the system handed out on the processor."""
    if restorer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(restorer.device)
        before = torch.cuda.memory_allocated(restorer.device)
        restorer.restore(picture)
        return (torch.cuda.max_memory_allocated(restorer.device) - before) / 2**20
    if restorer.device.type != "cpu":
        return None
    height, width = picture.shape[-2:]
    peak_bytes = cpu_peak_bytes(subject, width, height, experts, torch.get_num_threads(), precision)
    return None if peak_bytes is None else peak_bytes / 2**20


def cpu_peak_bytes(
    subject: Subject,
    width: int,
    height: int,
    experts: Experts = "auto",
    threads: int = 1,
    precision: str = "auto",
) -> int | None:
    """Measure the peak memory of one restoration on the processor, above that of the loaded model.

    In a fresh process: in this one, memory of earlier restorations is still at hand and would be used again unseen.

    Returns:
        Bytes at the peak; None where the system cannot tell.

    Raises:
        ImageError: If the picture does not fit into memory.
    """
    arguments = (subject, width, height, experts, threads, precision)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        try:
            return fresh.submit(_peak_in_this_process, *arguments).result()
        except BrokenProcessPool as error:
            msg = (
                f"the process that restored {width}x{height} pixels to measure its memory was ended from outside, most "
                "likely for lack of memory; choose a smaller size"
            )
            raise ImageError(msg) from error


def _peak_in_this_process(
    subject: Subject, width: int, height: int, experts: Experts, threads: int, precision: str
) -> int | None:
    """In a process of its own: memory above that of the loaded model while one picture is restored."""
    torch.set_num_threads(threads)
    restorer = Restorer(subject.load(), device="cpu", experts=experts, precision=precision)
    picture = sample_picture(width, height)
    restorer.restore(sample_picture(8, 8))  # what the libraries set up once is not the picture's
    # As the commands do, but after loading, so that nothing which loading freed can be used again unseen.
    keep_freed_memory()
    return peak_growth_bytes(lambda: restorer.restore(picture))


def peak_growth_bytes(act: Callable[[], object]) -> int | None:
    """How far a call raises this process's memory above where it stood, at most; None where the system cannot tell.

    Where the high-water mark cannot be set back (outside Linux), what loading needed for a moment hides as much of it.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _high_water_bytes()
    act()
    after = _high_water_bytes()
    return None if before is None or after is None else after - before


def _high_water_bytes() -> int | None:
    # Linux's getrusage counts in the process this one was started from: its own mark stands in its status alone.
    if (status := Path("/proc/self/status")).exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
