"""A network on a device: float batches in, restored batches out, whole if memory allows, else in tiles."""

from __future__ import annotations

import time
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from moceir.config import ModelConfig
from moceir.errors import ConfigError
from moceir.machine.devices import choose_device, choose_precision
from moceir.machine.memory import available_bytes, is_out_of_memory
from moceir.machine.processes import check_fork
from moceir.models.cost import network_cost
from moceir.models.execution import for_inference
from moceir.models.execution.compilation import CompiledInference
from moceir.models.layers import bicubic
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision, check_routes, join_decisions
from moceir.restoration.backends import Room
from moceir.restoration.memory import needed_bytes
from moceir.restoration.options import RestoreOptions
from moceir.restoration.pixels import Images
from moceir.restoration.progress import report_progress, values_per_pixel
from moceir.restoration.reports import routing_reports
from moceir.restoration.result import RestorationResult
from moceir.restoration.tiling import image_sizes, restore_in_tiles
from moceir.restoration.tones import keep_tones

DEVICE_BATCH_PIXELS = 2**20
"""Pixels of a batch of small pictures, which do not keep an accelerator busy alone. A processor gains nothing by it."""


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
    """A network in torch as a backend.

    Args:
        model: The network; it is moved to the device, to 32-bit floats and to evaluation mode.
        options: Where and how it computes.

    Raises:
        ConfigError: As `prepare_device`.
    """

    def __init__(self, model: MoCEIR, options: RestoreOptions) -> None:
        self.device = prepare_device(options)
        self.model = model.to(self.device, torch.float32).eval()
        self.config = model.config
        self.batch_pixels = 0 if self.device.type == "cpu" else DEVICE_BATCH_PIXELS
        self._striped = for_inference(self.model)
        self._compiled = CompiledInference(self.model) if options.compiled else None
        self._room = Room(str(self.device), partial(available_bytes, self.device))

    def check(self, options: RestoreOptions) -> None:
        """Check the options that depend on the network and its device.

        Raises:
            ConfigError: If the device lacks the precision, or the experts or the factor do not fit the network.
        """
        choose_precision(options.precision, self.device)
        fixed_route(self.config, options)
        if self.upscale(options) > self.config.scale:
            raise ConfigError(
                f"upscale is {options.upscale}, but this network enlarges by {self.config.scale}; name another model, "
                f"or load it anew by moceir.Restorer.from_pretrained(upscale={options.upscale})"
            )

    def upscale(self, options: RestoreOptions) -> int:
        """Return the factor by which pictures grow."""
        return self.config.scale if options.upscale is None else options.upscale

    def needed_bytes(self, height: int, width: int, tile: int | None = None, images: int = 1) -> int:
        """Predict the peak memory of restoring pictures, whole or in tiles, beside the loaded network."""
        return needed_bytes(self.config, height, width, tile, images, self.device.type)

    def restore(self, images: Images, options: RestoreOptions) -> RestorationResult[Images]:
        """Restore a batch, as `restore_tensor` does, from and to an array ``(B, 3, H, W)``."""
        answer = self.restore_tensor(torch.from_numpy(images), options)
        return answer.with_restored(answer.restored.cpu().numpy())

    def restore_tensor(self, images: Tensor, options: RestoreOptions) -> RestorationResult[Tensor]:
        """Restore a batch.

        Args:
            images: ``(B, 3, H, W)`` float32 RGB in [0, 1], on any device.
            options: What is asked.

        Returns:
            The batch, enlarged by the factor asked for, in [0, 1], without gradients, on the network's device.

        Raises:
            ConfigError: If this process was forked and would hang.
            TooLargeError: If not even tiles fit into memory.
        """
        _check_fork(self.device)
        given = images.to(self.device)
        height, width = given.shape[-2:]
        dtype = choose_precision(options.precision, self.device)
        (restored, decisions, seconds), tile_px = self._room.fit(
            given,
            options.memory_limit,
            lambda tile, at_a_time: self.needed_bytes(height, width, tile, at_a_time),
            lambda tile, at_a_time: self._timed(given, tile, at_a_time, options, dtype),
        )
        upscale = self.upscale(options)
        if upscale < self.config.scale:
            restored = _reduced(restored, height * upscale, width * upscale)
        if options.keep_tones or options.strength < 1:
            given = bicubic(given, upscale).clamp(0, 1)
        if options.keep_tones:
            restored = keep_tones(given, restored)
        if options.strength < 1:
            restored = given.lerp(restored, options.strength)
        routing = tuple(routing_reports(self.config, decisions, height, width))
        width, height = width * upscale, height * upscale
        precision = str(dtype).removeprefix("torch.")
        return RestorationResult(
            restored, routing, width, height, seconds, seconds, precision=precision, tile_px=tile_px, upscale=upscale
        )

    def _timed(
        self, images: Tensor, tile: int | None, at_a_time: int, options: RestoreOptions, dtype: torch.dtype
    ) -> tuple[Tensor, list[RoutingDecision], float] | None:
        """Restore a batch some images at a time, and measure the seconds; None if memory runs out."""
        began = time.perf_counter()
        done: list[tuple[Tensor, list[RoutingDecision]]] = []
        for part in images.split(at_a_time):
            attempt = self._attempt(part, tile, options, dtype)
            if attempt is None:
                return None
            done.append(attempt)
        seconds = time.perf_counter() - began
        restored, decisions = zip(*done, strict=True)
        blocks = [join_decisions(block) for block in zip(*decisions, strict=True)]
        return restored[0] if len(restored) == 1 else torch.cat(restored), blocks, seconds

    def _attempt(
        self, images: Tensor, tile: int | None, options: RestoreOptions, dtype: torch.dtype
    ) -> tuple[Tensor, list[RoutingDecision]] | None:
        """Restore the images, whole or in tiles; None if memory runs out."""
        route = fixed_route(self.config, options)
        routes = None if route is None else route.expand(-1, len(images), -1)
        half = torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)
        try:
            with torch.inference_mode(), half, report_progress(lambda: self._count_values(images, tile)):
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

    def _count_values(self, images: Tensor, tile: int | None) -> int:
        """Count the values that ``watch_stripes`` reports while the images are restored."""
        batch, _, height, width = images.shape
        sizes = [(height, width)] if tile is None else image_sizes(height, width, tile)
        padded = [self.config.padded_size(*size) for size in sizes]
        of_pixel = values_per_pixel(self.config)  # pyright: ignore[reportArgumentType] - pydantic makes a hash
        return batch * of_pixel * sum(rows * columns for rows, columns in padded)


def _reduced(images: Tensor, height: int, width: int) -> Tensor:
    """Reduce what was enlarged too much, with antialiasing."""
    return F.interpolate(images, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


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
