"""How much quality do tiles cost? Measure the difference between a picture restored in tiles and restored whole.

    python studies/tiles.py PHOTOGRAPHS --model tiny --tile 256 --tile 512 --size 1536x1024

The picture is a patchwork of photographs; the degradations are tried one by one. All differences are in 8-bit levels:

- mean, largest: the mean and the largest difference of the pixels.
- step: a seam is a jump of the difference from one row or column to the next, along the whole row or column. This is
  the largest such jump anywhere in the picture, averaged along its row or column.
- blocks: the decoder blocks in which the route of the tiles, decided on a sample, is the route of the whole picture.
- restoration, mean: how much the restoration changes the picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moceir.cli.options import parse_size
from moceir.data.photographs import Photographs, picture_files
from moceir.degradations import degrade
from moceir.evaluation.profiling import describe_machine
from moceir.evaluation.report import markdown_table
from moceir.files import write_json
from moceir.models.execution import for_inference
from moceir.models.network import MoCEIR
from moceir.restoration.tiling import restore_in_tiles
from moceir.weights import load

DEGRADATIONS = ("noise:sigma=25", "rain:strength=0.7", "haze", "low_light", "jpeg:quality=20")
COLUMNS = ("degradation", "tile", "mean", "largest", "step", "blocks", "restoration, mean")


def patchwork(folder: Path, width: int, height: int) -> Tensor:
    """Put photographs side by side, portraits turned on their side: ``(1, 3, height, width)`` in [0, 1]."""
    files, photographs = iter(picture_files(folder)), Photographs()
    rows: list[Tensor] = []
    while sum(row.shape[1] for row in rows) < height:
        row: list[Tensor] = []
        while sum(photo.shape[2] for photo in row) < width:
            photo = photographs[next(files)]
            row.append(photo if photo.shape[1] <= photo.shape[2] else photo.rot90(dims=(1, 2)))
        lowest = min(photo.shape[1] for photo in row)
        rows.append(torch.cat([photo[:, :lowest] for photo in row], dim=2)[..., :width])
    return torch.cat(rows, dim=1)[None, :, :height].float() / 255


@torch.inference_mode()
def compare(network: MoCEIR, image: Tensor, tile: int) -> dict[str, Any]:
    """Restore a picture whole and in tiles, and measure how the two results differ."""
    whole, decisions = network.restore_with_routing(image)
    tiled, shared = restore_in_tiles(network, image, tile)
    difference = 255 * (tiled.clamp(0, 1) - whole.clamp(0, 1))
    steps = [difference.diff(dim=across).mean(dim=(1, along)).abs().max() for across, along in ((2, 3), (3, 2))]
    agreed = sum(torch.equal(a.experts, b.experts) for a, b in zip(decisions, shared, strict=True))
    return {
        "tile": tile,
        "mean": float(difference.abs().mean()),
        "largest": float(difference.abs().max()),
        "step": float(max(steps)),
        "blocks_agreed": agreed,
        "blocks": len(decisions),
        "restoration": float(255 * (whole.clamp(0, 1) - image).abs().mean()),
    }


def main() -> None:
    """Compare each degradation and tile size, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of clean photographs")
    parser.add_argument("--model", default="tiny", help="bundled name or model folder")
    parser.add_argument("--size", type=parse_size, default=(1536, 1024), help="WIDTHxHEIGHT of the picture")
    parser.add_argument(
        "--tile",
        action="append",
        type=int,
        help="side in pixels, a multiple of 128; repeatable; 256 and 512 by default",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the degradations")
    parser.add_argument("--threads", type=int, help="threads of torch; its own choice by default")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    network = for_inference(load(arguments.model))
    clean = patchwork(arguments.photographs, *arguments.size)
    asked = {"model": arguments.model, "size": arguments.size, "seed": arguments.seed}
    rows: list[dict[str, Any]] = []
    print("\n".join(markdown_table(COLUMNS, ())))
    for text in DEGRADATIONS:
        image = degrade(clean, text, torch.Generator().manual_seed(arguments.seed))
        for tile in arguments.tile or (256, 512):
            row = {"degradation": text} | compare(network, image, tile)
            rows.append(row)
            print(markdown_table(cells(row), ())[0], flush=True)
    if arguments.json:
        write_json(arguments.json, {"machine": describe_machine("cpu"), **asked, "rows": rows})


def cells(row: dict[str, Any]) -> list[str]:
    """Format a row of the table."""
    numbers = [f"{row[name]:.3f}" for name in ("mean", "largest", "step")]
    agreed = f"{row['blocks_agreed']} of {row['blocks']}"
    return [row["degradation"], str(row["tile"]), *numbers, agreed, f"{row['restoration']:.2f}"]


if __name__ == "__main__":
    main()
