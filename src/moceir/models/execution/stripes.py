"""Exact computation in stripes, so that wide intermediates stay in the cache and never exist as a whole.

Inside its layers, the network is several times as wide as between them. For a large picture, these intermediates take
most of the memory, and moving them takes most of the time. Where a pixel of the result depends only on nearby pixels,
it can be computed exactly from a part of the picture with a few more pixels around it.
``by_stripes(function, x, reach=1)`` returns ``function(unchanged, x)``, computed in stripes where that is worth it.

A stripe has a few rows and all columns. On a wide map it would be so low that most of the work went into its
surroundings. There it is made higher, or cut across into shorter stripes.

Stripes are used only without gradients (under ``torch.no_grad()`` or ``torch.inference_mode()``) and on maps that are
large enough. ``stripe_rows(0)`` switches them off.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
from torch import Tensor

Crop = Callable[[Tensor], Tensor]
"""Function that takes a map computed from a stripe and its surroundings, and returns the pixels of the stripe."""

WIDEST = 4
"""Width of the widest intermediate of a function, relative to its first map; about right for all in this network."""

CPU_STRIPE_BYTES = 4 * 2**20
"""Size of the widest intermediate of a stripe; 1.5 to 6 MiB were fastest on a core with 1 MiB of L2 and shared L3."""

DEVICE_STRIPE_BYTES = 256 * 2**20
"""The same on accelerators, where stripes save only memory and must be large enough to keep the device busy."""

LOWEST = 8
"""Rows of the lowest stripe for each row of its reach. Where a function that reaches one pixel would get lower stripes,
they are cut across: at 4 rows this took 0.87 of the time, at 8 rows it gained nothing. Those that reach further have
narrower intermediates and keep whole rows: cut into many small pieces, experts took 1.5 times as long."""

_forced: ContextVar[tuple[int, int] | None] = ContextVar("_forced", default=None)
"""Rows and columns of a stripe, 0 for all columns; rows 0 switch stripes off; None chooses by the size of the map."""

_listener: ContextVar[Callable[[int], object] | None] = ContextVar("_listener", default=None)


@contextmanager
def stripe_rows(rows: int | None, columns: int = 0) -> Generator[None]:
    """Set the size of stripes inside a ``with`` block, in this thread.

    Args:
        rows: Number of rows per stripe, rounded up to whole windows where there are windows. 0 switches stripes off;
            None chooses the size by that of the map.
        columns: Number of columns, likewise; 0 for all.
    """
    token = _forced.set(None if rows is None else (rows, columns))
    try:
        yield
    finally:
        _forced.reset(token)


@contextmanager
def watch_stripes(listener: Callable[[int], object]) -> Generator[None]:
    """Call a function after each stripe that is computed inside a ``with`` block, in this thread.

    Args:
        listener: Receives the number of values of the first map in the stripe. The sum over a pass of the network is
            proportional to the padded pixels. An exception that it raises ends the pass.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def unchanged(x: Tensor) -> Tensor:
    """Return a map as it is: the crop for maps that are not cut."""
    return x


