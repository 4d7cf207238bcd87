"""How much memory there is, and how it is written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from moceir.errors import ConfigError
from moceir.machine.allocator import reusable_bytes

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str) -> int:
    """Read ``4GB``, ``500 MB``, ``2GiB`` or a plain number of bytes.

    Raises:
        ConfigError: If the text is no amount of at least one byte.
    """
    parts = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([kmgt]?i?)b?", text.strip().lower())
    amount = int(float(parts[1]) * UNITS[parts[2]]) if parts and parts[2] in UNITS else 0
    if amount < 1:
        raise ConfigError(f"'{text}' is no amount of bytes; write it as 4GB, 500MB or 2GiB")
    return amount


def describe_bytes(amount: float) -> str:
    """An amount with a unit, as ``1.5 GB``."""
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"


def available_bytes(device: torch.device) -> int | None:
    """Memory that this process can still have on a device without swapping; None where it cannot be told."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    rooms = [room for room in (_system_bytes(), *_group_bytes(Path("/"))) if room is not None]
    return min(rooms) + reusable_bytes() if rooms else None


def _system_bytes() -> int | None:
    """Memory of the machine that is free or can be freed."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        found = re.search(r"^MemAvailable:\s*([0-9]+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # an estimate: others use some of it
    except (AttributeError, ValueError, OSError):
        return None


def _group_bytes(root: Path) -> list[int]:
    """What the limits of this process's control groups (versions 1 and 2) leave, those of containers among them."""
    listing = root / "proc/self/cgroup"
    rooms: list[int] = []
    for line in listing.read_text(encoding="utf-8").splitlines() if listing.exists() else ():
        controllers, path = line.split(":", 2)[1:]
        if not controllers:
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            base = root / "sys/fs/cgroup/memory"
        else:
            continue
        group = base / path.strip("/")
        # Inside a container the path can be that of the host, which is not there: its own group is the base.
        rooms += [
            room for folder in (group, *group.parents) if folder.is_relative_to(base) for room in _room(folder, *names)
        ]
    return rooms


def _room(group: Path, limit: str, usage: str, cache: str) -> list[int]:
    """What one group's limit leaves, if it has one; pages of files that can be dropped are no usage."""
    try:
        most = int((group / limit).read_text(encoding="ascii"))
        used = int((group / usage).read_text(encoding="ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):  # no such group, or "max": no limit
        return []
    return [max(most - used + int(stat.get(cache, 0)), 0)]
