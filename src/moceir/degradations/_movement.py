"""Motion blur of moving scenes, as the mean of frames that are warped copies of the picture."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from moceir.degradations._fields import guided_filter, luma, smooth_noise
from moceir.degradations.base import per_image

# A continuous exposure averages frames about one pixel apart, but at most this many.
_MOST_FRAMES = 32


class Movement(NamedTuple):
    """Movement of camera and object during the exposure of one picture.

    Attributes:
        camera_px: Offsets of the picture at evenly spaced times, ``(2, S)``: y and x in pixels.
        object_px: Offsets of the object relative to the scene at the same times, ``(2, S)``.
        length_px: Approximate total movement of camera and object.
        roll_deg: Rotation of the picture during the exposure.
        zoom: Scale of the picture at the end relative to the start.
        object_share: Diameter of the object as a fraction of the shorter side; 0 for no object.
        frames: Number of frames to average; 0 for enough to make the exposure look continuous.
    """

    camera_px: Tensor
    object_px: Tensor
    length_px: float
    roll_deg: float
    zoom: float
    object_share: float
    frames: int


def mean_of_frames(images: Tensor, movements: Sequence[Movement], generator: torch.Generator) -> Tensor:
    """Average the frames of moving scenes.

    Args:
        images: Pictures ``(B, 3, H, W)`` in the values to average: linear light or display values.
        movements: One movement per picture.
        generator: Source of the rotation centres and object shapes, on the device of ``images``.

    Returns:
        ``(B, 3, H, W)``.
    """
    counts = [m.frames or _enough_frames(m, *images.shape[-2:]) for m in movements]
    camera, own, turns = _sampled(movements, counts, images)
    # Anywhere in the picture, because it may be a crop of a larger one.
    size = images.new_tensor(images.shape[-2:])
    centres = (torch.rand(len(images), 2, generator=generator, dtype=images.dtype, device=images.device) - 0.5) * size
    scene_maps = _maps(camera, turns, movements, centres, images)

    shares = [m.object_share for m in movements if m.object_share > 0]
    moving = torch.tensor([i for i, m in enumerate(movements) if m.object_share > 0], device=images.device).long()
    scene, front, front_maps = images, images[moving], scene_maps
    if shares:
        shapes = _shapes(images[moving], shares, generator)
        front = torch.cat([images[moving] * shapes, shapes], dim=1)
        front_maps = _maps(camera + own, turns, movements, centres, images)[:, moving]
        scene = images.clone()
        scene[moving] = background_without(images[moving], shapes)

    # Pictures with fewer frames stay at their last one, with weight 0.
    weights = images.new_tensor([[float(k < n) / n for n in counts] for k in range(max(counts))])
    mean = torch.zeros_like(images)
    for k, weight in enumerate(weights):
        frame = _warp(scene, scene_maps[k])
        if shares:
            layer = _warp(front, front_maps[k])
            frame[moving] = frame[moving] * (1 - layer[:, 3:]) + layer[:, :3]
        mean += weight.view(-1, 1, 1, 1) * frame
    return mean


def _enough_frames(movement: Movement, height: int, width: int) -> int:
    """Return the number of frames needed to hide the steps of a continuous exposure."""
    turned = math.radians(abs(movement.roll_deg)) + abs(math.log(movement.zoom))
    return min(_MOST_FRAMES, math.ceil(movement.length_px + math.hypot(height, width) / 2 * turned) + 2)


def _sampled(movements: Sequence[Movement], counts: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sample the movements at the times of the frames.

    Returns:
        Offsets of scene and object ``(F, B, 2)`` in pixels, and the progress of roll and zoom ``(F, B, 1)`` from -0.5
        to 0.5. F is the largest count; pictures with fewer frames stay at their last one.
    """
    frames, steps = max(counts), movements[0].camera_px.shape[1]
    # From 0 to 1; a single frame is at the middle.
    times = [[min(k / (n - 1), 1.0) if n > 1 else 0.5 for n in counts] for k in range(frames)]
    at = torch.tensor([[round(t * (steps - 1)) for t in row] for row in times], device=like.device)
    index = at.T[:, None].expand(-1, 2, -1)
    camera, own = (
        torch.stack(paths).gather(2, index).permute(2, 0, 1)
        for paths in ([m.camera_px for m in movements], [m.object_px for m in movements])
    )
    return camera, own, like.new_tensor(times)[..., None] - 0.5


def _maps(shift: Tensor, turns: Tensor, movements: Sequence[Movement], about: Tensor, images: Tensor) -> Tensor:
    """Build the matrices for ``affine_grid`` that map each frame to the picture.

    Args:
        shift: Offsets of the picture in pixels, ``(F, B, 2)``, y and x.
        turns: Progress of roll and zoom, ``(F, B, 1)``.
        movements: Movements with the total roll and zoom.
        about: Centres of rotation ``(B, 2)`` in pixels from the centre of the picture.
        images: Pictures ``(B, 3, H, W)``.

    Returns:
        ``(F, B, 2, 3)``.
    """
    height, width = images.shape[-2:]
    angle = turns[..., 0] * images.new_tensor([math.radians(m.roll_deg) for m in movements])
    scale = torch.exp(-turns[..., 0] * images.new_tensor([math.log(m.zoom) for m in movements]))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # An output pixel q shows `about + R (q - about - shift)`. affine_grid puts x before y, and its coordinates range
    # from -1 to 1 across the picture.
    y, x = about.unbind(-1)
    down, right = (shift + about).unbind(-1)
    from_x = (x - cos * right - sin * down) * (2 / width)
    from_y = (y + sin * right - cos * down) * (2 / height)
    rows = [cos, sin * (height / width), from_x, -sin * (width / height), cos, from_y]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 3))


def _warp(images: Tensor, maps: Tensor) -> Tensor:
    """Warp ``(B, C, H, W)`` pictures by ``(B, 2, 3)`` matrices, with reflection at the border."""
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _shapes(images: Tensor, shares: Sequence[float], generator: torch.Generator) -> Tensor:
    """Draw an object mask ``(B, 1, H, W)`` for each picture, with edges that follow those of the picture."""
    height, width = images.shape[-2:]
    centres = 0.2 + 0.6 * torch.rand(len(images), 2, generator=generator, dtype=images.dtype, device=images.device)
    rows = torch.arange(height, dtype=images.dtype, device=images.device).view(1, 1, -1, 1)
    columns = torch.arange(width, dtype=images.dtype, device=images.device).view(1, 1, 1, -1)
    radius = per_image([max(1.0, share * min(height, width) / 2) for share in shares], images)
    distance = torch.hypot(
        rows - height * centres[:, 0].view(-1, 1, 1, 1), columns - width * centres[:, 1].view(-1, 1, 1, 1)
    )
    ragged = 1.2 - distance / radius + 0.8 * (smooth_noise(images, 4, generator) - 0.5)
    return torch.sigmoid(12 * guided_filter(luma(images), ragged.clamp(-1, 1), radius_share=0.04))


def background_without(images: Tensor, shapes: Tensor) -> Tensor:
    """Fill the area of objects with their surroundings, which show when the objects move away."""
    radius = max(1, min(images.shape[-2:]) // 16)
    window, outside = 2 * radius + 1, 1 - shapes
    known = F.avg_pool2d(outside, window, stride=1, padding=radius)
    around = F.avg_pool2d(images * outside, window, stride=1, padding=radius) / known.clamp(min=1e-3)
    # The middle of a large object has no surroundings in reach: it keeps its pixels, which show only after a long move.
    filled = torch.lerp(images, around, (known / 0.05).clamp(max=1))
    return torch.lerp(images, filled, shapes)
