"""Restore the example pictures with the bundled weights: ``make demo``.

The demo writes the restored pictures and a sheet (degraded, restored and clean side by side), and prints the PSNR of
each picture before and after. The last picture is a quarter as wide and high as its original and is enlarged; before is
then the bicubic enlargement. The exit code is 1 if a picture got worse.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

from moceir import Restorer, image_io
from moceir.data.metrics import psnr_db
from moceir.data.synthesis import to_pixels
from moceir.degradations.reduction import reduced, resample
from moceir.evaluation.sheet import stack_rows

HERE = Path(__file__).parent
MARGIN_PX, LABEL_PX = 8, 24
SCALE, ORIGINAL = 4, HERE / "clean" / "blur_chelsea.png"
SHOWN = {
    "noise50_astronaut": "noise",
    "rain_rocket": "rain, tones kept",
    "haze_astronaut": "haze",
    "low_light_coffee": "low light",
    "blur_chelsea": "blur: hardly better",
}
"""Pictures of the figure, with their titles."""
DUSK = ("rain_rocket",)
"""Scenes that are dark as they should be: here ``keep_tones`` says so."""
WINDOW_PX = 248


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny", help="name of a bundled model or model folder")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--figure", type=Path, help="also draw the picture of the README to this file")
    arguments = parser.parse_args()

    restorer = Restorer.from_pretrained(arguments.model)
    results: list[tuple[str, list[image_io.Pixels]]] = []
    table = Table("picture", "before, dB", "after, dB", "gain, dB", title=f"PSNR with model '{arguments.model}'")
    rows: list[Image.Image] = []
    worse: list[str] = []
    for degraded_file in sorted((HERE / "degraded").glob("*.png")):
        restored_file = arguments.output / degraded_file.name
        restorer.restore_file(degraded_file, restored_file, keep_tones=degraded_file.stem in DUSK)
        paths = (degraded_file, restored_file, HERE / "clean" / degraded_file.name)
        results.append((degraded_file.stem, [image_io.read(path).rgb for path in paths]))
    results.append((f"x{SCALE}_chelsea", enlarged_example(arguments.output)))
    for name, pictures in results:
        before, after = (psnr(picture, pictures[2]) for picture in pictures[:2])
        table.add_row(name, f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}")
        if after < before:
            worse.append(name)
        rows.append(sheet_row(pictures, (f"{name}: {before:.1f} dB", f"restored: {after:.1f} dB", "clean")))
    stack_rows(rows).save(arguments.output / "sheet.png")
    if arguments.figure:
        before_and_after(arguments.output).save(arguments.figure, quality=92)
    Console().print(table)
    print(f"pictures and sheet.png are in {arguments.output}")
    if worse:
        print(f"got worse: {', '.join(worse)}", file=sys.stderr)
    return 1 if worse else 0


def before_and_after(restored: Path) -> Image.Image:
    """Draw the centres of some pictures, degraded above restored, at full resolution."""
    step = WINDOW_PX + MARGIN_PX
    figure = Image.new("RGB", (len(SHOWN) * step + MARGIN_PX, LABEL_PX + 2 * step), "white")
    draw = ImageDraw.Draw(figure)
    for column, (name, title) in enumerate(SHOWN.items()):
        left = MARGIN_PX + column * step
        draw.text((left, 3), title, fill="black", font=ImageFont.load_default(16))
        for row, folder in enumerate((HERE / "degraded", restored)):
            picture = Image.open(folder / f"{name}.png")
            x, y = (picture.width - WINDOW_PX) // 2, (picture.height - WINDOW_PX) // 2
            figure.paste(picture.crop((x, y, x + WINDOW_PX, y + WINDOW_PX)), (left, LABEL_PX + row * step))
    return figure


def enlarged_example(output: Path) -> list[image_io.Pixels]:
    """Reduce a picture, enlarge it, and return the bicubic enlargement, ours, and the original."""
    original = image_io.read(ORIGINAL).rgb
    height, width = (side // SCALE * SCALE for side in original.shape[:2])
    original = original[:height, :width]
    small = reduced(torch.from_numpy(original).permute(2, 0, 1) / 255, SCALE)
    small_file, large_file = output / "small.png", output / f"x{SCALE}_chelsea.png"
    image_io.write(small_file, image_io.Picture(to_pixels(small)))
    Restorer.from_pretrained(upscale=SCALE).restore_file(small_file, large_file)
    return [to_pixels(resample(small, SCALE).clamp(0, 1)), image_io.read(large_file).rgb, original]


def psnr(restored: image_io.Pixels, clean: image_io.Pixels) -> float:
    """Compute the PSNR of two ``(H, W, 3)`` uint8 pictures, in dB."""
    pair = (torch.from_numpy(a).permute(2, 0, 1)[None] / 255 for a in (restored, clean))
    return float(psnr_db(*pair))


def sheet_row(pictures: list[NDArray[np.uint8]], labels: tuple[str, ...]) -> Image.Image:
    """Place pictures of one size side by side, each with a label above."""
    height, width = pictures[0].shape[:2]
    row = Image.new("RGB", (len(pictures) * (width + MARGIN_PX) + MARGIN_PX, height + LABEL_PX + MARGIN_PX), "white")
    draw = ImageDraw.Draw(row)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left = MARGIN_PX + i * (width + MARGIN_PX)
        draw.text((left, 4), label, fill="black", font=ImageFont.load_default(15))
        row.paste(Image.fromarray(picture), (left, LABEL_PX))
    return row


if __name__ == "__main__":
    sys.exit(main())
