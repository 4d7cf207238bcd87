"""Both ends of the path of a picture file: from a file or bytes to what the network sees, and back.

Read, open (colours, orientation, transparency), network, carry back, write: `Restorer.open`, `Restorer.work` and
`Restorer.finish` are these steps for one file, a batch, a pipe and a server alike.
"""

from __future__ import annotations

import dataclasses
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from moceir import image_io
from moceir.data.metrics import picture_psnr_db
from moceir.errors import ConfigError, ImageError
from moceir.image_io import Limits, Picture, Pixels
from moceir.image_io.formats import FORMATS, writable_format
from moceir.image_io.picture import ICC
from moceir.machine.memory import available_ram_bytes
from moceir.machine.processes import check_fork
from moceir.restoration.options import RestoreOptions
from moceir.restoration.pixels import enlarge_pixels, to_network_batch
from moceir.restoration.result import RestorationResult

BYTES_PER_PIXEL = 60
"""What a picture of 16 bits with alpha takes at its peak, decoded and as the network sees it."""


@dataclasses.dataclass(frozen=True)
class Opened:
    """A decoded picture on its way.

    Attributes:
        picture: The picture, upright, in its own colours.
        seen: What the network sees of it: sRGB, ``(H, W, 3)``, nothing odd where it is transparent.
        seconds: Time it took so far.
        source: The file it came from, if any.
    """

    picture: Picture
    seen: Pixels
    seconds: float = 0.0
    source: Path | None = None


def open_picture(source: Path | bytes, name: str, limits: Limits) -> Opened:
    """Read and decode a picture file, or its bytes.

    Args:
        source: The file or its whole content.
        name: What errors call bytes.
        limits: How large it may be.

    Raises:
        ConfigError: If this process was forked and would hang.
        ImageError: If it cannot be read or is above a limit.
    """
    began = time.perf_counter()
    check_fork("libvips")
    if isinstance(source, bytes):
        picture, file = image_io.decode(source, name, limits), None
    else:
        picture, file = image_io.read(source, limits), source
    return Opened(picture, image_io.to_network(picture), time.perf_counter() - began, file)


def finish_picture(
    opened: Opened,
    answer: RestorationResult[Pixels],
    options: RestoreOptions,
    target: Path | None,
    clean: Picture | None = None,
) -> RestorationResult[Any]:
    """Carry the network's answer back to the picture, and write or encode it.

    Args:
        opened: The picture before.
        answer: The network's result for ``opened.seen``.
        options: Format, quality, metadata.
        target: The file to write; None for bytes.
        clean: A clean picture of the size of the result to measure against.

    Raises:
        ImageError: If the clean picture is of another size.
        OutputError: If the target is the source or cannot be written.
    """
    began = time.perf_counter()
    check_fork("libvips")
    if target is None:
        from_source = opened.picture.format
        kind = options.format or (from_source if from_source in FORMATS else "png")
    else:
        kind = check_target(opened.source, target, options)
    before, done = carry_back(opened, answer)
    measured = None if clean is None else _psnr_before_and_after_db(before, done, clean)
    data, strip = None, options.metadata == "strip"
    if target is None:
        data = image_io.encode(done, kind, quality=options.quality, strip=strip)
    else:
        image_io.write(target, done, quality=options.quality, strip=strip)
    return answer.with_restored(
        data,
        seconds=answer.seconds + time.perf_counter() - began,
        notes=(*done.notes, *image_io.losses(done, FORMATS[kind][0])),
        format=kind,
        source=opened.source,
        target=target,
        psnr_db=measured,
    )


def carry_back(opened: Opened, answer: RestorationResult[Pixels]) -> tuple[Picture, Picture]:
    """Put the network's answer in the place of what it saw of a picture.

    Returns:
        The picture before, enlarged bicubically if the answer is larger, and after.
    """
    picture, seen = opened.picture, opened.seen
    if answer.upscale > 1:
        picture = image_io.enlarged(picture, answer.upscale, partial(enlarge_pixels, scale=answer.upscale))
        # Without a profile, what the network sees is the picture, but for what nobody sees of it.
        seen = enlarge_pixels(seen, answer.upscale) if ICC in picture.metadata else picture.rgb
    return picture, image_io.from_network(picture, seen, answer.restored)


def check_target(source: Path | None, target: Path, options: RestoreOptions) -> str:
    """Return the format of a file that may be written, as far as its name says.

    Raises:
        OutputError: If it is the source itself, or its suffix is unknown or not that of the format asked for.
    """
    if source is not None:
        image_io.protect_original(source, target)
    return writable_format(target, options.format)


def limits_that_fit(options: RestoreOptions, upscale: int) -> Limits:
    """Return the limits of files: those given, else the defaults, and no more pixels than there is memory to decode.

    Args:
        options: The limits given.
        upscale: Factor by which pictures will grow; the results count.
    """
    if options.max_pixels is not None:
        return Limits(options.max_pixels, options.max_bytes, upscale)
    fitting = max(min(Limits.max_pixels, available_ram_bytes() // BYTES_PER_PIXEL), 1)
    return Limits(fitting, options.max_bytes, upscale)


def as_path(given: Any) -> Path:
    """Return the path that text or a path stands for.

    Raises:
        ConfigError: If it is something else.
    """
    if not isinstance(given, str | os.PathLike):
        raise ConfigError(f"a {type(given).__name__} is not the path of a file; give text or a pathlib.Path")
    return Path(os.fsdecode(given))


def as_bytes(given: Any) -> bytes:
    """Return bytes for anything that holds them.

    Raises:
        ConfigError: If it is something else.
    """
    if not isinstance(given, bytes | bytearray | memoryview):
        raise ConfigError(f"a {type(given).__name__} is not the content of a file; give bytes")
    return bytes(given)


def _psnr_before_and_after_db(before: Picture, after: Picture, clean: Picture) -> tuple[float, float]:
    if before.rgb.shape != clean.rgb.shape:
        sizes = " and ".join(f"{p.rgb.shape[1]}x{p.rgb.shape[0]}" for p in (before, clean))
        raise ImageError(f"the clean picture to measure against differs in size ({sizes}); correct or leave it out")
    degraded, restored, ideal = (to_network_batch(image_io.to_srgb(picture)) for picture in (before, after, clean))
    return picture_psnr_db(degraded, ideal), picture_psnr_db(restored, ideal)
