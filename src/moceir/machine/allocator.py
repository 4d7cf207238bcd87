"""Keep freed memory inside the process, where the C library allows it, but not without end.

Feature maps are large and short-lived. By default glibc returns each to the system at once, and the next one costs a
page fault on every page: as much time as the arithmetic itself. Commands change this for their own process; importing
moceir changes nothing.

The memory kept grows with pictures of many sizes: the gaps that the maps of one leave do not fit those of the next.
`Heap` returns them now and then.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Any

import psutil

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MAPPED_FROM_BYTES = 32 * 2**20  # glibc takes no more
_NEVER_BYTES = 2**31 - 1
_GROW_BY_BYTES = 64 * 2**20
PILE_BYTES = 128 * 2**20
"""How much `Heap` lets pile up: some dozens of small pictures."""


def keep_freed_memory() -> None:
    """Tell glibc's allocator to reuse large blocks instead of returning them; does nothing elsewhere.

    Only the largest blocks still come from the system and return to it: whole maps of large pictures. There are so few
    that their page faults do not matter, but gaps between their many sizes would cost half as much memory again.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER_BYTES)
    libc.mallopt(_M_TOP_PAD, _GROW_BY_BYTES)


class Heap:
    """Keeps the memory of this process flat over a batch of pictures; does nothing where the C library is not glibc."""

    def __init__(self) -> None:
        self._trim: Any = ctypes.CDLL(None).malloc_trim if platform.libc_ver()[0] == "glibc" else None
        self._floor_bytes = 0

    def settle(self) -> None:
        """Return free memory to the system, if the process holds much more than the last time.

        Call it between pictures. Returning everything each time would cost small ones a quarter of their time, most
        of it for getting it again.
        """
        if self._trim is not None and resident_bytes() > self._floor_bytes + PILE_BYTES:
            self._trim(0)
            self._floor_bytes = resident_bytes()


class _Mallinfo(ctypes.Structure):
    """Counts that glibc's ``mallinfo2`` returns.

    Among them are the bytes that are mapped one by one (``hblkhd``), in use in the heap (``uordblks``) and free there
    (``fordblks``).
    """

    _fields_ = (
        ("arena_to_hblks", ctypes.c_size_t * 4),
        ("hblkhd", ctypes.c_size_t),
        ("usmblks_and_fsmblks", ctypes.c_size_t * 2),
        ("uordblks", ctypes.c_size_t),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )


def reusable_bytes() -> int:
    """Return how much freed memory the process keeps for the next picture, in bytes; 0 where that is unknown."""
    if platform.libc_ver()[0] != "glibc":
        return 0
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)  # from glibc 2.33
    if mallinfo is None:
        return 0
    mallinfo.restype = _Mallinfo
    heap = mallinfo()
    # Gaps in the heap count as free even where their pages were returned to the system.
    held = resident_bytes() - heap.uordblks - heap.hblkhd
    return max(min(heap.fordblks, held), 0)


def resident_bytes() -> int:
    """Return how much memory this process holds that comes from no file, in bytes (on Linux)."""
    held = psutil.Process().memory_info()
    return held.rss - held.shared
