"""Tiny data sets of drawn pictures, laid out and named as the published ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CDD11 = ["low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow", "haze_rain", "haze_snow"]
CDD11 += ["low_haze_rain", "low_haze_snow"]
SETS = [
    *("denoising", "rain100l-train", "reside-ots", "gopro-train", "lolv1-train"),
    *(f"cdd11-train-{folder}" for folder in CDD11),
    *("cbsd68-s15", "cbsd68-s25", "cbsd68-s50", "rain100l", "sots-outdoor", "gopro", "lolv1"),
    *(f"cdd11-{folder}" for folder in CDD11),
    *(
        f"{name}-x{scale}"
        for name in ("set5", "set14", "b100", "urban100", "manga109", "cbsd68")
        for scale in (2, 3, 4)
    ),
]
_BENCHMARK = {"set5": "Set5", "set14": "Set14", "b100": "B100", "urban100": "Urban100", "manga109": "Manga109"}
_FOLDERS = {
    "rain100l-train": ("deraining/RainTrainL/gt/norain-{}.png", "deraining/RainTrainL/rainy/rain-{}.png"),
    "rain100l": ("deraining/Rain100L/gt/norain-{:03}.png", "deraining/Rain100L/rainy/rain-{:03}.png"),
    "sots-outdoor": ("dehazing/SOTS/outdoor/gt/{:04}.png", "dehazing/SOTS/outdoor/hazy/{:04}_0.8_0.2.jpg"),
    "gopro-train": (
        "deblurring/GoPro/crop/train/target_crops/{}-1.png",
        "deblurring/GoPro/crop/train/input_crops/{}-1.png",
    ),
    "gopro": (
        "deblurring/GoPro/test/target/GOPR0384_11_{:06}.png",
        "deblurring/GoPro/test/input/GOPR0384_11_{:06}.png",
    ),
    "lolv1-train": ("llie/LOLv1/Train/target/{}.png", "llie/LOLv1/Train/input/{}.png"),
    "lolv1": ("llie/LOLv1/Test/target/{}.png", "llie/LOLv1/Test/input/{}.png"),
}


def build_layout(root: Path, name: str, count: int = 3, size: tuple[int, int] = (48, 64)) -> Path:
    """Write a data set.

    Args:
        root: What the folders of all data sets lie below.
        name: One of `SETS`.
        count: Clean pictures, from 2; each has one degraded version, but four in ``reside-ots``.
        size: Height and width in pixels.

    Returns:
        The root.
    """
    for number in range(1, count + 1):
        pixels = drawn_picture(number, size)
        clean, *degraded = _paths(name, number)
        _write(root / clean, pixels)
        for strength, path in enumerate(degraded):
            _write(root / path, (pixels * (0.7 - 0.1 * strength) + 20).astype(np.uint8))
    return root


def drawn_picture(number: int, size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """A few coarse colour fields, different for each number."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    height, width = size
    return coarse[np.arange(height) * 6 // height][:, np.arange(width) * 8 // width]


def _paths(name: str, number: int) -> list[str]:
    """Where a clean picture and its degraded versions lie."""
    if name == "denoising":
        return [f"denoising/WaterlooED/{number:05}.bmp" if number % 2 else f"denoising/BSD400/{number:03}.jpg"]
    if name.split("-")[0] in _BENCHMARK:
        return [f"benchmark/{_BENCHMARK[name.split('-')[0]]}/HR/img_{number:03}.png"]
    if name.startswith("cbsd68-"):
        return [f"denoising/cBSD68/original_png/{number:04}.png"]
    if name == "reside-ots":
        hazy = [f"dehazing/RESIDE/part{part}/{number:04}_0.8_0.{part:02}.jpg" for part in (1, 2, 3, 4)]
        return [f"dehazing/RESIDE/clear/{number:04}.jpg", *hazy]
    if name.startswith("cdd11-"):
        part = "train" if name.startswith("cdd11-train-") else "test"
        folder = name.removeprefix("cdd11-").removeprefix("train-")
        return [f"cdd11/{part}/clear/{number:05}.png", f"cdd11/{part}/{folder}/{number:05}.png"]
    return [pattern.format(number) for pattern in _FOLDERS[name]]


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
