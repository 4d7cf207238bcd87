"""Make the example pairs from photographs that come with scikit-image: `python examples/make_examples.py [FOLDER]`.

With the versions in constraints.txt, the files are the same byte for byte. Other versions or processors may change
pixels by one level. See README.md in this folder for the origin and terms of the photographs.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from moceir import image_io
from moceir.data.synthesis import to_8_bit, to_pixels
from moceir.degradations import degrade, parse

LONG_SIDE_PX = 384


class Example(NamedTuple):
    """A pair of pictures to make.

    Attributes:
        name: Name of both files, without suffix.
        source: Name of the function in ``skimage.data`` that returns the photograph.
        crop: Top, left, height and width of the part to use, in pixels of the photograph.
        degradation: Degradation as text for ``moceir.degradations.parse``.
    """

    name: str
    source: str
    crop: tuple[int, int, int, int]
    degradation: str


EXAMPLES = (
    Example("noise25_chelsea", "chelsea", (0, 0, 300, 451), "noise:sigma=25"),
    Example("noise50_astronaut", "astronaut", (10, 120, 256, 384), "noise:sigma=50"),
    Example(
        "rain_rocket",
        "rocket",
        (0, 0, 427, 640),
        "rain:angle_deg=12,length_px=28,width_px=1.3,density=0.07,strength=0.65,screen=0.5,far_strength=0,mist=0",
    ),
    Example(
        "haze_astronaut",
        "astronaut",
        (0, 0, 512, 512),
        "haze:beta=1.1,airlight=0.85,warmth=0,depth_offset=0.2,depth_span=0.8,ramp=0.6,tilt_deg=0",
    ),
    Example(
        "blur_chelsea", "chelsea", (30, 85, 256, 346), "blur:kind=motion,size_px=9,angle_deg=20,noise_sigma_255=0.5"
    ),
    Example(
        "low_light_coffee",
        "coffee",
        (0, 0, 400, 600),
        "low_light:exposure=0.18,gamma=2.2,cast_red=1,cast_blue=1.05,read_sigma=0.001,shot=0.0005",
    ),
    Example("jpeg_coffee", "coffee", (100, 170, 256, 384), "jpeg:quality=15,subsample=true"),
)


def clean_picture(example: Example) -> Tensor:
    """Crop and shrink a photograph; the result is ``(1, 3, H, W)`` in [0, 1], rounded to 8-bit levels."""
    top, left, height, width = example.crop
    photo = torch.from_numpy(getattr(data, example.source)())[top : top + height, left : left + width]
    pixels = photo.permute(2, 0, 1)[None].float() / 255
    scale = min(1.0, LONG_SIDE_PX / max(height, width))
    size = (round(scale * height), round(scale * width))
    return to_8_bit(F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1))


def main(folder: Path) -> None:
    """Write all pairs to the sub-folders ``clean`` and ``degraded``, and print the PSNR of each."""
    for seed, example in enumerate(EXAMPLES):
        clean = clean_picture(example)
        degraded = to_8_bit(degrade(clean, parse(example.degradation), torch.Generator().manual_seed(seed)))
        for kind, image in {"clean": clean, "degraded": degraded}.items():
            image_io.write(folder / kind / f"{example.name}.png", image_io.Picture(to_pixels(image[0])))
        psnr_db = -10 * (degraded - clean).square().mean().log10().item()
        print(f"{example.name}: {psnr_db:.2f} dB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
