"""Amounts of memory: how much there is, when it ran out, and how it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from pydantic import ByteSize, TypeAdapter, ValidationError

from moceir.errors import ConfigError
from moceir.machine.allocator import reusable_bytes

if TYPE_CHECKING:
    import torch

_OUT_OF_MEMORY = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|CUDA error: out of memory|HIP out of memory"
    r"|MPS backend out of memory|(CUDNN|CUBLAS)_STATUS_ALLOC_FAILED"
)
"""What allocators say whose errors are plain ``RuntimeError``: those of torch on the CPU (Linux and macOS, Windows), of
the CUDA driver outside torch's cache, of MPS, and of the libraries of CUDA."""


def parse_bytes(amount: int | str) -> int:
    """Read an amount of memory: ``4GB``, ``500 MB``, ``2GiB`` or a plain number of bytes.

    Raises:
        ConfigError: If it is not an amount of at least one byte.
    """
    text = str(amount).strip()
    try:
        # pydantic looks at the beginning only: what follows must not be ignored.
        parsed = TypeAdapter(ByteSize).validate_python(text) if ByteSize.byte_string_re.fullmatch(text) else 0
    except ValidationError:
        parsed = 0
    if parsed < 1:
        raise ConfigError(f"'{amount}' is not an amount of memory; write it as 4GB, 500MB or 2GiB")
    return int(parsed)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, and not that memory was used wrongly."""
    import torch  # noqa: PLC0415 - amounts of memory are known without torch, too

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def describe_bytes(amount: float) -> str:
    """Format an amount with a unit, for example ``1.5 GB``."""
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"


def available_bytes(device: torch.device) -> int | None:
    """Return how much memory this process can still get on a device without swapping; None where that is unknown."""
    if device.type == "cuda":
        import torch  # noqa: PLC0415 - whoever has such a device has loaded torch

        free = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return available_ram_bytes() if device.type == "cpu" else None


def available_ram_bytes() -> int:
    """Return how much memory of the machine this process can still get without swapping."""
    return min([psutil.virtual_memory().available, *group_bytes(Path("/"))]) + reusable_bytes()


def group_bytes(root: Path) -> list[int]:
    """Return what the limits of this process's control groups (versions 1 and 2) leave, one number per limit.

    Containers are limited this way. psutil reports the memory of the whole machine, so these files are read here.

    Args:
        root: Where ``proc`` and ``sys`` are found.
    """
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
    """Return what one group's limit leaves, if it has one; cached files can be dropped and do not count as used."""
    try:
        most = int((group / limit).read_text(encoding="ascii"))
        used = int((group / usage).read_text(encoding="ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):  # no such group, or "max": no limit
        return []
    return [max(most - used + int(stat.get(cache, 0)), 0)]
