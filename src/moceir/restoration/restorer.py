"""Restoring pictures: arrays, tensors and files in, the same kind out.

The contract: the result has the size, type and range of the input, whatever the size, from 1x1 up. Files keep bit depth
(as far as the format holds it), grey or colour, alpha, ICC profile, EXIF, XMP, IPTC and the way they are stored. The
network sees them upright and in sRGB; its change is carried over to the colours of the file.

Pictures are restored whole where memory allows. Else they are restored in tiles (see
``moceir.restoration.tiling``), and the caller is told; where not even that fits, they are refused.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moceir import image_io
from moceir.config import ModelConfig
from moceir.errors import ConfigError, ImageError
from moceir.image_io import Picture, Pixels
from moceir.machine.devices import choose_device, choose_precision
from moceir.machine.memory import available_bytes, describe_bytes, parse_bytes
from moceir.models.cost import network_cost
from moceir.models.execution import for_inference
from moceir.models.execution.compilation import CompiledInference
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision, check_routes, join_decisions
from moceir.restoration.memory import IMAGE_BYTES, peak_bytes
from moceir.restoration.reports import RoutingReport, routing_reports
from moceir.restoration.results import FileResult, NetworkResult, PictureResult
from moceir.restoration.tiling import restore_in_tiles, tile_sides
from moceir.weights import load

Image = TypeVar("Image", Tensor, NDArray[Any])
"""What `Restorer.restore` takes and gives back."""

WHOLE_TYPES = ("uint8", "uint16")
FREE_SHARE = 0.9
"""How much of the free memory is used if no limit is given."""
ASK_EVERY_S = 1.0
"""How old the answer may be to how much is free."""

Experts = Literal["auto", "cheapest", "dearest"] | Sequence[int] | Sequence[Sequence[int]]
"""Who works on a picture: whom the routers choose, the cheapest or dearest, or given ones per decoder block: one index,
or as many as work together, as `RoutingReport` has them."""

Effort = Literal["low", "auto", "high"] | float
"""How much a picture may cost, by the routers' choice shifted towards cheap (below 0) or dear experts (above 0)."""
EFFORTS: dict[str | float, float] = {"low": -1.0, "auto": 0.0, "high": 1.0}
"""The efforts with a name: by how much the score of the dearest expert is shifted, the others' less."""


class _Done(NamedTuple):
    """A restored picture or batch, what was decided or reported of it, side of the tiles, seconds in the network."""

    images: Any
    routing: Any
    tile: int | None
    seconds: float


