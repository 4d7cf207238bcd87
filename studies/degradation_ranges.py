"""Compare what real and published pairs hold with what our degradations draw, by the same measurements on both.

    python studies/degradation_ranges.py PHOTOGRAPHS --low-light LOW CLEAN --rain RAINY CLEAN --blur BLURRED CLEAN \
        -o docs/images/degradation-ranges.png

Folders are pairs of degraded and clean pictures, matched by name. PHOTOGRAPHS are degraded by ``low_light``, ``rain``,
``blur`` and ``haze`` and then measured like the published pairs: nothing compares drawn parameters with measured ones.
Prints the 5th, 50th and 95th percentile of every quantity. Without a pair of folders a task shows only ours.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from moceir.data.packs import decode
from moceir.data.pairs import pair_folders
from moceir.data.photographs import picture_files, spread
from moceir.data.synthesis import sample_generator, to_pixels
from moceir.degradations import degrade
from moceir.evaluation.report import markdown_table
from moceir.insight.figures import GROUP_COLOURS, page_style, save_figure

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]
"""Degraded and clean picture, `(H, W, 3)` in 0..255."""
Values = dict[str, list[float]]
"""Measured values by the name of the quantity."""

OURS_PX = 384
PATCH_PX = 160
"""Side of the patches in which blur and haze are measured, because both vary over a picture."""
DISPLAY_GAMMA = 2.2


class Panel(NamedTuple):
    """One histogram: its quantity, where it starts and ends, and whether its axis is logarithmic."""

    quantity: str
    low: float
    high: float
    log: bool = False


PANELS = (
    Panel("low light: share of the light", 0.003, 0.5, log=True),
    Panel("low light: steepness of the tone curve", 0.3, 3),
    Panel("low light: noise after 8 bits, levels", 0.2, 12, log=True),
    Panel("rain: angle from vertical, degrees", -60, 60),
    Panel("rain: length of streaks, px", 0, 100),
    Panel("rain: brightness of streaks, levels", 10, 255),
    Panel("rain: share of the picture covered", 0.01, 0.7, log=True),
    Panel("blur: length, px", 1, 60),
    Panel("haze: transmission", 0, 1.1),
)


def light(pixels: Floats) -> Floats:
    """Decode display values in 0..255 to linear light in [0, 1]."""
    return (pixels / 255) ** DISPLAY_GAMMA


def measure_low_light(pair: Pair) -> Values:
    """Measure the share of the light, the power between clean and dark light, and the noise where it is flat."""
    dark, clean = pair
    smooth_dark, smooth_clean = (ndimage.uniform_filter(picture, (9, 9, 0)) for picture in pair)
    valid = (smooth_dark > 3) & (smooth_clean > 8) & (smooth_clean < 240)
    if valid.sum() < 1000:
        return {}
    x, y = np.log(light(smooth_clean[valid])), np.log(light(smooth_dark[valid]))
    # The steepness relates the two: 1 for a plain exposure.
    steepness = y.std() / x.std()
    second = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], float)[..., None] / 6  # Immerkaer 1996
    spread_255 = math.sqrt(math.pi / 2) * ndimage.uniform_filter(np.abs(ndimage.convolve(dark, second)), (15, 15, 0))
    seen = ndimage.uniform_filter(dark, (15, 15, 0)) > 5
    return {
        PANELS[0].quantity: [float(light(dark).sum() / light(clean).sum())],
        PANELS[1].quantity: [float(steepness)],
        PANELS[2].quantity: [float(np.percentile(spread_255[seen], 25))] if seen.sum() > 1000 else [],
    }


def measure_rain(pair: Pair) -> Values:
    """Measure the streaks in what was added to the clean picture."""
    layer = (pair[0] - pair[1]).max(axis=2).clip(0)
    layer = (layer - np.median(layer)).clip(0)  # mist is no streak
    found = layer > 12
    labels, count = ndimage.label(ndimage.gaussian_filter(layer, 0.5) > 12, np.ones((3, 3)))
    lengths: list[float] = []
    peaks: list[float] = []
    for index, place in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[place] == index
        if inside.sum() < 8:
            continue
        y, x = np.nonzero(inside)
        weak, strong = np.linalg.eigvalsh(np.cov(y, x))
        if strong > 9 * max(weak, 0.1):  # crossing streaks are blobs
            lengths.append(math.sqrt(12 * strong))
            peaks.append(float(layer[place][inside].max()))
    if count < 5 or len(lengths) < 3:
        return {}
    dy, dx = ndimage.gaussian_filter(layer, 1.5, (1, 0)), ndimage.gaussian_filter(layer, 1.5, (0, 1))
    # Brightness changes least along the streaks.
    _, axes = np.linalg.eigh(np.cov(np.stack([dy.ravel(), dx.ravel()])))
    angle_deg = math.degrees(math.atan(axes[1, 0] / axes[0, 0])) if axes[0, 0] else 90.0
    return {
        PANELS[3].quantity: [angle_deg],
        PANELS[4].quantity: [float(np.percentile(lengths, 75))],
        PANELS[5].quantity: [float(np.percentile(peaks, 75))],
        PANELS[6].quantity: [float(found.mean())],
    }


def patches(pair: Pair) -> Iterable[Pair]:
    """Cut a pair into patches without overlap."""
    height, width = pair[1].shape[:2]
    for top in range(0, height - PATCH_PX + 1, PATCH_PX):
        for left in range(0, width - PATCH_PX + 1, PATCH_PX):
            place = slice(top, top + PATCH_PX), slice(left, left + PATCH_PX)
            yield pair[0][place], pair[1][place]


def kernel_length_px(pair: Pair) -> float | None:
    """Estimate how far one patch was smeared: the extent of the kernel that makes the blurred from the sharp one."""
    window = np.hanning(PATCH_PX)[:, None] * np.hanning(PATCH_PX)
    blurred, sharp = ((light(picture).mean(2) - light(picture).mean()) * window for picture in pair)
    if sharp.std() < 0.01:
        return None
    spectrum = np.fft.rfft2(sharp)
    power = np.abs(spectrum) ** 2
    kernel = np.fft.irfft2(np.conj(spectrum) * np.fft.rfft2(blurred) / (power + 0.002 * power.mean()))
    kernel = ndimage.gaussian_filter(np.fft.fftshift(kernel), 0.7)
    labels, _ = ndimage.label(kernel > 0.2 * kernel.max(), np.ones((3, 3)))
    y, x = np.nonzero(labels == labels[np.unravel_index(kernel.argmax(), kernel.shape)])
    if len(y) < 3:
        return 1.0
    # A uniform line of length L has the variance L^2 / 12.
    return math.sqrt(12 * np.linalg.eigvalsh(np.cov(y, x, aweights=kernel[y, x]))[1])


def measure_blur(pair: Pair) -> Values:
    """Measure the length of the blur in each patch with enough texture."""
    lengths = [kernel_length_px(patch) for patch in patches(pair)]
    return {PANELS[7].quantity: [length for length in lengths if length is not None]}


def measure_haze(pair: Pair) -> Values:
    """Measure the share of the scene's own contrast that is left in each patch: the slope of hazy over clear."""
    slopes: list[float] = []
    for hazy, clear in patches(pair):
        if clear.std() > 15:
            deviation = clear - clear.mean((0, 1))
            slopes.append(float((deviation * hazy).sum() / np.square(deviation).sum()))
    return {PANELS[8].quantity: slopes}