def stripe_size(
    batch: int, channels: int, height: int, width: int, item_bytes: int, device: str, reach: int = 0
) -> tuple[int, int]:
    """Choose the rows and columns of a stripe, at most those of the map.

    Args:
        batch: Number of images.
        channels: Number of channels of the first map.
        height: Height of the first map in pixels.
        width: Width of the first map in pixels.
        item_bytes: Size of a value in bytes.
        device: Type of the device, for example ``cpu``.
        reach: Number of pixels by which a pixel of the result can depend on others.
    """
    budget = CPU_STRIPE_BYTES if device == "cpu" else DEVICE_STRIPE_BYTES
    pixels = max(budget // (WIDEST * batch * channels * item_bytes), 1)
    lowest = max(LOWEST * reach, 1)
    columns = width
    if reach == 1 and pixels < width * min(lowest, height):
        about_square = max(math.isqrt(pixels), lowest, pixels // height)
        columns = math.ceil(width / math.ceil(width / about_square))  # equal parts
    return min(max(pixels // columns, lowest), height), columns


def by_stripes(
    function: Callable[..., Tensor],
    *maps: Tensor,
    reach: int = 0,
    align: int = 1,
    into: Tensor | None = None,
    onto: Tensor | None = None,
) -> Tensor:
    """Compute ``function(unchanged, *maps)``, in stripes where that saves time and memory.

    Args:
        function: Called as ``function(crop, *parts)`` with a part of each map: the stripe and up to ``reach`` more
            pixels on every side, fewer at the borders of the picture. It must return only the pixels of the stripe, so
            it applies ``crop`` as soon as a map no longer needs the surroundings, at the latest after the convolutions.
            At the borders of the picture, convolutions see zero padding, as they do in the whole map.
        *maps: Maps ``(B, C, H, W)``. All but the first may have a resolution that is a multiple of that of the first.
        reach: Number of pixels of the first map by which a pixel of the result can depend on others.
        align: Number of pixels; stripes start at multiples of it.
        into: Map that the result is written into if stripes are used. It may be one of ``maps``.
        onto: Map that the result is added to, instead of written into ``into``; in place if stripes are used. It may be
            one of ``maps``.

    Returns:
        The complete result. If stripes were used, this is ``into`` or ``onto`` where given.
    """
    first = maps[0]
    size = _size(first, reach, align)
    listener = _listener.get()
    if size is None:
        result = function(unchanged, *maps)
        if listener:
            listener(first.numel())
        return result if onto is None else onto + result
    height, width = first.shape[2:]
    stripes = [_Stripe(*spans) for spans in product(_spans(height, size[0], reach), _spans(width, size[1], reach))]
    result = into if onto is None else onto
    # The result may be one of the maps: a stripe may be overwritten only when no later one reads any of it.
    across = -(-width // size[1])
    lag = 0 if result is None else -(-reach // size[0]) * across + (-(-reach // size[1]) if across > 1 else 0)
    put = Tensor.copy_ if onto is None else Tensor.add_
    waiting: deque[tuple[Tensor, Tensor]] = deque()
    for stripe in stripes:
        part = function(stripe.crop, *(stripe.surroundings(x, height) for x in maps))
        if listener:
            listener(first.shape[0] * first.shape[1] * stripe.rows.length * stripe.columns.length)
        scale = part.shape[2] // stripe.rows.length
        if result is None:
            shape = (*part.shape[:2], height * scale, width * scale)
            result = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=torch.channels_last)
        waiting.append((stripe.place(result, scale), part))
        if len(waiting) > lag:
            place, oldest = waiting.popleft()
            put(place, oldest)
    for place, part in waiting:
        put(place, part)
    return cast("Tensor", result)  # there is at least one stripe


@dataclass(frozen=True)
class _Span:
    """Positions ``start`` to ``stop`` along one side of the first map, and ``first`` to ``last`` with surroundings."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    def within(self, scale: int) -> slice:
        """Return the place in a map that begins and ends with the surroundings, ``scale`` times as fine."""
        return slice((self.start - self.first) * scale, (self.stop - self.first) * scale)


def _spans(side: int, length: int, reach: int) -> list[_Span]:
    return [
        _Span(start, min(start + length, side), max(start - reach, 0), min(start + length + reach, side))
        for start in range(0, side, length)
    ]


@dataclass(frozen=True)
class _Stripe:
    rows: _Span
    columns: _Span

    def surroundings(self, x: Tensor, height: int) -> Tensor:
        """Select the stripe and its surroundings; ``height`` is that of the first map."""
        scale = x.shape[2] // height
        rows, columns = self.rows, self.columns
        return x[:, :, rows.first * scale : rows.last * scale, columns.first * scale : columns.last * scale]

    def crop(self, x: Tensor) -> Tensor:
        scale = x.shape[2] // (self.rows.last - self.rows.first)
        return x[:, :, self.rows.within(scale), self.columns.within(scale)]

    def place(self, x: Tensor, scale: int) -> Tensor:
        """Select the stripe in a result that is ``scale`` times as fine as the first map."""
        rows, columns = self.rows, self.columns
        return x[:, :, rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]


def _size(x: Tensor, reach: int, align: int) -> tuple[int, int] | None:
    """Return the rows and columns per stripe of a map; None if it is not cut."""
    forced = _forced.get()
    if torch.is_grad_enabled() or (forced is not None and not forced[0]):
        return None
    batch, channels, height, width = x.shape
    rows, columns = forced or stripe_size(batch, channels, height, width, x.element_size(), x.device.type, reach)
    rows, columns = (-(-side // align) * align for side in (rows, columns or width))
    return None if rows >= height and columns >= width else (rows, columns)