class Restorer:
    """A network on a device, with everything around it that a picture needs.

    Args:
        model: The network; it is moved to the device and set to evaluation mode.
        device: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda`` or ``mps``.
        experts: ``auto`` leaves the choice to the routers; ``cheapest`` and ``dearest`` force the ends of the scale on
            every block; a sequence forces one expert on each decoder block, deep first.
        memory_limit: What a restoration may take beside the loaded network, in bytes or as text like ``4GB``. None
            takes nine tenths of what is free on the device at the time.
        effort: ``low``, ``auto``, ``high`` or a number: shifts what the routers choose. A picture never costs more with
            less effort; see `moceir.models.routing.Effort`.
        precision: Type of the arithmetic: ``float32``, ``bfloat16`` or ``float16``; ``auto`` is bfloat16 on CUDA
            devices made for it, else float32. Weights, spectra, and sums over the picture stay in float32.
        compiled: Let ``torch.compile`` (on GPUs with CUDA graphs) restore sizes that come again, the first few of them;
            see `moceir.models.execution.compilation`. Made for GPUs; the first restoration of each takes long.

    Raises:
        ConfigError: If the device is unknown or not there or lacks the precision, the experts do not fit the network,
            the limit is no amount of memory, or the effort is none or stands beside fixed experts.
    """

    def __init__(
        self,
        model: MoCEIR,
        device: str = "auto",
        experts: Experts = "auto",
        memory_limit: int | str | None = None,
        effort: Effort = "auto",
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        self.model = model.to(self.device).eval()
        self._striped = for_inference(self.model)
        self._compiled = CompiledInference(self.model) if compiled else None
        self.memory_limit = None if memory_limit is None else parse_bytes(str(memory_limit))
        self._free: tuple[float, int | None] = (-math.inf, None)
        self._route = _fixed_route(model.config, experts)
        self._shift = _shift_of(effort)
        if self._route is not None and self._shift:
            raise ConfigError(f"effort {effort} has nothing to choose beside fixed experts; give one of the two")

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path = "tiny",
        device: str = "auto",
        experts: Experts = "auto",
        memory_limit: int | str | None = None,
        effort: Effort = "auto",
        precision: str = "auto",
        compiled: bool = False,
    ) -> Self:
        """Load a bundled model by name, a model folder, or a published ``.ckpt``.

        Raises:
            ConfigError: As for the class.
            WeightsError: If the model is missing, damaged or unsafe.
        """
        return cls(load(name_or_folder), device, experts, memory_limit, effort, precision, compiled)

    def with_experts(self, experts: Experts) -> Self:
        """The same network, not copied, with other experts at work, and no effort that shifts them.

        Raises:
            ConfigError: If they do not fit the network.
        """
        other = copy.copy(self)
        other._route = _fixed_route(self.model.config, experts)
        other._shift = 0.0
        return other

    @overload
    def restore(self, image: Image, *, return_routing: Literal[False] = False, strength: float = 1.0) -> Image: ...

    @overload
    def restore(
        self, image: Tensor, *, return_routing: Literal[True], strength: float = 1.0
    ) -> tuple[Tensor, list[RoutingReport]]: ...

    @overload
    def restore(
        self, image: NDArray[Any], *, return_routing: Literal[True], strength: float = 1.0
    ) -> tuple[NDArray[Any], RoutingReport]: ...

    def restore(self, image: Tensor | NDArray[Any], *, return_routing: bool = False, strength: float = 1.0) -> Any:
        """Restore one picture or a batch of tensors.

        Args:
            image: ``(H, W, 3)`` RGB array of uint8, uint16 or floats in [0, 1]; or a float tensor ``(B, 3, H, W)`` in
                [0, 1], each image of which gets what it would get alone.
            return_routing: Also say which experts worked on it.
            strength: How much of the restoration to take, from 0 (the picture as it came) to 1 (all of it).

        Returns:
            The restored picture: same kind, shape, type, range and (for tensors) device. With ``return_routing`` a pair
            of that and the `RoutingReport`, or for tensors a list of reports, one per image.

        Warns:
            UserWarning: If it did not fit into memory whole and was restored in tiles.

        Raises:
            ConfigError: If the strength is not from 0 to 1.
            ImageError: If shape, type or values are other than these, or not even tiles fit into memory.
        """
        restored, reports, tile, _ = self._restore(image, strength)
        if tile is not None:
            height, width = image.shape[-2:] if isinstance(image, Tensor) else image.shape[:2]
            needed = describe_bytes(self._needed_bytes(height, width, None))
            warnings.warn(
                f"{width}x{height} pixels were restored in tiles of {tile}, which is close to the whole but not the "
                f"same; whole they need {needed} of memory",
                stacklevel=2,
            )
        return (restored, reports) if return_routing else restored

    def _restore(self, image: Tensor | NDArray[Any], strength: float) -> _Done:
        """What came of `restore`: the picture or pictures, and their reports."""
        check_strength(strength)
        if isinstance(image, Tensor):
            _check_values(image.shape, (image.ndim == 4 and image.shape[1] == 3), image.is_floating_point(), image)
            given = image.to(self.device, torch.float32)
            done = self._run(given)
            batch = given.lerp(done.images, strength) if strength < 1 else done.images
            batch = batch.to(image.device, image.dtype)
            return done._replace(images=batch, routing=self._reports(done))
        kind = image.dtype
        whole = kind.name in WHOLE_TYPES
        top = float(np.iinfo(kind).max) if whole else 1.0
        _check_values(
            image.shape, image.ndim == 3 and image.shape[-1] == 3, whole or kind.kind == "f", None if whole else image
        )
        scaled = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32) / np.float32(top))
        given = scaled.permute(2, 0, 1)[None].to(self.device)
        done = self._run(given)
        batch = given.lerp(done.images, strength) if strength < 1 else done.images
        restored = batch[0].permute(1, 2, 0).cpu().numpy()
        restored = np.rint(restored * top).astype(kind) if whole else restored.astype(kind)
        return done._replace(images=restored, routing=self._reports(done)[0])

    def _reports(self, done: _Done) -> list[RoutingReport]:
        return routing_reports(self.model.config, done.routing, *done.images.shape[-2:])

    def restore_pixels(self, seen: Pixels, *, strength: float = 1.0) -> NetworkResult:
        """Restore what `image_io.to_network` shows of a picture: the part of `restore_picture` that is the network's.

        Args:
            seen: sRGB, ``(H, W, 3)`` uint8 or uint16.
            strength: As for `restore`.

        Raises:
            ConfigError: If the strength is not from 0 to 1.
            ImageError: If it does not fit into memory.
        """
        return NetworkResult(*self._restore(seen, strength))

    def restore_picture(self, picture: Picture, *, strength: float = 1.0) -> PictureResult:
        """Restore a decoded picture file; `restore_file` between reading and writing.

        Raises:
            ConfigError: If the strength is not from 0 to 1.
            ImageError: If it does not fit into memory.
        """
        seen = image_io.to_network(picture)
        done = self.restore_pixels(seen, strength=strength)
        return PictureResult(image_io.from_network(picture, seen, done.pixels), done.routing, done.tile_px)

    def restore_file(self, source: Path, target: Path, *, strength: float = 1.0) -> FileResult:
        """Restore a picture file into another file; the format follows the target's suffix.

        Raises:
            ConfigError: If the strength is not from 0 to 1.
            ImageError: If the source cannot be read or does not fit into memory.
            OutputError: If the target is the source or cannot be written.
        """
        began = time.perf_counter()
        image_io.protect_original(source, target)
        done = self.restore_picture(image_io.read(source), strength=strength)
        image_io.write(target, done.picture)
        return FileResult.of(done, source, target, time.perf_counter() - began)

    def _run(self, images: Tensor) -> _Done:
        """Restore ``(B, 3, H, W)``, whole if that fits, else in the largest tiles that do."""
        height, width = images.shape[-2:]
        room = self._room_bytes()
        needed = 0
        for tile in (None, *tile_sides(max(height, width))):
            # Where a batch does not fit whole, its images come one after the other.
            for at_a_time in sorted({len(images), 1}, reverse=True):
                needed = self._needed_bytes(height, width, tile, at_a_time)
                if room is not None and needed > room:
                    continue
                began = time.perf_counter()
                done = [self._attempt(part, tile) for part in images.split(at_a_time)]
                seconds = time.perf_counter() - began
                whole = [part for part in done if part is not None]
                if len(whole) == len(done):
                    restored, decisions = zip(*whole, strict=True)
                    blocks = [join_decisions(block) for block in zip(*decisions, strict=True)]
                    return _Done(torch.cat(restored), blocks, tile, seconds)
        has = f"of which {describe_bytes(room)} may be used" if room is not None else "which is not there"
        raise ImageError(
            f"a picture of {width}x{height} does not fit into the memory of {self.device}: it needs "
            f"{describe_bytes(needed)} at least, {has}; make it smaller, raise the limit or use another device"
        )

    def _room_bytes(self) -> int | None:
        """What a restoration may take; None if nobody knows. What is free is asked for once a second at most."""
        if self.memory_limit is not None:
            return self.memory_limit
        # Asking takes milliseconds, of which small pictures need few; and it may change during a restoration as well.
        asked_at, free = self._free
        if time.monotonic() - asked_at > ASK_EVERY_S:
            free = available_bytes(self.device)
            self._free = (time.monotonic(), free)
        return None if free is None else int(FREE_SHARE * free)

    def _needed_bytes(self, height: int, width: int, tile: int | None, batch: int = 1) -> int:
        config, device = self.model.config, self.device.type
        if tile is None:
            return peak_bytes(config, height, width, batch, device)
        of_picture = batch * IMAGE_BYTES * height * width
        return of_picture + peak_bytes(config, min(tile, height), min(tile, width), batch, device)

    def _attempt(self, images: Tensor, tile: int | None) -> tuple[Tensor, list[RoutingDecision]] | None:
        """Restore the images, whole or in tiles; None if memory runs out."""
        routes = None if self._route is None else self._route.expand(-1, len(images), -1)
        try:
            half = self.dtype is not torch.float32
            with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=half):
                if tile is None:
                    network = self._compiled.chosen_for(images) if self._compiled else self._striped
                    restored, decisions = network.restore_with_routing(images, routes=routes, effort=self._shift)
                else:
                    restored, decisions = restore_in_tiles(self.model, images, tile, routes, self._shift)
                restored = restored.clamp(0, 1)
                if self.device.type != "cpu":  # an accelerator is asked and not waited for, and may fail later
                    torch.accelerator.synchronize(self.device)
                return restored, decisions
        except (torch.OutOfMemoryError, RuntimeError) as error:
            # On the CPU a failed allocation is a plain RuntimeError that only its text tells apart.
            if not isinstance(error, torch.OutOfMemoryError) and "memory" not in str(error):
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None


