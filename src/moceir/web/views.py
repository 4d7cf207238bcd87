"""A picture for the page: restored, explained, and in a form that every browser can show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moceir import image_io
from moceir.image_io import Picture, Pixels
from moceir.insight import Guess, Signatures, embeddings_seen, features_of
from moceir.restoration import RestorationResult, Restorer

SHOWN_BY_BROWSERS = ("jpeg", "png", "webp", "avif")


@dataclass(frozen=True)
class View:
    """A restored picture with what the page shows of it.

    Attributes:
        result: The restored file, byte for byte what the command line writes.
        guess: Likely degradation; None where it cannot be told, see `restore_for_view`.
        before: JPEG file of the given picture, where browsers cannot show the given file itself; else None.
        after: The same of the restored picture.
    """

    result: RestorationResult[bytes]
    guess: Guess | None
    before: bytes | None
    after: bytes | None


def restore_for_view(restorer: Restorer, data: bytes, signatures: Signatures | None) -> View:
    """Restore a picture file and prepare what the page shows of it.

    Args:
        restorer: Restores the picture.
        data: The whole content of the degraded file.
        signatures: Signatures of the model. The likely degradation is told from the whole change that the network
            makes at the size of the picture, so there is no guess where only a part of it or a larger picture is asked
            for.

    Raises:
        ImageError: If the data cannot be read or do not fit into memory.
        OutputError: If the format cannot hold the picture.
    """
    opened = restorer.open(data)
    with embeddings_seen(restorer) as embeddings:
        answer = restorer.work(opened)
    result = restorer.finish(opened, answer, None)
    guess, options = None, restorer.options
    if signatures is not None and options.strength == 1 and not options.keep_tones and answer.upscale == 1:
        guess = signatures.guess(features_of(result.report, embeddings, opened.seen, answer.restored))
    before = None if opened.picture.format in SHOWN_BY_BROWSERS else _preview(opened.seen)
    after = None if result.format in SHOWN_BY_BROWSERS else _preview(answer.restored)
    return View(result, guess, before, after)


def _preview(pixels: Pixels) -> bytes:
    """Encode sRGB pixels ``(H, W, 3)`` as a JPEG file."""
    eight_bits = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return image_io.encode(Picture(eight_bits), "jpeg")
