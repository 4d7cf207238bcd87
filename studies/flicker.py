"""Does `moceir restore --sequence` flicker less than restoring frame by frame? Measured on panned photographs.

    python studies/flicker.py PHOTOGRAPHS --pictures 4 --frames 24

Makes short videos from photographs: a window moves over the photograph by a few whole pixels per frame. Each frame
gets new noise, new rain, or both; their strength swells and fades, so that the routers change their choice. Restores
the videos with `moceir restore`, with --sequence and without it, and prints for each kind of degradation:

- new routes: how many steps from one frame to the next change the route.
- flicker: the mean absolute difference between each frame and the one before it, moved by the pan, in 8-bit levels.
  Clean frames have none, because they are moved exactly.
- of fields: the same for the means of fields of 16 x 16 pixels, in which remaining noise cancels out. The eye sees
  this as pumping.
- at new routes: both, only at the steps at which the route changes frame by frame. There --sequence can help.
- apart: the mean difference between the two ways in 8-bit levels, on the frames for which --sequence takes another
  route. This is what a change of route does to a picture.
- PSNR: the mean PSNR of the frames in dB.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import math
import tempfile
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moceir import image_io
from moceir.cli import app
from moceir.data.photographs import spread
from moceir.data.synthesis import to_pixels
from moceir.degradations import Degradation, Noise, Rain
from moceir.evaluation.profiling import describe_machine
from moceir.evaluation.report import markdown_table
from moceir.files import write_json
from moceir.machine.allocator import keep_freed_memory

FIELD_PX = 16
PERIOD = 8
"""Frames in which the strength swells and fades once."""
COLUMNS = (
    *("degradation", "restored", "new routes", "flicker", "of fields"),
    *("at new routes", "of fields", "apart", "PSNR"),
)
WAYS = {"frame by frame": [], "--sequence": ["--sequence"]}
Levels = NDArray[np.float64]


def at_strength(kind: str, share: float) -> list[Degradation]:
    """Build the degradations of a frame, from weak (0) to strong (1)."""
    noise, rain = Noise(sigma_255=10 + 40 * share), Rain(strength=0.2 + 0.7 * share)
    return {"noise": [noise], "rain": [rain], "rain+noise": [rain, noise]}[kind]


KINDS = ("noise", "rain", "rain+noise")


def panned(photograph: Path, frames: int, size: tuple[int, int], step_px: int) -> list[NDArray[np.uint8]]:
    """Cut windows ``(H, W, 3)`` that move to the right over the middle of a photograph."""
    rgb = image_io.read(photograph).rgb
    height, width = size
    needed = width + step_px * (frames - 1)
    if rgb.dtype != np.uint8 or rgb.shape[0] < height or rgb.shape[1] < needed:
        raise SystemExit(f"{photograph} is smaller than {needed}x{height} pixels, or has 16 bits; take another folder")
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - needed) // 2
    lefts = [left + step_px * frame for frame in range(frames)]
    return [np.ascontiguousarray(rgb[top : top + height, at : at + width]) for at in lefts]


def write_video(folder: Path, clean: list[NDArray[np.uint8]], kind: str, seed: int) -> None:
    """Degrade each frame separately, and write the frames."""
    generator = torch.Generator().manual_seed(seed)
    for number, frame in enumerate(clean):
        image = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
        for degradation in at_strength(kind, 0.5 - 0.5 * math.cos(2 * math.pi * number / PERIOD)):
            image = degradation.apply(image, [degradation], generator)
        image_io.write(folder / f"{number:03}.png", image_io.Picture(to_pixels(image[0])))


def restore(root: Path, way: str, model: str) -> tuple[dict[str, list[Any]], str]:
    """Restore all videos in one way; return the routes of the frames by video, and the messages about shots."""
    report = root / f"{way}.jsonl"
    command = ["restore", str(root / "in"), "-o", str(root / way), "--model", model, "--report", str(report)]
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = app([*command, "--device", "cpu", *WAYS[way]], standalone_mode=False)
    if code:
        raise SystemExit(said.getvalue())
    lines = report.read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = sorted(map(json.loads, lines), key=itemgetter("input"))
    routes: dict[str, list[Any]] = {}
    for row in rows:
        routes.setdefault(Path(row["input"]).parent.name, []).append(row["route"])
    return routes, said.getvalue().strip()


def read_frames(folder: Path, frames: int) -> list[Levels]:
    """Read the frames of a video: ``(H, W, 3)`` in 8-bit levels."""
    return [image_io.read(folder / f"{number:03}.png").rgb.astype(np.float64) for number in range(frames)]


def flicker(frames: list[Levels], step_px: int) -> tuple[Levels, Levels]:
    """Measure each step to the next frame: the mean absolute difference of the pixels, and of the means of fields."""
    steps = [after[:, : after.shape[1] - step_px] - before[:, step_px:] for before, after in itertools.pairwise(frames)]
    fields = [np.abs(_field_means(difference)).mean() for difference in steps]
    return np.array([np.abs(difference).mean() for difference in steps]), np.array(fields)


def _field_means(difference: Levels) -> Levels:
    rows, columns = (side // FIELD_PX * FIELD_PX for side in difference.shape[:2])
    fields = difference[:rows, :columns].reshape(rows // FIELD_PX, FIELD_PX, columns // FIELD_PX, FIELD_PX, 3)
    return fields.mean(axis=(1, 3))


def psnr_db(frames: list[Levels], clean: list[NDArray[np.uint8]]) -> float:
    """Compute the mean PSNR of the frames."""
    errors = [np.square(frame - truth).mean() for frame, truth in zip(frames, clean, strict=True)]
    return float(np.mean([10 * math.log10(255**2 / error) for error in errors]))


def measure(root: Path, videos: dict[str, list[NDArray[np.uint8]]], step_px: int, model: str) -> dict[str, Any]:
    """Restore the videos in both ways; return a row for each video and way, with the input as a third way."""
    routes: dict[str, dict[str, list[Any]]] = {}
    shots = ""
    for way in WAYS:
        routes[way], said = restore(root, way, model)
        shots = said or shots
    rows: list[dict[str, Any]] = []
    for video, clean in videos.items():
        alone, by_frame = read_frames(root / "frame by frame" / video, len(clean)), routes["frame by frame"][video]
        changes = [before != after for before, after in itertools.pairwise(by_frame)]
        for way in ("in", *WAYS):
            frames = read_frames(root / way / video, len(clean))
            pixels, fields = flicker(frames, step_px)
            taken = by_frame if way == "in" else routes[way][video]
            other = [i for i, route in enumerate(taken) if route != by_frame[i]]
            rows.append(
                {
                    "kind": video.rpartition(" ")[0],
                    "video": video,
                    "way": "input" if way == "in" else way,
                    "changes": sum(a != b for a, b in itertools.pairwise(taken)),
                    "at_change": changes,
                    "pixels": pixels.tolist(),
                    "fields": fields.tolist(),
                    "apart": [float(np.abs(frames[i] - alone[i]).mean()) for i in other],
                    "psnr_db": psnr_db(frames, clean),
                }
            )
    return {"rows": rows, "shots": shots}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Format the means by kind and way as a Markdown table."""
    lines: list[list[str]] = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for way in dict.fromkeys(row["way"] for row in rows):
            those = [row for row in rows if (row["kind"], row["way"]) == (kind, way)]
            at = np.concatenate([row["at_change"] for row in those])
            values = [np.concatenate([row[name] for row in those]) for name in ("pixels", "fields")]
            everywhere = [f"{value.mean():.3f}" for value in values]
            there = [f"{value[at].mean():.3f}" if at.any() else "" for value in values]
            apart = [difference for row in those for difference in row["apart"]]
            differs = f"{np.mean(apart):.3f} on {len(apart)}" if apart else ""
            changes = "" if way == "input" else f"{sum(row['changes'] for row in those)} of {len(at)}"
            psnr = f"{np.mean([row['psnr_db'] for row in those]):.2f}"
            lines.append([kind, way, changes, *everywhere, *there, differs, psnr])
    return markdown_table(COLUMNS, lines)


def main() -> None:
    """Make the videos, measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of clean photographs")
    parser.add_argument("--pictures", type=int, default=4, help="how many photographs, spread evenly over the folder")
    parser.add_argument("--frames", type=int, default=24, help="frames per video")
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), metavar=("HEIGHT", "WIDTH"), help="of a frame")
    parser.add_argument("--step", type=int, default=2, help="pixels of pan per frame")
    parser.add_argument("--seed", type=int, default=0, help="seed of the degradations")
    parser.add_argument("--model", default="tiny", help="bundled name or model folder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    found = [path for path, _ in image_io.find([options.photographs])]
    with tempfile.TemporaryDirectory() as name:
        root, videos = Path(name), {}
        for number, photograph in enumerate(spread(found, options.pictures)):
            clean = panned(photograph, options.frames, tuple(options.size), options.step)
            for kind in KINDS:
                videos[f"{kind} {number}"] = clean
                write_video(root / "in" / f"{kind} {number}", clean, kind, options.seed + number)
        result = measure(root, videos, options.step, options.model)
    print(*table(result["rows"]), result["shots"], sep="\n")
    if options.json:
        write_json(options.json, result | {"machine": describe_machine("cpu"), "model": options.model})


if __name__ == "__main__":
    main()
