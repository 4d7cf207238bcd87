"""A network on a device: float batches in, restored batches out, whole if memory allows, else in tiles."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from moceir.config import ModelConfig
from moceir.errors import ConfigError, ImageError
from moceir.machine.devices import choose_device, choose_precision
from moceir.machine.memory import available_bytes, describe_bytes, is_out_of_memory
from moceir.machine.processes import check_fork
from moceir.models.cost import network_cost
from moceir.models.execution import for_inference
from moceir.models.execution.compilation import CompiledInference
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision, check_routes, join_decisions
from moceir.restoration.memory import needed_bytes
from moceir.restoration.options import RestoreOptions
from moceir.restoration.reports import routing_reports
from moceir.restoration.result import RestorationResult
from moceir.restoration.tiling import restore_in_tiles, tile_sides
from moceir.restoration.tones import keep_tones

FREE_SHARE = 0.9
"""How much of the free memory is used if no limit is given."""
ASK_EVERY_S = 1.0
"""How old an answer may be to how much memory is free: asking takes as long as a small picture."""

FIXED_OPTIONS = ("model", "device", "threads", "compiled")
"""Options of the loaded network, which all that share it have in common."""


def prepare_device(options: RestoreOptions) -> torch.device:
    """Make ready the device and the threads that a network is to compute with, before it is loaded.

    Raises:
        ConfigError: If the device is not there, or this process was forked and would hang.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    _check_fork(device)
    return device


def _check_fork(device: torch.device) -> None:
    """Refuse to compute where threads are missing; a single thread on the processor needs no others."""
    if device.type != "cpu":
        check_fork(device.type)
    elif torch.get_num_threads() > 1:
        check_fork("OpenMP")


class Engine:
    """A loaded network, shared by all restorers that differ only in what they ask of it.

    Args:
        model: The network; it is moved to the device, to 32-bit floats and to evaluation mode.
        options: Where and how it computes.

    Raises:
        ConfigError: As `prepare_device`.
    """

    def __init__(self, model: MoCEIR, options: RestoreOptions) -> None:
        self.device = prepare_device(options)
        self.model = model.to(self.device, torch.float32).eval()
        self._striped = for_inference(self.model)
        self._compiled = CompiledInference(self.model) if options.compiled else None
        self._free: tuple[float, int | None] = (-math.inf, None)

    def check(self, options: RestoreOptions) -> None:
        """Check the options that depend on the network and its device.

        Raises:
            ConfigError: If the device lacks the precision, or the experts do not fit the network.
        """
        choose_precision(options.precision, self.device)
        fixed_route(self.model.config, options)

    def restore(self, images: Tensor, options: RestoreOptions) -> RestorationResult[Tensor]:
        """Restore a batch.

        Args:
            images: ``(B, 3, H, W)`` float32 RGB in [0, 1], on any device.
            options: What is asked.

        Returns:
            The batch in the same shape, in [0, 1], without gradients, on the network's device.

        Raises:
            ConfigError: If this process was forked and would hang.
            ImageError: If not even tiles fit into memory.
        """
        _check_fork(self.device)
        given = images.to(self.device)
        dtype = choose_precision(options.precision, self.device)
        restored, decisions, tile_px, seconds = self._in_what_fits(given, options, dtype)
        if options.keep_tones:
            restored = keep_tones(given, restored)
        if options.strength < 1:
            restored = given.lerp(restored, options.strength)
        height, width = images.shape[-2:]
        routing = tuple(routing_reports(self.model.config, decisions, height, width))
        precision = str(dtype).removeprefix("torch.")
        return RestorationResult(restored, routing, width, height, seconds, seconds, precision, tile_px)

    def _in_what_fits(
        self, images: Tensor, options: RestoreOptions, dtype: torch.dtype
    ) -> tuple[Tensor, list[RoutingDecision], int | None, float]:
        """Restore whole if that fits, else in the largest tiles that do; also gives their side and the seconds."""
        height, width = images.shape[-2:]
        room = self._room_bytes(options)
        needed = 0
        for tile in (None, *tile_sides(max(height, width))):
            # Where a batch does not fit whole, its images come one after the other.
            for at_a_time in sorted({len(images), 1}, reverse=True):
                needed = needed_bytes(self.model.config, height, width, tile, at_a_time, self.device.type)
                if room is not None and needed > room:
                    continue
                began = time.perf_counter()
                done = [self._attempt(part, tile, options, dtype) for part in images.split(at_a_time)]
                seconds = time.perf_counter() - began
                fitted = [part for part in done if part is not None]
                if len(fitted) == len(done):
                    restored, decisions = zip(*fitted, strict=True)
                    blocks = [join_decisions(block) for block in zip(*decisions, strict=True)]
                    return torch.cat(restored), blocks, tile, seconds
        has = f"and {describe_bytes(room)} may be used" if room is not None else "which is not there"
        raise ImageError(
            f"a picture of {width}x{height} does not fit into the memory of {self.device}: it needs at least "
            f"{describe_bytes(needed)}, {has}; make it smaller, raise the limit or use another device"
        )

    def _room_bytes(self, options: RestoreOptions) -> int | None:
        """Return what a restoration may take; None if nobody knows."""
        if options.memory_limit is not None:
            return options.memory_limit
        asked_at, free = self._free
        if time.monotonic() - asked_at > ASK_EVERY_S:
            free = available_bytes(self.device)
            self._free = (time.monotonic(), free)
        return None if free is None else int(FREE_SHARE * free)

    def _attempt(
        self, images: Tensor, tile: int | None, options: RestoreOptions, dtype: torch.dtype
    ) -> tuple[Tensor, list[RoutingDecision]] | None:
        """Restore the images, whole or in tiles; None if memory runs out."""
        route = fixed_route(self.model.config, options)
        routes = None if route is None else route.expand(-1, len(images), -1)
        half = torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)
        try:
            with torch.inference_mode(), half:
                if tile is None:
                    network = self._compiled.chosen_for(images) if self._compiled else self._striped
                    restored, decisions = network.restore_with_routing(images, routes=routes, effort=options.shift)
                else:
                    restored, decisions = restore_in_tiles(self.model, images, tile, routes, options.shift)
                restored = restored.clamp(0, 1)
                if self.device.type != "cpu":  # an accelerator works on its own and may fail later
                    torch.accelerator.synchronize(self.device)
                return restored, decisions
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None


def fixed_route(config: ModelConfig, options: RestoreOptions) -> Tensor | None:
    """Return the route ``(decoder blocks, 1, top_k)`` to force on every image, or None to leave it to the routers.

    Raises:
        ConfigError: If the experts do not fit the network.
    """
    if options.experts == "auto":
        return None
    if isinstance(options.experts, str):
        cost = network_cost(config, 1, 1)
        rows = cost.cheapest if options.experts == "cheapest" else cost.dearest
    else:
        rows = options.experts
    blocks, known = config.routed_blocks, range(config.experts)
    if len(rows) != blocks or any(len(row) != config.top_k or not set(row) <= set(known) for row in rows):
        given = ",".join("+".join(map(str, row)) for row in rows) or "(none)"
        wanted = f"give {config.top_k} of 0 to {known[-1]} for each of its {blocks} decoder blocks"
        raise ConfigError(f"experts {given} do not fit this network; {wanted}")
    route = torch.tensor(rows, dtype=torch.int64).view(blocks, 1, config.top_k)
    return check_routes(route, config, 1)
