"""Profiling of a network on this machine: multiply-accumulates, time and peak memory, by route and size."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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

ProfiledRoute = Literal["cheapest", "dearest", "taken"]
ROUTES: dict[ProfiledRoute, Experts] = {"cheapest": "cheapest", "dearest": "dearest", "taken": "auto"}
WARM_UPS = 2
"""Restorations before the first one that is timed."""
SAMPLE_BYTES = 60
"""Bytes per pixel that making a sample picture takes."""


@dataclass(frozen=True)
class Subject:
    """A network to measure.

    Attributes:
        name: Name of a model (see ``moceir.load``) or of a preset.
        untrained: Whether ``name`` is a preset. Its weights are random, but always the same.
    """

    name: str
    untrained: bool = False

    def load(self) -> MoCEIR:
        """Build or load the network.

        Raises:
            ConfigError: If there is no such preset.
            WeightsError: If there is no such model, or it is damaged or unsafe.
        """
        if not self.untrained:
            return load(self.name)
        config = preset(self.name)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return MoCEIR(config)


@dataclass(frozen=True)
class Profile:
    """Cost of one picture on one route.

    Attributes:
        model: Name of the network.
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
        parameters: Number of parameters of the whole network, including all experts.
        route: ``cheapest`` and ``dearest`` are forced; ``taken`` is the choice of the routers for ``sample_picture``.
        experts: Experts of the route in each decoder block, deep first.
        gmacs: Multiply-accumulates of convolutions and matrix products, in 10^9.
        fft_gops: Real operations of the FFTs of the experts, in 10^9, which ``gmacs`` does not include.
        seconds: Median time of a restoration.
        peak_memory_mib: Peak memory above that of the loaded model, in MiB; None where it cannot be measured.
    """

    model: str
    width: int
    height: int
    parameters: int
    route: ProfiledRoute
    experts: tuple[tuple[int, ...], ...]
    gmacs: float
    fft_gops: float
    seconds: float
    peak_memory_mib: float | None


def describe_machine(
    device: str = "auto", threads: int | None = None, precision: str = "auto"
) -> dict[str, str | int | None]:
    """Describe the machine that times are measured on.

    Args:
        device: Device, as for ``Restorer``.
        threads: Threads of torch on the processor; None for the current number.
        precision: Precision, as for ``Restorer``.

    Returns:
        Processor, cores, threads, device, precision and the version of torch.

    Raises:
        ConfigError: If the device is unknown or not available, or does not support the precision.
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
    """Wait until a device has finished its work, so that the clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def sample_picture(width: int, height: int) -> Tensor:
    """Create a smooth pattern with Gaussian noise of sigma 25/255, always the same for a size.

    Args:
        width: Width in pixels, at least 1.
        height: Height in pixels, at least 1.

    Returns:
        ``(1, 3, height, width)`` in [0, 1].
    """
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
    """Measure a network at one size on each route.

    Args:
        subject: Network to measure.
        width: Width of the picture in pixels, at least 1.
        height: Height of the picture in pixels, at least 1.
        device: Device, as for ``Restorer``.
        precision: Precision, as for ``Restorer``.
        threads: Threads of torch on the processor; None for the current number.
        repeat: Number of restorations to take the median of, at least 1.
        compiled: Whether to compile, as for ``Restorer``. Peak memory on the processor is always measured without.

    Yields:
        The cost on the cheapest, the dearest and the taken route.

    Raises:
        ConfigError: If the preset or the device is unknown or not available, or the device does not support the
            precision.
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
                seconds=median_restore_seconds(restorer, picture, repeat),
                peak_memory_mib=_peak_mib(restorer, subject, picture, experts, precision),
            )
    finally:
        torch.set_num_threads(before)


def median_restore_seconds(restorer: Restorer, picture: Tensor, repeat: int) -> float:
    """Measure the median time of ``repeat`` restorations, including all work on the device."""
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


def median_process_seconds(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Measure the median processor time of each call in seconds. Each round makes all calls in turn.

    With one thread, this equals the elapsed time on an idle machine, and other programs hardly disturb it.

    Args:
        calls: Functions to measure.
        rounds: Number of measured rounds, at least 1. One more round before them is a warm-up.
    """
    taken: list[list[float]] = [[] for _ in calls]
    for lap in range(rounds + 1):
        for call, times in zip(calls, taken, strict=True):
            began = time.process_time()
            call()
            if lap:
                times.append(time.process_time() - began)
    return [statistics.median(times) for times in taken]


def _cpu_name() -> str:
    """Return the name of the processor. On Linux, Python only knows its family."""
    if (info := Path("/proc/cpuinfo")).exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _peak_mib(restorer: Restorer, subject: Subject, picture: Tensor, experts: Experts, precision: str) -> float | None:
    """Measure the peak memory of a restoration: memory allocated by torch on CUDA, by the process on the processor."""
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
    """Measure the peak memory of a restoration on the processor, above that of the loaded model.

    The restoration runs in a fresh process. This process may still hold memory of earlier restorations, which would be
    reused without being counted.

    Args:
        subject: Network to measure.
        width: Width of the picture in pixels, at least 1.
        height: Height of the picture in pixels, at least 1.
        experts: Experts, as for ``Restorer``.
        threads: Threads of torch.
        precision: Precision, as for ``Restorer``.

    Returns:
        Bytes at the peak; None where the system does not report them.

    Raises:
        ConfigError: If the preset is unknown or the processor does not support the precision.
        ImageError: If the picture does not fit into memory.
        WeightsError: If the model is missing, damaged or unsafe.
    """
    arguments = (subject, width, height, experts, threads, precision)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        try:
            return fresh.submit(_peak_in_this_process, *arguments).result()
        except BrokenProcessPool as error:
            msg = (
                f"the process that restored {width}x{height} pixels to measure its memory was killed, most likely "
                "because memory ran out; choose a smaller size"
            )
            raise ImageError(msg) from error


def _peak_in_this_process(
    subject: Subject, width: int, height: int, experts: Experts, threads: int, precision: str
) -> int | None:
    """Measure the memory above that of the loaded model while a picture is restored, in a process of its own."""
    torch.set_num_threads(threads)
    restorer = Restorer(subject.load(), device="cpu", experts=experts, precision=precision)
    picture = sample_picture(width, height)
    restorer.restore(sample_picture(8, 8))  # one-time setup of libraries does not belong to the picture
    # As in the commands, but after loading, so that memory which loading freed is not reused without being counted.
    keep_freed_memory()
    return peak_growth_bytes(lambda: restorer.restore(picture))


def peak_growth_bytes(act: Callable[[], object]) -> int | None:
    """Measure by how many bytes a call raises the memory of this process at most.

    Where the high-water mark cannot be reset (outside Linux), an earlier peak hides growth below it.

    Args:
        act: Function to call.

    Returns:
        Bytes above the memory before the call; None where the system does not report them.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _high_water_bytes()
    act()
    after = _high_water_bytes()
    return None if before is None or after is None else after - before


def _high_water_bytes() -> int | None:
    # On Linux, getrusage includes the peak of the parent process. Only /proc/self/status has that of this process.
    if (status := Path("/proc/self/status")).exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