MEASURES: dict[str, Callable[[Pair], Values]] = {
    "low_light": measure_low_light,
    "rain": measure_rain,
    "blur": measure_blur,
    "haze": measure_haze,
}


def as_floats(image: torch.Tensor) -> Floats:
    """Convert ``(3, H, W)`` in 0..255 to ``(H, W, 3)``."""
    return image.permute(1, 2, 0).double().numpy()


def published_pairs(folders: tuple[Path, Path], most: int) -> Iterable[Pair]:
    """Read pairs of pictures, spread evenly over the folders."""
    pairs = dict(pair_folders(*folders))
    for degraded in spread(list(pairs), most):
        yield as_floats(decode(degraded)), as_floats(decode(pairs[degraded]))


def our_pairs(photographs: Path, task: str, most: int) -> Iterable[Pair]:
    """Degrade the middle of photographs, spread evenly over the folder, with drawn parameters."""
    for path in spread(picture_files(photographs), most):
        image = decode(path)
        top, left = ((side - OURS_PX) // 2 if side > OURS_PX else 0 for side in image.shape[1:])
        clean = image[None, :, top : top + OURS_PX, left : left + OURS_PX] / 255
        made = to_pixels(degrade(clean, task, sample_generator("ranges", task, path.name))[0])
        yield made.astype(float), as_floats(clean[0] * 255)


def collect(pairs: Iterable[Pair], measure: Callable[[Pair], Values]) -> Values:
    """Measure all pairs and join the values."""
    joined: Values = {}
    for pair in pairs:
        for quantity, values in measure(pair).items():
            joined.setdefault(quantity, []).extend(values)
    return joined


def draw(ours: Values, theirs: Values) -> Figure:
    """Draw a histogram per quantity, each with the shares of ours and theirs."""
    with page_style():
        figure = Figure(figsize=(9, 6.6), layout="constrained")
        axes: list[Any] = list(figure.subplots(3, 3).flat)
        for panel, axis in zip(PANELS, axes, strict=True):
            edges = (np.geomspace if panel.log else np.linspace)(panel.low, panel.high, 19)
            for name, source, colour in (("ours", ours, GROUP_COLOURS[0]), ("published", theirs, GROUP_COLOURS[1])):
                values = np.clip(source.get(panel.quantity, []), panel.low, panel.high)
                if len(values):
                    shares = np.full(len(values), 1 / len(values))
                    axis.hist(values, edges, weights=shares, color=colour, alpha=0.6, label=name)
            if panel.log:
                axis.set_xscale("log")
                axis.xaxis.set_major_formatter("{x:g}")
                axis.xaxis.set_minor_formatter("")
            axis.set_title(panel.quantity, fontsize=9)
            axis.set_yticks([])
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def table(ours: Values, theirs: Values) -> list[str]:
    """Format the percentiles of every quantity."""

    def cell(values: Sequence[float]) -> str:
        low, middle, high = np.percentile(values, (5, 50, 95)) if values else (math.nan,) * 3
        return f"{low:.3g} / {middle:.3g} / {high:.3g} ({len(values)})" if values else "none"

    rows = [(p.quantity, cell(theirs.get(p.quantity, [])), cell(ours.get(p.quantity, []))) for p in PANELS]
    return markdown_table(("quantity", "published", "ours"), rows)


def main() -> None:
    """Measure, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="clean photographs for our own degradations")
    for task in MEASURES:
        option = f"--{task.replace('_', '-')}"
        parser.add_argument(option, type=Path, nargs=2, metavar=("DEGRADED", "CLEAN"), help=f"pairs of {task}")
    parser.add_argument("--most", type=int, default=100, help="pictures per task and source at most")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG or SVG file to write")
    options = parser.parse_args()
    ours: Values = {}
    theirs: Values = {}
    for task, measure in MEASURES.items():
        ours |= collect(our_pairs(options.photographs, task, options.most), measure)
        folders: list[Path] | None = getattr(options, task)
        if folders:
            theirs |= collect(published_pairs((folders[0], folders[1]), options.most), measure)
    print("5th, 50th and 95th percentile (number of values)\n")
    print(*table(ours, theirs), sep="\n")
    save_figure(draw(ours, theirs), options.output)


if __name__ == "__main__":
    main()
