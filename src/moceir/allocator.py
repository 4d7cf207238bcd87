"""Keep freed memory inside the process, where the C library allows it.

Feature maps are large and short-lived. By default glibc gives each back to the system at once, so that the next one
costs page faults on every page again: as much time as the arithmetic itself. A command decides this for its own
process; importing moceir changes nothing.
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MAPPED_FROM_BYTES = 32 * 2**20  # glibc takes no more
_NEVER_BYTES = 2**31 - 1
_GROW_BY_BYTES = 64 * 2**20


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


class _Mallinfo(ctypes.Structure):
    """What glibc's ``mallinfo2`` returns: ten counts, of which ``fordblks`` is the free bytes that were kept."""

    _fields_ = (("before", ctypes.c_size_t * 8), ("fordblks", ctypes.c_size_t), ("keepcost", ctypes.c_size_t))


def reusable_bytes() -> int:
    """Memory that was freed but kept in the process, ready for the next picture; 0 where it cannot be told."""
    if platform.libc_ver()[0] != "glibc":
        return 0
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)  # from glibc 2.33
    if mallinfo is None:
        return 0
    mallinfo.restype = _Mallinfo
    return int(mallinfo().fordblks)
