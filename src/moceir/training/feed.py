"""Batches made on the device from resident photographs, one step ahead, while the device is still training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from moceir.data.mixtures import MixedPairs, Plan
from moceir.data.photographs import Photographs
from moceir.data.resident import ResidentPhotographs, make_pairs
from moceir.data.synthesis import Sample, sample_generator
from moceir.degradations import Blur, Rain, Resize, Snow, flatten

LARGEST_SHARE = 0.25
"""Fraction of a device's free memory that photographs may use."""


ONE_BY_ONE = (Blur, Rain, Resize, Snow)
"""Degradations that process pictures one by one, with hundreds of small operations each. One process cannot keep a
fast device busy with them, so loader processes make these pairs."""


class Prepared(NamedTuple):
    """A batch to be made on a device.

    Attributes:
        plans: Plans of the pairs.
        finished: Indices of the pairs that are already made.
        degraded: Degraded pictures of these pairs, ``(n, 3, H, W)`` uint8.
        clean: Clean ones, ``(n, 3, sH, sW)`` uint8.
    """

    plans: list[Plan]
    finished: list[int]
    degraded: Tensor
    clean: Tensor


MadePair = tuple[Tensor, Tensor]
"""Degraded and clean picture, ``(3, H, W)`` uint8."""


class _Preparation(Dataset[tuple[Plan, MadePair | None]]):
    """Plans of pairs; loader processes also make the pairs that are slow on a device."""

    def __init__(self, pairs: MixedPairs) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Plan, MadePair | None]:
        plan = self._pairs.plan(index)
        steps = flatten([plan.record]) if plan.record is not None else ()
        if get_worker_info() is None or not any(isinstance(step, ONE_BY_ONE) for step in steps):
            return plan, None
        pair = self._pairs[index]
        degraded, clean = ((part * 255).round().to(torch.uint8) for part in (pair.degraded, pair.clean))
        return plan, (degraded, clean)


def _collate(items: Sequence[tuple[Plan, MadePair | None]]) -> Prepared:
    finished = [i for i, (_, made) in enumerate(items) if made is not None]
    pairs = [made for _, made in items if made is not None]
    degraded, clean = (torch.stack(part) for part in zip(*pairs, strict=True)) if pairs else (torch.empty(0),) * 2
    return Prepared([plan for plan, _ in items], finished, degraded, clean)


def fits(photographs: Photographs, paths: Iterable[Path], device: torch.device) -> bool:
    """Return whether photographs fit into a GPU's memory alongside the training."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(photographs[path].numel() for path in paths) < LARGEST_SHARE * free


def made_on_device(
    pairs: MixedPairs, photographs: ResidentPhotographs, batch: int, workers: int, device: torch.device
) -> Iterator[Sample]:
    """Make the pairs of a data set on a device.

    Args:
        pairs: Data set to make.
        photographs: Photographs on the device.
        batch: Pairs per batch.
        workers: Processes that draw the plans and make the pairs that are slow on the device; 0 for none.
        device: Device to make the pairs on.
    """
    generator = torch.Generator(device)
    generator.manual_seed(sample_generator(pairs.seed, "fields", pairs.first).initial_seed())
    loader: Any = DataLoader(
        _Preparation(pairs),
        batch,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )
    make = partial(
        make_pairs,
        photographs=photographs,
        patch_px=pairs.patch_px,
        generator=generator,
        scale=pairs.reduction.scale,
    )
    return _ahead((_made(prepared, make, device) for prepared in loader), device)


def _made(prepared: Prepared, make: Callable[[Sequence[Plan]], Sample], device: torch.device) -> Sample:
    plans, finished, *pixels = prepared
    others = sorted(set(range(len(plans))) - set(finished))
    if not finished:
        return make(plans)
    degraded, clean = (part.to(device, non_blocking=True).float() / 255 for part in pixels)
    tasks = torch.tensor([plan.task for plan in plans], device=device)
    if not others:
        return Sample(degraded, clean, tasks)
    made = make([plans[i] for i in others])
    places = torch.tensor([*finished, *others], device=device).argsort()
    return Sample(torch.cat([degraded, made.degraded])[places], torch.cat([clean, made.clean])[places], tasks)


def _ahead(made: Iterator[Sample], device: torch.device) -> Iterator[Sample]:
    """Make each batch while the previous one is in use, on a separate CUDA stream."""
    stream = None
    if device.type == "cuda":
        # High priority lets the many small kernels run between those of a training step.
        stream = torch.cuda.Stream(device, priority=-1)
        stream.wait_stream(torch.cuda.current_stream(device))
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
