"""Putting the blocks of a picture back around its encoded pixels, and naming those that a format cannot hold."""

from __future__ import annotations

from moceir.image_io import exif, photoshop, xmp
from moceir.image_io.containers import jpeg, left_out, png, policy, tiff, webp
from moceir.image_io.containers.directories import Entry
from moceir.image_io.picture import (
    EXIF,
    ICC,
    IPTC,
    JPEG_SEGMENTS,
    PHOTOSHOP,
    PNG_CHUNKS,
    PNG_COLOUR,
    TIFF_TAGS,
    WEBP_CHUNKS,
    XMP,
    XMP_EXTENDED,
    Picture,
)

_OWN = {"jpeg": JPEG_SEGMENTS, "png": PNG_CHUNKS, "webp": WEBP_CHUNKS, "tiff": TIFF_TAGS}
_GEOTIFF = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)
_LARGEST_XMP_IN_JPEG = jpeg.LARGEST - len(jpeg.XMP_PREFIX)
_XMP_TEXT = b"XML:com.adobe.xmp\0\0\0\0\0"
_RESOLUTION_TAGS, _ORIENTATION_TAG, _SAMPLES_TAG = (282, 283, 296), 274, 338
_TIFF_BLOCKS = {XMP: (700, 1), IPTC: (33723, 7), PHOTOSHOP: (34377, 1)}


def embed(data: bytes, kind: str, picture: Picture, size: tuple[int, int]) -> bytes:
    """Put metadata into an encoded file.

    Args:
        data: What libvips wrote, with the profile and nothing else.
        kind: ``jpeg``, ``png``, ``webp`` or ``tiff``.
        picture: Its metadata and resolution are written.
        size: Width and height as stored.
    """
    metadata = dict(picture.metadata)
    block = _exif(picture, kind)
    metadata |= {EXIF: block} if block else {}
    if kind == "jpeg":
        return _into_jpeg(data, metadata, picture.pixels_per_mm)
    whole, _ = _whole_xmp(metadata)
    metadata |= {XMP: whole} if whole else {}
    if kind == "png":
        return _into_png(data, metadata, resolution=picture.pixels_per_mm is not None)
    if kind == "webp":
        alpha = picture.alpha is not None and bool((picture.alpha < 255).any())
        return webp.rewritten(data, metadata, size, alpha=alpha)
    return _into_tiff(data, metadata, picture)


def losses(picture: Picture, kind: str) -> list[str]:
    """Notes on the blocks and channels that a format cannot hold."""
    metadata = picture.metadata
    lost: list[tuple[str, int]] = []
    if kind != "tiff" and picture.extra is not None:
        count = picture.extra.shape[2]
        lost.append((f"{count} channel{'s' if count > 1 else ''} beside colour and alpha", picture.extra.nbytes))
    if kind == "jpeg" and len(metadata.get(EXIF, b"")) > exif.LARGEST_IN_JPEG:
        lost.append(("EXIF too long for JPEG", len(metadata[EXIF])))
    if kind != "jpeg" and not _whole_xmp(metadata)[1]:
        lost.append(("extended XMP", len(metadata[XMP_EXTENDED])))
    if kind in ("png", "webp"):
        names = {IPTC: "IPTC", PHOTOSHOP: "IPTC and Photoshop resources"}
        lost += [(words, len(metadata[key])) for key, words in names.items() if key in metadata]
    if kind == "webp" and picture.pixels_per_mm and EXIF in metadata and exif.resolution(metadata[EXIF]) is None:
        lost.append(("resolution", 8))  # EXIF, which would have to say it, stays as it is
    if kind == "tiff" and EXIF in metadata:
        lost += _lost_exif(metadata[EXIF])
    for other, key in _OWN.items():
        if other != kind and key in metadata:
            lost += _described(key, metadata[key])
    return left_out(lost)


def _exif(picture: Picture, kind: str) -> bytes | None:
    """The EXIF block to write: that of the file, or one that says how the pixels are stored and how large."""
    block = picture.metadata.get(EXIF)
    resolution = picture.pixels_per_mm if kind == "webp" else None  # its only place for one
    if block is None and picture.orientation == 1 and resolution is None:
        return None
    made = exif.with_orientation(block or exif.EMPTY, picture.orientation)
    return made if block or resolution is None else exif.with_resolution(made, resolution)


