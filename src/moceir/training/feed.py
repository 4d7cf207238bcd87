"""Batches for a device: made there from resident photographs, one step ahead, while the device is still learning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from moceir.data.mixtures import MixedPairs, Plan
from moceir.data.photographs import Photographs
from moceir.data.resident import ResidentPhotographs, make_pairs
from moceir.data.synthesis import Sample, sample_generator

LARGEST_SHARE = 0.25
"""Share of a device's free memory that photographs may take."""


class _Plans(Dataset[Plan]):
    """The plans of pairs instead of the pairs."""

    def __init__(self, pairs: MixedPairs) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Plan:
        return self._pairs.plan(index)


def fits(photographs: Photographs, paths: Iterable[Path], device: torch.device) -> bool:
    """Tell whether photographs fit into a device's memory beside a training."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(photographs[path].numel() for path in paths) < LARGEST_SHARE * free


def made_on_device(
    pairs: MixedPairs, photographs: ResidentPhotographs, batch: int, workers: int, device: torch.device
) -> Iterator[Sample]:
    """Make the pairs of a data set on a device.

    Args:
        pairs: What is to be made.
        photographs: The pictures, on the device.
        batch: Pairs per batch.
        workers: Processes that draw the plans; 0 draws them here.
        device: Where the pairs are made.
    """
    generator = torch.Generator(device)
    generator.manual_seed(sample_generator(pairs.seed, "fields", pairs.first).initial_seed())
    plans: DataLoader[Plan] = DataLoader(_Plans(pairs), batch, num_workers=workers, collate_fn=_as_list, drop_last=True)
    made = (make_pairs(some, photographs, pairs.patch_px, generator) for some in plans)
    return _ahead(made, device)


def _as_list(plans: Sequence[Plan]) -> list[Plan]:
    return list(plans)


def _ahead(made: Iterator[Sample], device: torch.device) -> Iterator[Sample]:
    """Have each batch made before the one before it is used, beside whatever else the device does."""
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    here = torch.cuda.stream(stream) if stream is not None else nullcontext()
    with here:
        batch = next(made, None)
    while batch is not None:
        if stream is not None:
            torch.cuda.current_stream(device).wait_stream(stream)
            for part in batch:
                part.record_stream(torch.cuda.current_stream(device))
        yield batch
        with here:
            batch = next(made, None)