def check_strength(strength: float) -> None:
    """Refuse what is no share.

    Raises:
        ConfigError: If the strength is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"strength is {strength:g}; give a number from 0 (nothing changes) to 1 (all of it)")


def _fixed_route(config: ModelConfig, experts: Experts) -> Tensor | None:
    """The route ``(decoder blocks, 1, top_k)`` to force on every image, or None to leave it to the routers."""
    if isinstance(experts, str):
        if experts == "auto":
            return None
        cost = network_cost(config, 1, 1)
        named = {"cheapest": cost.cheapest, "dearest": cost.dearest}
        if experts not in named:
            raise ConfigError(f"unknown experts '{experts}'; choose auto, cheapest, dearest or one index per block")
        route = torch.tensor(named[experts], dtype=torch.int64).view(-1, config.top_k)
    else:
        rows = [[row] if isinstance(row, int) else list(row) for row in experts]
        blocks, known = config.routed_blocks, range(config.experts)
        if len(rows) != blocks or any(len(row) != config.top_k or not set(row) <= set(known) for row in rows):
            given = ",".join("+".join(map(str, row)) for row in rows) or "(none)"
            wanted = f"give {config.top_k} of 0 to {known[-1]} for each of its {blocks} decoder blocks"
            raise ConfigError(f"experts {given} do not fit this network; {wanted}")
        route = torch.tensor(rows, dtype=torch.int64)
    return check_routes(route.unsqueeze(1), config, 1)


def _shift_of(effort: Effort) -> float:
    """What the routers' scores are shifted by.

    Raises:
        ConfigError: If it is neither a known word nor a finite number.
    """
    try:
        shift = EFFORTS[effort] if effort in EFFORTS else float(effort)
    except ValueError:
        shift = math.nan
    if not math.isfinite(shift):
        words = ", ".join(map(str, EFFORTS))
        raise ConfigError(f"effort is '{effort}'; give {words} or a finite number, as -0.5 (0 is auto)")
    return shift


def _check_values(
    shape: tuple[int, ...], shape_fits: bool, type_fits: bool, floats: Tensor | NDArray[Any] | None
) -> None:
    """Refuse what is no picture in the sense of `Restorer.restore`."""
    wanted = "(H, W, 3) uint8, uint16 or float arrays, or (B, 3, H, W) float tensors, floats in [0, 1]"
    if not shape_fits or 0 in shape or not type_fits:
        raise ImageError(f"cannot restore a picture of shape {tuple(shape)} and this type; expected {wanted}")
    if floats is None:
        return
    low, high = float(floats.min()), float(floats.max())
    if not (low >= 0 and high <= 1):
        raise ImageError(f"float pictures hold values in [0, 1], but these run from {low:g} to {high:g}; rescale them")
