"""Keep freed memory inside the process, where the C library allows it, but not without end.

Feature maps are large and short-lived. By default glibc gives each back to the system at once, so that the next one
costs page faults on every page again: as much time as the arithmetic itself. A command decides this for its own
process; importing moceir changes nothing.

What is kept, and what glibc keeps in any case, grows with pictures of many sizes: the gaps that the maps of one leave
do not fit those of the next, least of all as torch wants its memory aligned. `Heap` gives them back now and then.
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
"""What `Heap` lets pile up: some dozens of small pictures."""


def keep_freed_memory() -> None:
    """Tell glibc's allocator to reuse large blocks instead of returning them; does nothing elsewhere.

    Only the largest still come from the system and go back to it: whole maps of large pictures, so few that their page
    faults are not felt, but of many sizes, so that gaps between them would cost half as much memory again.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER_BYTES)
    libc.mallopt(_M_TOP_PAD, _GROW_BY_BYTES)


class Heap:
    """The memory of this process over the pictures of a batch; nothing happens where the C library is not glibc."""

    def __init__(self) -> None:
        self._trim: Any = ctypes.CDLL(None).malloc_trim if platform.libc_ver()[0] == "glibc" else None
        self._floor_bytes = 0

    def settle(self) -> None:
        """Give the system what is free, if much more is held than when that was done last.

        Call it between pictures. To give all back each time would cost small ones a quarter of their time, most of it
        for taking it again.
        """
        if self._trim is not None and resident_bytes() > self._floor_bytes + PILE_BYTES:
            self._trim(0)
            self._floor_bytes = resident_bytes()


class _Mallinfo(ctypes.Structure):
    """What glibc's ``mallinfo2`` returns: ten counts.

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
    """Memory that was freed but kept in the process, ready for the next picture; 0 where it cannot be told."""
    if platform.libc_ver()[0] != "glibc":
        return 0
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)  # from glibc 2.33
    if mallinfo is None:
        return 0
    mallinfo.restype = _Mallinfo
    heap = mallinfo()
    # Gaps in the heap count as free whether or not their pages have been given back; those are the system's again.
    held = resident_bytes() - heap.uordblks - heap.hblkhd
    return max(min(heap.fordblks, held), 0)


def resident_bytes() -> int:
    """Return how much memory this process holds that comes from no file, in bytes (on Linux)."""
    held = psutil.Process().memory_info()
    return held.rss - held.shared
