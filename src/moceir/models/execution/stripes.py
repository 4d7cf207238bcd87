"""Exact computation in stripes of rows, so that wide intermediates stay in the cache and never exist as a whole.

Inside its layers, the network is several times as wide as between them. For a large picture, these intermediates take
most of the memory, and moving them takes most of the time. Where a row of the result depends only on nearby rows, it
can be computed exactly from a stripe of the picture with a few more rows on either side.
``by_stripes(function, x, reach=1)`` returns ``function(unchanged, x)``, computed in stripes where that is worth it.

Stripes are used only without gradients (under ``torch.no_grad()`` or ``torch.inference_mode()``) and on maps that are
large enough. ``stripe_rows(0)`` switches them off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

Crop = Callable[[Tensor], Tensor]
"""Function that takes a map computed from a stripe and its surroundings, and returns the rows of the stripe."""

WIDEST = 4
"""Width of the widest intermediate of a function, relative to its first map; about right for all in this network."""

CPU_STRIPE_BYTES = 4 * 2**20
"""Size of the widest intermediate of a stripe; 1.5 to 6 MiB were fastest on a core with 1 MiB of L2 and shared L3."""

DEVICE_STRIPE_BYTES = 256 * 2**20
"""The same on accelerators, where stripes save only memory and must be large enough to keep the device busy."""

_forced_rows: ContextVar[int | None] = ContextVar("_forced_rows", default=None)
_listener: ContextVar[Callable[[int], object] | None] = ContextVar("_listener", default=None)


@contextmanager
def stripe_rows(rows: int | None) -> Generator[None]:
    """Set the height of stripes inside a ``with`` block, in this thread.

    Args:
        rows: Number of rows per stripe, rounded up to whole windows where there are windows. 0 switches stripes off;
            None chooses the number by the size of the map.
    """
    token = _forced_rows.set(rows)
    try:
        yield
    finally:
        _forced_rows.reset(token)


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


def stripe_height(batch: int, channels: int, width: int, item_bytes: int, device: str, reach: int = 0) -> int:
    """Choose the number of rows per stripe, at least 1.

    It is at least four times the reach, because the surroundings of lower stripes would cost more than stripes save.

    Args:
        batch: Number of images.
        channels: Number of channels of the first map.
        width: Width of the first map in pixels.
        item_bytes: Size of a value in bytes.
        device: Type of the device, for example ``cpu``.
        reach: Number of rows by which a row of the result can depend on others.
    """
    budget = CPU_STRIPE_BYTES if device == "cpu" else DEVICE_STRIPE_BYTES
    return max(budget // (WIDEST * batch * channels * width * item_bytes), 4 * reach, 1)


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
        function: Called as ``function(crop, *rows)`` with rows of each map: the rows of the stripe and up to ``reach``
            more on either side, fewer at the borders of the picture. It must return only the rows of the stripe, so it
            applies ``crop`` as soon as a map no longer needs the surroundings, at the latest after the convolutions. At
            the borders of the picture, convolutions see zero padding, as they do in the whole map.
        *maps: Maps ``(B, C, H, W)``. All but the first may have a resolution that is a multiple of that of the first.
        reach: Number of rows of the first map by which a row of the result can depend on others.
        align: Number of rows; stripes start at multiples of it.
        into: Map that the result is written into if stripes are used. It may be one of ``maps``.
        onto: Map that the result is added to, instead of written into ``into``; in place if stripes are used. It may be
            one of ``maps``.

    Returns:
        The complete result. If stripes were used, this is ``into`` or ``onto`` where given.
    """
    height = maps[0].shape[2]
    rows = _rows(maps[0], reach, align)
    listener = _listener.get()
    if rows is None:
        result = function(unchanged, *maps)
        if listener:
            listener(maps[0].numel())
        return result if onto is None else onto + result
    result = into if onto is None else onto
    # The result may be one of the maps: rows may be overwritten only when no later stripe reads them.
    lag = 0 if result is None else -(-reach // rows)
    put = Tensor.copy_ if onto is None else Tensor.add_
    waiting: deque[tuple[Tensor, Tensor]] = deque()
    for top in range(0, height, rows):
        stripe = _Stripe(top, min(top + rows, height), max(top - reach, 0), min(top + rows + reach, height))
        part = function(stripe.crop, *(stripe.surroundings(x, height) for x in maps))
        if listener:
            listener(maps[0].numel() // height * (stripe.bottom - top))
        scale = part.shape[2] // (stripe.bottom - top)
        if result is None:
            shape = (*part.shape[:2], height * scale, part.shape[3])
            result = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=torch.channels_last)
        waiting.append((result[:, :, top * scale : stripe.bottom * scale], part))
        if len(waiting) > lag:
            place, oldest = waiting.popleft()
            put(place, oldest)
    for place, part in waiting:
        put(place, part)
    return cast("Tensor", result)  # there is at least one stripe


@dataclass(frozen=True)
class _Stripe:
    """Rows ``top`` to ``bottom`` of the first map, and ``first`` to ``last`` including the surroundings."""

    top: int
    bottom: int
    first: int
    last: int

    def surroundings(self, x: Tensor, height: int) -> Tensor:
        """Select the rows of the stripe and its surroundings; ``height`` is that of the first map."""
        scale = x.shape[2] // height
        return x[:, :, self.first * scale : self.last * scale]

    def crop(self, x: Tensor) -> Tensor:
        scale = x.shape[2] // (self.last - self.first)
        return x[:, :, (self.top - self.first) * scale : (self.bottom - self.first) * scale]


def _rows(x: Tensor, reach: int, align: int) -> int | None:
    """Return the number of rows per stripe of a map; None if it is not cut."""
    if torch.is_grad_enabled() or (forced := _forced_rows.get()) == 0:
        return None
    batch, channels, height, width = x.shape
    rows = forced or stripe_height(batch, channels, width, x.element_size(), x.device.type, reach)
    rows = -(-rows // align) * align
    return rows if rows < height else None
