"""Keep freed memory inside the process, where the C library allows it.

Feature maps are large and short-lived. By default glibc gives each back to the system at once, so that the next one
costs page faults on every page again: as much time as the arithmetic itself. A command decides this for its own
process; importing moceir changes nothing.
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER_BYTES = 2**31 - 1
_GROW_BY_BYTES = 64 * 2**20


def keep_freed_memory() -> None:
    """Tell glibc's allocator to reuse large blocks instead of returning them; does nothing elsewhere."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER_BYTES)
    libc.mallopt(_M_TOP_PAD, _GROW_BY_BYTES)
