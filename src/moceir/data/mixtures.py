"""Training and validation samples from several sources: real pairs, and photographs degraded on the fly.

Each sample depends only on the seed and its number, so neither the number of loader processes nor an interruption
changes what the network sees.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from moceir.data.layouts import find_data_set, find_pairs
from moceir.data.pairs import pair_folders
from moceir.data.photographs import Photographs, picture_files, split_by_name
from moceir.data.synthesis import (
    FULL_LIGHT,
    Augment,
    Crop,
    Light,
    Sample,
    centre_crop,
    cut,
    dimmed,
    enlarged,
    random_crop,
    random_light,
    sample_generator,
    to_8_bit,
)
from moceir.degradations import Degradation, Spec, degrade, parse
from moceir.degradations.reduction import Reduction, reduced
from moceir.errors import ConfigError, DataError

NO_REDUCTION = Reduction()

FilePair = tuple[Path | None, Path]
"""Degraded and clean file; the first is None if the degraded picture is made from the clean one."""


@dataclass(frozen=True)
class Source:
    """Pictures of one task.

    Args:
        label: Name in logs and scores.
        files: Pairs of degraded and clean files.
        degrade: Degradation of the clean pictures; None if the files are real pairs.
        share: Weight relative to the other sources, or number of times each file is used in an epoch.

    Raises:
        ConfigError: If the source has both real pairs and a degradation, or neither.
        DataError: If the source has no files.
    """

    label: str
    files: Sequence[FilePair]
    degrade: Spec | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if not self.files:
            raise DataError(f"the source '{self.label}' has no pictures; give at least one")
        alone = sum(degraded is None for degraded, _ in self.files)
        if self.degrade is None and alone:
            raise ConfigError(
                f"the source '{self.label}' has clean pictures alone; add a degradation, as noise:sigma=25"
            )
        if self.degrade is not None and alone < len(self.files):
            raise ConfigError(
                f"the source '{self.label}' is degraded already; leave out the degradation '{self.degrade}'"
            )

    @property
    def clean(self) -> list[Path]:
        """Clean files in order, without duplicates."""
        return list(dict.fromkeys(clean for _, clean in self.files))

    @property
    def paths(self) -> list[Path]:
        """All files, without duplicates."""
        return list(dict.fromkeys(path for pair in self.files for path in pair if path is not None))


def photographs_source(location: Path, degradation: str, share: float = 1.0, label: str | None = None) -> Source:
    """Make a source from a folder (searched recursively) or pack of photographs; ``label`` defaults to the degradation.

    Raises:
        ConfigError: If the degradation text is invalid.
        DataError: If there are no pictures.
    """
    return Source(label or degradation, [(None, path) for path in picture_files(location)], parse(degradation), share)


def pairs_source(degraded: Path, clean: Path, share: float = 1.0, label: str | None = None) -> Source:
    """Make a source from two folders or packs matched by name; ``label`` defaults to the name of the degraded one.

    Raises:
        DataError: If a folder is missing, or a picture has no partner; the message names it.
    """
    return Source(label or degraded.stem, [*pair_folders(degraded, clean)], share=share)


def set_source(name: str, root: Path, degradation: str | None = None, share: float = 1.0) -> Source:
    """Make a source from a published set; a set with only clean pictures needs a degradation.

    Raises:
        ConfigError: If the set is unknown, or the degradation is missing, invalid or not allowed.
        DataError: If the set is not below the root or is incomplete.
    """
    dataset = find_data_set(name)
    text = degradation or dataset.degrade
    label = f"{name}:{degradation}" if degradation else name
    return Source(label, find_pairs(dataset, root), parse(text) if text else None, share)


def split_sources(sources: Sequence[Source], share: float) -> tuple[list[Source], list[Source]]:
    """Set part of each source aside for validation, by the names of its clean pictures.

    Args:
        sources: All sources.
        share: Fraction of each source's clean pictures; 0 sets nothing aside.

    Returns:
        Training and validation sources in the same order. No clean picture is in both, even if several sources share
        it. With a share of 0 there are no validation sources.

    Raises:
        DataError: If a source has too few pictures.
    """
    if not share:
        return list(sources), []
    held_out = {path for source in sources for path in split_by_name(source.clean, share)[1]}
    training, validation = (
        [replace(s, files=[pair for pair in s.files if (pair[1] in held_out) == wanted]) for s in sources]
        for wanted in (False, True)
    )
    return training, validation


def epoch_length(sources: Sequence[Source]) -> int:
    """Count the samples in a pass through all files, each repeated according to the share of its source.

    Raises:
        ConfigError: If a share is not a positive whole number.
    """
    for source in sources:
        if source.share < 1 or source.share != int(source.share):
            raise ConfigError(f"the source '{source.label}' is to be repeated {source.share:g} times; give 1, 2, 3 ...")
    return sum(int(source.share) * len(source.files) for source in sources)


class Plan(NamedTuple):
    """Everything that determines a training pair except its random fields.

    Attributes:
        task: Index of the source.
        files: Degraded and clean file.
        crop: Square to cut out of the degraded picture, in its pixels.
        light: How to dim the clean patch.
        record: Degradation to apply; None for a real pair.
        kernel: Kernel that reduces the clean patch first, for a network that enlarges.
    """

    task: int
    files: FilePair
    crop: Crop
    light: Light
    record: Degradation | None
    kernel: str


class MixedPairs(Dataset[Sample]):
    """Numbered training samples: random patches of the pictures of several sources.

    Both pictures of a real pair are cut, mirrored and turned alike. They are never scaled, because scaling would
    strengthen or weaken the degradation.

    Args:
        sources: Sources of the pictures.
        photographs: Reads and caches the pictures.
        augment: How patches of photographs may be downscaled and dimmed before they are degraded.
        by: ``weight`` draws a source and one of its files for each sample; ``repeat`` goes through all files, each
            repeated according to the share of its source, in a new order in each epoch.
        patch_px: Side of the degraded patches in pixels; clean ones are larger by the scale of the reduction.
        first: Number of the first sample.
        count: Number of samples.
        seed: Seed of the training run.
        reduction: How clean patches are reduced before they are degraded.

    Raises:
        ConfigError: If the shares are invalid for ``by``, or two sources have the same label.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        photographs: Photographs,
        augment: Augment,
        *,
        by: Literal["weight", "repeat"],
        patch_px: int,
        first: int,
        count: int,
        seed: int,
        reduction: Reduction = NO_REDUCTION,
    ) -> None:
        labels = [source.label for source in sources]
        shares = [source.share for source in sources]
        if len(set(labels)) < len(labels):
            raise ConfigError(f"two sources have the same label among {', '.join(labels)}; merge them")
        if by == "weight" and not (min(shares, default=0) >= 0 and 0 < sum(shares) < math.inf):
            raise ConfigError(f"weights of sources must be finite, not negative and not all zero, got {shares}")
        self.sources = list(sources)
        self.photographs = photographs
        self.augment = augment
        self.patch_px = patch_px
        self.first = first
        self.count = count
        self.seed = seed
        self.reduction = reduction
        self._weights = torch.tensor(shares, dtype=torch.float64)
        self._epoch_length = epoch_length(sources) if by == "repeat" else None
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Make one pair.

        Raises:
            DataError: If the two pictures of a pair differ in size; the message names both.
            ImageError: If a file cannot be read.
            IndexError: If the index is out of range, so that a loop over the samples ends.
        """
        plan, generator = self._plan(index)
        scale = self.reduction.scale
        degraded, clean = read_pair(self.photographs, plan.files, scale)
        clean = to_8_bit(dimmed(cut(clean, enlarged(plan.crop, scale), scale * self.patch_px), plan.light))
        if degraded is not None:
            patch = cut(degraded, plan.crop, self.patch_px)
        else:
            small = to_8_bit(reduced(clean, scale, plan.kernel))
            patch = degrade(small[None], plan.record or "clean", generator)[0]
        return Sample(to_8_bit(patch), clean, torch.tensor(plan.task))

    def plan(self, index: int) -> Plan:
        """Draw everything about one pair except its random fields."""
        return self._plan(index)[0]

    def _plan(self, index: int) -> tuple[Plan, torch.Generator]:
        """Draw a plan; also return the generator in its state after the draw, for the random fields."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        number = self.first + index
        generator = sample_generator(self.seed, "train", number)
        if self._epoch_length is None:
            task = int(torch.multinomial(self._weights, 1, generator=generator))
            file = int(torch.randint(len(self.sources[task].files), (), generator=generator))
        else:
            task, file = self.source_at(*divmod(number, self._epoch_length))
        source = self.sources[task]
        files = source.files[file]
        height, width = (side // self.reduction.scale for side in self.photographs[files[1]].shape[-2:])
        augment = None if source.degrade is None else self.augment
        crop = random_crop(height, width, self.patch_px, augment, generator)
        lit = source.degrade is None or "low_light" in source.degrade.names  # restored to full light
        light = FULL_LIGHT if lit else random_light(self.augment, generator)
        record = None if source.degrade is None else source.degrade.draw(generator)
        return Plan(task, files, crop, light, record, self.reduction.draw(generator)), generator

    def source_at(self, epoch: int, place: int) -> tuple[int, int]:
        """Return the source and file at a position in an epoch's order."""
        if self._order is None or self._order[0] != epoch:
            order = torch.randperm(self._epoch_length or 0, generator=sample_generator(self.seed, "order", epoch))
            self._order = epoch, order
        ticket = int(self._order[1][place])
        ends = list(accumulate(int(source.share) * len(source.files) for source in self.sources))
        task = bisect_right(ends, ticket)
        return task, (ends[task] - 1 - ticket) % len(self.sources[task].files)


class ValidationPairs(Dataset[Sample]):
    """Centre crops of some pictures of each source, reduced and degraded the same way every time.

    Args:
        sources: Sources of the pictures.
        photographs: Reads and caches the pictures.
        patch_px: Side of the degraded crops in pixels.
        most: Largest number of pictures per source, spread evenly over its files.
        seed: Seed of the degradations.
        scale: Factor by which the clean crops are larger; the reduction is bicubic.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        photographs: Photographs,
        *,
        patch_px: int,
        most: int,
        seed: int,
        scale: int = 1,
    ) -> None:
        self.sources = list(sources)
        self.photographs = photographs
        self.patch_px = patch_px
        self.seed = seed
        self.scale = scale
        self._items: list[tuple[int, int]] = []
        for task, source in enumerate(self.sources):
            taken = min(most, len(source.files))
            self._items += [(task, place * len(source.files) // taken) for place in range(taken)]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        """Make one pair.

        Raises:
            DataError: If the two pictures of a pair differ in size; the message names both.
            ImageError: If a file cannot be read.
        """
        task, file = self._items[index]
        source = self.sources[task]
        degraded, clean = read_pair(self.photographs, source.files[file], self.scale)
        crop = centre_crop(clean.shape[-2] // self.scale, clean.shape[-1] // self.scale, self.patch_px)
        generator = sample_generator(self.seed, "validation", source.label, source.files[file][1].name)
        clean = to_8_bit(cut(clean, enlarged(crop, self.scale), self.scale * self.patch_px))
        if degraded is not None:
            patch = cut(degraded, crop, self.patch_px)
        else:
            small = to_8_bit(reduced(clean, self.scale))
            patch = degrade(small[None], source.degrade or "clean", generator)[0]
        return Sample(to_8_bit(patch), clean, torch.tensor(task))


def read_pair(photographs: Photographs, files: FilePair, scale: int = 1) -> tuple[Tensor | None, Tensor]:
    """Read the degraded picture, if there is one, and the clean one, both ``(3, H, W)`` uint8.

    Args:
        photographs: Reads the pictures.
        files: Degraded and clean file.
        scale: Factor by which the clean picture is larger; a remainder of it is not used.

    Raises:
        DataError: If their sizes do not fit together; the message names both.
    """
    clean = photographs[files[1]]
    degraded = None if files[0] is None else photographs[files[0]]
    if degraded is not None and [side // scale for side in clean.shape[1:]] != list(degraded.shape[1:]):
        sizes = " and ".join(f"{p.shape[-1]}x{p.shape[-2]}" for p in (degraded, clean))
        wrong = "differ in size" if scale == 1 else f"are not in proportion 1 to {scale}"
        raise DataError(f"{files[0]} and {files[1]} {wrong} ({sizes}); mend the pair")
    return degraded, clean
