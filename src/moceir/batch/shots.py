"""Frames of a video in folders: one route for each shot, so that the result does not flicker.

The router decides from a frame's content and noise; near a border between two experts it may change its mind from frame
to frame, and the picture with it. Here it decides once for all frames of a shot.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from moceir import image_io
from moceir.batch.planning import Job
from moceir.errors import ImageError
from moceir.image_io import Picture
from moceir.restoration import Restorer

if TYPE_CHECKING:
    from moceir.restoration.reports import RoutingReport

Fields = NDArray[np.float32]
"""Mean colours of a frame, with its size: see `mean_fields`."""

GRID = 16
"""Fields across and down whose mean colours are compared; noise and rain cancel out in them."""
CUT = 0.25
"""A cut lies between two frames whose fields differ by more than this share of their brightness..."""
OUTLIER = 3.0
"""...and by more than this many times the usual difference in the shot, which may move fast."""
USUAL_OVER = 12
"""How many of the last differences the usual one is the median of."""
PROBES = 5
"""How many frames, spread over a shot, decide on its route."""
PROBE_PX = 384
"""Largest side of the middle of a frame that the routers see for that."""


def routes_by_shot(
    restorer: Restorer, jobs: Iterable[Job], on_frame: Callable[[], object] = lambda: None
) -> tuple[dict[Path, Restorer], list[list[Path]]]:
    """Find the shots in each folder, and give each a restorer with the route of that shot.

    Args:
        restorer: Decides on the routes.
        jobs: Frames; those of one folder, in the order of their names (2 before 10), are a video.
        on_frame: Called after each frame, for progress.

    Returns:
        The restorer of each readable frame, and the frames of each shot.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for job in jobs:
        folders[job.source.parent].append(job.source)
    restorers: dict[Path, Restorer] = {}
    shots: list[list[Path]] = []
    for frames in folders.values():
        fields: dict[Path, Fields] = {}
        for frame in sorted(frames, key=natural_order):
            with contextlib.suppress(ImageError):  # it is reported when its turn comes to be restored
                fields[frame] = mean_fields(image_io.read(frame, restorer.limits))
            on_frame()
        for first, end in split_into_shots(list(fields.values())):
            shot = list(fields)[first:end]
            route = shot_route(restorer, shot)
            restorers |= dict.fromkeys(shot, restorer.with_experts(route))
            shots.append(shot)
    return restorers, shots


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts ``frame2`` before ``frame10``."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def mean_fields(picture: Picture) -> Fields:
    """Return the mean colours of a frame's fields, ``(GRID, GRID, 3)`` in [0, 1], and its size.

    Returns:
        ``(GRID * GRID * 3 + 2,)``: the fields, then height and width.
    """
    height, width = picture.rgb.shape[:2]
    rows, columns = (np.linspace(0, side, GRID, endpoint=False).astype(int) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(picture.rgb, rows, axis=0, dtype=np.float64), columns, axis=1)
    counts = np.maximum(np.diff(rows, append=height), 1)[:, None] * np.maximum(np.diff(columns, append=width), 1)
    fields = sums / counts[..., None] / np.iinfo(picture.rgb.dtype).max
    return np.append(fields.ravel(), (height, width)).astype(np.float32)


def difference(one: Fields, other: Fields) -> float:
    """Return how much two frames differ, as a share of their brightness; infinity for different sizes."""
    if (one[-2:] != other[-2:]).any():
        return math.inf
    brightness = max(float(one[:-2].mean() + other[:-2].mean()) / 2, 1 / 255)
    return float(np.abs(one[:-2] - other[:-2]).mean()) / brightness


def split_into_shots(fields: Sequence[Fields]) -> list[tuple[int, int]]:
    """Return the first frame and the end of each shot."""
    cuts = [0]
    usual: list[float] = []
    for i in range(1, len(fields)):
        step = difference(fields[i - 1], fields[i])
        if step > CUT and step > OUTLIER * float(np.median(usual or [0.0])):
            cuts.append(i)
            usual = []
        else:
            usual = [*usual, step][-USUAL_OVER:]
    return list(zip(cuts, [*cuts[1:], len(fields)], strict=True)) if fields else []


def shot_route(restorer: Restorer, frames: Sequence[Path]) -> list[list[int]]:
    """Return the experts of each decoder block with the highest mean scores over some frames of a shot."""
    middles = sorted({(2 * i + 1) * len(frames) // (2 * PROBES) for i in range(PROBES)})
    reports = [probe(restorer, image_io.read(frames[i], restorer.limits)) for i in middles]
    if len({report.experts for report in reports}) == 1:  # forced ones among them
        return [list(block) for block in reports[0].experts]
    scores = np.mean([[block.scores for block in report.blocks] for report in reports], axis=0)
    return np.argsort(-scores, axis=1, kind="stable")[:, : restorer.config.top_k].tolist()


def probe(restorer: Restorer, picture: Picture) -> RoutingReport:
    """Return the route of the middle of a frame."""
    seen = image_io.to_network(picture)
    top, left = (max(side - PROBE_PX, 0) // 2 for side in seen.shape[:2])
    return restorer.run(seen[top : top + PROBE_PX, left : left + PROBE_PX]).report
