"""The same result from stripes of rows: wide intermediates stay in the cache and never exist whole.

Between its layers the network is several times as wide as at them: for a large picture these intermediates are most of
the memory, and most of the time goes into moving them. Where a row of the result depends on nearby rows alone, it can
be computed from a stripe of the picture that reaches a little further, exactly. ``by_stripes(function, x, reach=1)`` is
``function(unchanged, x)``, computed in this way where it pays.

Stripes are used only where no gradients are wanted (``torch.no_grad()`` or ``torch.inference_mode()``), on maps that
are worth cutting. ``stripe_rows(0)`` switches them off.
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
"""Takes what was computed from a stripe and its surroundings, and gives back the stripe's own rows."""

WIDEST = 4
"""The widest intermediate of a function, in channels of its first map; true of all in this network, or nearly."""

CPU_STRIPE_BYTES = 4 * 2**20
"""Size of the widest intermediate of a stripe. On a core with 1 MiB of L2 and a share of L3, 1.5 to 6 MiB did best."""

DEVICE_STRIPE_BYTES = 256 * 2**20
"""Likewise on accelerators, which must be kept busy: stripes save memory there, not time."""

_forced_rows: ContextVar[int | None] = ContextVar("_forced_rows", default=None)


@contextmanager
def stripe_rows(rows: int | None) -> Generator[None]:
    """Set the height of stripes for the calls within, in this thread.

    Args:
        rows: Rows of a stripe, rounded up to whole windows where there are windows. 0 does without stripes, None
            chooses by the size of the map.
    """
    token = _forced_rows.set(rows)
    try:
        yield
    finally:
        _forced_rows.reset(token)


def unchanged(x: Tensor) -> Tensor:
    """The crop of maps that were not cut."""
    return x


def stripe_height(batch: int, channels: int, width: int, item_bytes: int, device: str, reach: int = 0) -> int:
    """Rows of a stripe for maps ``(batch, channels, any height, width)``, from 1.

    At least four times the reach: the surroundings of lower ones would cost more than the stripes save.
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
    """``function(unchanged, *maps)``, in stripes where that saves time and memory.

    Args:
        function: Called as ``function(crop, *rows)`` with rows of each map: those of the stripe and up to ``reach``
            more on either side, fewer at the border of the picture. Its result must be that of the stripe alone, so it
            passes through ``crop`` whatever no longer needs the surroundings: at the latest after the convolutions,
            which see zeros instead of rows beyond the border, there as in the whole map.
        *maps: ``(B, C, H, W)``; those after the first may be finer than it by whole factors.
        reach: How many rows of the first map away a row of the result can depend on.
        align: Stripes begin at multiples of this many rows.
        into: A map that the result is written into, if it is made in stripes. It may be one of the maps.
        onto: A map that the result is added to, instead of being written into ``into``; in place, if it is made in
            stripes. It may be one of the maps.

    Returns:
        The result, whole, in ``into`` or ``onto`` if that was given and used.
    """
    height = maps[0].shape[2]
    rows = _rows(maps[0], reach, align)
    if rows is None:
        result = function(unchanged, *maps)
        return result if onto is None else onto + result
    result = into if onto is None else onto
    # A part may be written over rows of its own map only when no later stripe has to read them.
    lag = 0 if result is None else -(-reach // rows)
    put = Tensor.copy_ if onto is None else Tensor.add_
    waiting: deque[tuple[Tensor, Tensor]] = deque()
    for top in range(0, height, rows):
        stripe = _Stripe(top, min(top + rows, height), max(top - reach, 0), min(top + rows + reach, height))
        part = function(stripe.crop, *(stripe.surroundings(x, height) for x in maps))
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
    """Rows ``top`` to ``bottom`` of the first map; ``first`` to ``last`` with their surroundings."""

    top: int
    bottom: int
    first: int
    last: int

    def surroundings(self, x: Tensor, height: int) -> Tensor:
        """Rows of a map that is as fine as a map of this height, or finer."""
        scale = x.shape[2] // height
        return x[:, :, self.first * scale : self.last * scale]

    def crop(self, x: Tensor) -> Tensor:
        scale = x.shape[2] // (self.last - self.first)
        return x[:, :, (self.top - self.first) * scale : (self.bottom - self.first) * scale]


def _rows(x: Tensor, reach: int, align: int) -> int | None:
    """Rows of a stripe of this map; None if it stays whole."""
    if torch.is_grad_enabled() or (forced := _forced_rows.get()) == 0:
        return None
    batch, channels, height, width = x.shape
    rows = forced or stripe_height(batch, channels, width, x.element_size(), x.device.type, reach)
    rows = -(-rows // align) * align
    return rows if rows < height else None
