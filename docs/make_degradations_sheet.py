"""Draw the contact sheet of `docs/degradations.md`: `python docs/make_degradations_sheet.py [FILE]`.

Each row shows one degradation or composite as training draws it, on four of the example photographs. Seeds are fixed,
so with the versions of constraints.txt the sheet comes out the same.
"""

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from moceir import image_io
from moceir.degradations import CDD11, DEGRADATIONS, Degradation, degrade, parse

HERE = Path(__file__).parent
PHOTOGRAPHS = ("noise25_chelsea", "noise50_astronaut", "low_light_coffee", "rain_rocket")
ROWS = ("clean", *(name for name in DEGRADATIONS if name not in ("clean", "real")), *CDD11, "real")
TELLING = {
    "noise": ("sigma_255", "shot"),
    "poisson_gaussian": ("sigma_255", "shot"),
    "rain": ("angle_deg", "strength"),
    "haze": ("beta", "airlight"),
    "blur": ("kind", "size_px"),
    "low_light": ("exposure", "gamma"),
    "jpeg": ("quality",),
    "resize": ("scale", "up"),
    "snow": ("size_px", "density"),
}
"""The parameters that a cell's label names; composites have too many for one line."""
SEED = 40
WIDTH_PX, HEIGHT_PX, LABEL_PX, MARGIN_PX = 256, 192, 18, 4


def photograph(name: str) -> Tensor:
    """The middle of an example photograph, `(1, 3, HEIGHT_PX, WIDTH_PX)` in [0, 1]."""
    pixels = torch.from_numpy(image_io.read(HERE.parent / "examples" / "clean" / f"{name}.png").rgb)
    top, left = (pixels.shape[0] - HEIGHT_PX) // 2, (pixels.shape[1] - WIDTH_PX) // 2
    return pixels[top : top + HEIGHT_PX, left : left + WIDTH_PX].permute(2, 0, 1)[None] / 255


def label(name: str, drawn: Degradation) -> str:
    """A cell's label, in the words of `parse`: `rain:angle_deg=-3.1,strength=0.6`."""
    values = {key: getattr(drawn, key) for key in TELLING.get(name, ())}
    shown = ",".join(
        f"{key}={value:.2g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
    return f"{name}:{shown}" if shown else name


def main(file: Path) -> None:
    """Write the sheet."""
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
            levels = (degrade(clean, drawn, generator)[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
            left, top = MARGIN_PX + column * across, row * down
            draw.text((left, top + 2), label(name, drawn), fill="black", font=ImageFont.load_default(12))
            sheet.paste(Image.fromarray(levels.numpy()), (left, top + LABEL_PX))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, quality=82)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images" / "degradations.jpg")