def _whole_xmp(metadata: dict[str, bytes]) -> tuple[bytes | None, bool]:
    """The XMP in one piece, and whether everything is in it."""
    main, extended = metadata.get(XMP), metadata.get(XMP_EXTENDED)
    if main is None or extended is None:
        return main, extended is None
    together = xmp.merged(main, extended)
    return (main, False) if together is None else (together, True)


def _into_jpeg(data: bytes, metadata: dict[str, bytes], pixels_per_mm: tuple[float, float] | None) -> bytes:
    segments: list[bytes] = []
    main, extended = metadata.get(XMP, b""), metadata.get(XMP_EXTENDED)
    digest = xmp.digest_in(main, extended) if extended else ""
    if len(main) > _LARGEST_XMP_IN_JPEG or (extended and not digest):
        main, extended, digest = xmp.split(_whole_xmp(metadata)[0] or b"")
        metadata[XMP] = main
    if extended:
        segments = jpeg.extended_segments(extended, digest)
    if len(metadata.get(EXIF, b"")) > exif.LARGEST_IN_JPEG:
        del metadata[EXIF]
    if IPTC in metadata:
        metadata[PHOTOSHOP] = photoshop.with_iptc(metadata.get(PHOTOSHOP, b""), metadata[IPTC])
    return jpeg.rewritten(data, metadata, segments, pixels_per_mm)


def _into_png(data: bytes, metadata: dict[str, bytes], *, resolution: bool) -> bytes:
    own = metadata.get(PNG_CHUNKS, b"")
    if any(chunk.name == "pHYs" for chunk in png.parts(own)):
        resolution = False  # the file's own says it exactly
    added = metadata.get(PNG_COLOUR, b"") if ICC not in metadata else b""
    added += png.packed(b"eXIf", metadata[EXIF]) if EXIF in metadata else b""
    added += png.packed(b"iTXt", _XMP_TEXT + metadata[XMP]) if XMP in metadata else b""
    return png.rewritten(data, added + own, resolution=resolution)


def _into_tiff(data: bytes, metadata: dict[str, bytes], picture: Picture) -> bytes:
    if IPTC not in metadata and (records := photoshop.iptc_of(metadata.get(PHOTOSHOP, b""))):
        metadata[IPTC] = records
    entries = [exif.orientation_entry(picture.orientation)]
    entries += [Entry(*_TIFF_BLOCKS[key], len(metadata[key]), metadata[key]) for key in _TIFF_BLOCKS if key in metadata]
    entries += [entry for entry in tiff.unpacked(metadata.get(EXIF, b"")) if _belongs(entry.tag)]
    entries += tiff.unpacked(metadata.get(TIFF_TAGS, b""))
    drop = [_ORIENTATION_TAG]
    if picture.extra is not None:
        entries.append(tiff.sample_entry(picture.samples))
        drop.append(_SAMPLES_TAG)
    if picture.pixels_per_mm is None:
        drop += _RESOLUTION_TAGS
    return tiff.rewritten(data, list({entry.tag: entry for entry in reversed(entries)}.values()), drop)


def _belongs(tag: int) -> bool:
    """Whether a tag of an EXIF block's first directory belongs into a TIFF file's."""
    return policy.of_tiff(tag) is policy.KEPT and tag not in (700, 33723, 34377, 34675)


def _lost_exif(block: bytes) -> list[tuple[str, int]]:
    if not exif.is_readable(block):
        return [("unreadable EXIF", len(block))]
    return [("thumbnail in EXIF", len(block))] if exif.has_thumbnail(block) else []


def _described(key: str, block: bytes) -> list[tuple[str, int]]:
    """Words and size for each part of a block that only another format holds."""
    if key == TIFF_TAGS:
        tags = ((e.tag, e.size) for e in tiff.unpacked(block))
        return [("GeoTIFF tags" if tag in _GEOTIFF else f"TIFF tag {tag}", size) for tag, size in tags]
    if key == JPEG_SEGMENTS:
        return [("JPEG comment" if name == "COM" else f"JPEG segment {name}", n) for name, n in jpeg.names(block)]
    if key == PNG_CHUNKS:
        parts = [part for part in png.parts(block) if part.name != "pHYs" or not png.states_resolution(part.content)]
        return [("PNG texts" if p.name.endswith("Xt") else f"PNG chunk {p.name}", p.length) for p in parts]
    return [(f"WebP chunk {name}", len(content)) for name, content in webp.chunks(block, 0)]
