"""Training pairs made in batches on a device, from photographs kept in its memory.

The plans of the pairs are drawn on the CPU, so they are the same on every device. The device cuts, dims and degrades a
whole batch at once, with one call per kind of degradation. Only the random fields (noise samples, positions of drops)
come from the device's own generator, so they differ from those drawn on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from moceir.data.mixtures import Plan
from moceir.data.photographs import Photographs
from moceir.data.synthesis import FULL_LIGHT, Crop, Sample, dimmed_each, enlarged, to_8_bit, turned
from moceir.degradations.composite import apply_each
from moceir.degradations.reduction import reduced

CUT_AT_ONCE = 32
"""Patches cut at once; bounds the memory of their indices."""


class ResidentPhotographs:
    """Photographs in device memory, as one flat uint8 tensor.

    Args:
        photographs: Reads the photographs.
        paths: Files to load.
        device: Device to load them to.
    """

    def __init__(self, photographs: Photographs, paths: Sequence[Path], device: torch.device) -> None:
        self._numbers = {path: number for number, path in enumerate(dict.fromkeys(paths))}
        pictures = [photographs[path] for path in self._numbers]
        ends = torch.tensor([picture.numel() for picture in pictures]).cumsum(0)
        self._pixels = torch.empty(int(ends[-1]), dtype=torch.uint8, device=device)
        for picture, end in zip(pictures, ends.tolist(), strict=True):
            self._pixels[end - picture.numel() : end] = picture.to(device).flatten()
        sizes = torch.tensor([picture.shape[-2:] for picture in pictures])
        begins = ends - 3 * sizes.prod(1)
        self._places = torch.stack([begins, sizes.prod(1), sizes[:, 1]]).to(device)
        """Start offset, pixel count and width of each photograph, ``(3, N)``."""

    def cut(self, paths: Sequence[Path], crops: Sequence[Crop], patch_px: int) -> Tensor:
        """Cut a square out of each picture, as ``synthesis.cut`` does.

        Returns:
            ``(B, 3, patch_px, patch_px)`` float32 in [0, 1].
        """
        patches = self._pixels.new_empty((len(paths), 3, patch_px, patch_px), dtype=torch.float32)
        by_size = sorted(range(len(paths)), key=lambda i: crops[i].side)
        for begin in range(0, len(by_size), CUT_AT_ONCE):
            some = by_size[begin : begin + CUT_AT_ONCE]
            patches[some] = self._cut([paths[i] for i in some], [crops[i] for i in some], patch_px)
        for turn in range(1, 8):
            chosen = [i for i, crop in enumerate(crops) if crop.turn == turn]
            if chosen:
                patches[chosen] = turned(patches[chosen], turn)
        return patches

    def _cut(self, paths: Sequence[Path], crops: Sequence[Crop], patch_px: int) -> Tensor:
        """Cut squares without mirroring or turning them."""
        device = self._pixels.device
        numbers = torch.tensor([self._numbers[path] for path in paths], device=device)
        begin, plane, width = self._places[:, numbers].view(3, -1, 1, 1, 1)
        top, left, side = torch.tensor([crop[:3] for crop in crops], device=device).T
        steps = torch.arange(max(crop.side for crop in crops), device=device)
        within = torch.minimum(steps, side[:, None] - 1)  # pixels beyond a smaller square get weight 0
        rows, columns = (top[:, None] + within)[:, None, :, None], (left[:, None] + within)[:, None, None, :]
        channels = torch.arange(3, device=device).view(1, 3, 1, 1)
        squares = self._pixels[begin + channels * plane + rows * width + columns].float() / 255
        scaling = resize_matrices(side, len(steps), patch_px)[:, None]
        return (scaling @ squares @ scaling.mT).clamp(0, 1)


def resize_matrices(sides: Tensor, longest: int, patch_px: int) -> Tensor:
    """Build matrices that scale signals to length ``patch_px`` by antialiased bilinear interpolation.

    Args:
        sides: Lengths of the signals, ``(B,)``.
        longest: Length that all signals are padded to.
        patch_px: Length of the scaled signals.

    Returns:
        ``(B, patch_px, longest)``; each row sums to 1.
    """
    scale = (sides / patch_px)[:, None, None]
    places = torch.arange(longest, device=sides.device)
    centres = (torch.arange(patch_px, device=sides.device) + 0.5)[:, None] * scale
    weights = (1 - (places + 0.5 - centres).abs() / scale.clamp_min(1)).clamp_min(0)
    weights = weights * (places < sides[:, None, None])
    return weights / weights.sum(dim=-1, keepdim=True)


def make_pairs(
    plans: Sequence[Plan],
    photographs: ResidentPhotographs,
    patch_px: int,
    generator: torch.Generator,
    scale: int = 1,
) -> Sample:
    """Make a batch of pairs on the device.

    Args:
        plans: Plans of the pairs.
        photographs: Photographs to cut the patches from.
        patch_px: Side of the degraded patches in pixels.
        generator: Source of the random fields, on the device.
        scale: Factor by which the clean patches are larger.
    """
    crops = [plan.crop for plan in plans]
    larger = [enlarged(crop, scale) for crop in crops]
    clean = photographs.cut([plan.files[1] for plan in plans], larger, scale * patch_px)
    dark = [i for i, plan in enumerate(plans) if plan.light != FULL_LIGHT]
    if dark:
        clean[dark] = dimmed_each(clean[dark], [plans[i].light for i in dark])
    clean = to_8_bit(clean)
    degraded = clean.new_empty(len(plans), 3, patch_px, patch_px)
    made = [(i, plan.record) for i, plan in enumerate(plans) if plan.record is not None]
    if made:
        chosen = [i for i, _ in made]
        small = torch.stack([to_8_bit(reduced(clean[i], scale, plans[i].kernel)) for i in chosen])
        degraded[chosen] = apply_each(small, [record for _, record in made], generator)
    real = [(i, path) for i, plan in enumerate(plans) if (path := plan.files[0]) is not None]
    if real:
        chosen = [i for i, _ in real]
        degraded[chosen] = photographs.cut([path for _, path in real], [crops[i] for i in chosen], patch_px)
    tasks = torch.tensor([plan.task for plan in plans], device=clean.device)
    return Sample(to_8_bit(degraded), clean, tasks)
