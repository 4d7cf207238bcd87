"""Draw the contact sheet of `docs/degradations.md`: `python tools/make_degradations_sheet.py [FILE]`.

Each row shows one degradation or composite as training draws it, on four of the example photographs. Seeds are fixed,
so that the versions in constraints.txt always draw the same sheet.
"""

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from moceir.data.packs import decode
from moceir.data.synthesis import to_pixels
from moceir.degradations import CDD11, DEGRADATIONS, Degradation, degrade, parse

ROOT = Path(__file__).parents[1]
PHOTOGRAPHS = ("noise25_chelsea", "noise50_astronaut", "low_light_coffee", "rain_rocket")
ROWS = ("clean", *(name for name in DEGRADATIONS if name not in ("clean", "real")), *CDD11, "real")
TELLING = {
    "noise": ("sigma_255", "shot"),
    "poisson_gaussian": ("sigma_255", "shot"),
    "rain": ("layers", "length_px", "strength"),
    "haze": ("beta", "airlight", "structure"),
    "blur": ("size_px", "object_px", "frames"),
    "low_light": ("exposure", "gamma"),
    "jpeg": ("quality",),
    "resize": ("scale", "down", "quality"),
    "snow": ("size_px", "density"),
}
"""The parameters in the label of a cell; composites have too many for one line."""
SEED = 40
WIDTH_PX, HEIGHT_PX, LABEL_PX, MARGIN_PX = 256, 192, 18, 4


def photograph(name: str) -> Tensor:
    """Read the middle of an example photograph: ``(1, 3, HEIGHT_PX, WIDTH_PX)`` in [0, 1]."""
    pixels = decode(ROOT / "examples" / "clean" / f"{name}.png")
    top, left = (pixels.shape[1] - HEIGHT_PX) // 2, (pixels.shape[2] - WIDTH_PX) // 2
    return pixels[None, :, top : top + HEIGHT_PX, left : left + WIDTH_PX] / 255


def label(name: str, drawn: Degradation) -> str:
    """Format the label of a cell in the syntax of ``parse``: ``rain:angle_deg=-3.1,strength=0.6``."""
    values = {key: getattr(drawn, key) for key in TELLING.get(name, ())}
    shown = ",".join(
        f"{key}={value:.2g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
    return f"{name}:{shown}" if shown else name


def main(file: Path) -> None:
    """Draw the sheet and write it."""
    photographs = [photograph(name) for name in PHOTOGRAPHS]
    # Names such as `haze` are both single degradations and members of CDD-11; each gets one row.
    rows = list(dict.fromkeys("low_light" if name == "low" else name for name in ROWS))
    across, down = WIDTH_PX + MARGIN_PX, HEIGHT_PX + LABEL_PX + MARGIN_PX
    sheet = Image.new("RGB", (len(photographs) * across + MARGIN_PX, len(rows) * down), "white")
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(rows):
        generator = torch.Generator().manual_seed(SEED + row)
        for column, clean in enumerate(photographs):
            drawn = parse(name).draw(generator)
            pixels = to_pixels(degrade(clean, drawn, generator)[0])
            left, top = MARGIN_PX + column * across, row * down
            draw.text((left, top + 2), label(name, drawn), fill="black", font=ImageFont.load_default(12))
            sheet.paste(Image.fromarray(pixels), (left, top + LABEL_PX))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, quality=82)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "degradations.jpg")
