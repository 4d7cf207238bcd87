"""The one place that says what becomes of each kind of block: kept, followed, or named.

A name that is not in a table falls under the rule of its format at the end of this file.
"""

from __future__ import annotations

from moceir.image_io.containers.inventory import Fate, Rule

KEPT = Rule(Fate.KEPT)
FOLLOWED = Rule(Fate.FOLLOWED)


def named(words: str) -> Rule:
    """Leave a block out and say so in these words."""
    return Rule(Fate.NAMED, words)


CREDENTIALS = named("content credentials, which hold for the unchanged file only")
GAIN_MAP = named("HDR gain map")
SECOND_EXIF = named("second EXIF block")
SECOND_XMP = named("second XMP block")
TRAILING = named("data after the end of the picture")
VIDEO = named("video of a motion photo")
ANOTHER_PICTURE = named("another picture in the same file")
THUMBNAIL = named("thumbnail")

PNG: dict[str, Rule] = {
    **dict.fromkeys(("IHDR", "PLTE", "IDAT", "IEND", "tRNS", "acTL"), FOLLOWED),
    **dict.fromkeys(("cICP", "iCCP", "sRGB", "gAMA", "cHRM"), FOLLOWED),
    **dict.fromkeys(("tEXt", "zTXt", "iTXt", "eXIf", "tIME", "pHYs", "oFFs", "sCAL", "pCAL", "sTER", "bKGD"), KEPT),
    "fcTL": named("animation of one frame"),
    "fdAT": named("animation of one frame"),
    "sBIT": named("number of significant bits"),
    "hIST": named("histogram of the palette"),
    "sPLT": named("suggested palette"),
    "mDCV": named("mastering display of HDR"),
    "cLLI": named("light level of HDR"),
    "dSIG": named("digital signature, which holds for the unchanged file only"),
    "caBX": CREDENTIALS,
    "prVW": named("preview of an editor"),
    "mkBF": named("layers of an editor"),
    "mkBS": named("layers of an editor"),
    "mkBT": named("layers of an editor"),
    "mkTS": named("layers of an editor"),
    "iDOT": FOLLOWED,  # where a decoder finds the second half of the pixels
}

JPEG: dict[str, Rule] = {
    **dict.fromkeys(("frame", "APP0 JFIF", "APP14 Adobe", "APP12 Ducky"), FOLLOWED),
    **dict.fromkeys(("COM", "APP1 Exif", "APP1 XMP", "APP1 extended XMP", "APP2 ICC", "APP13 Photoshop"), KEPT),
    "APP0 JFIF thumbnail": THUMBNAIL,
    "APP0 JFXX": THUMBNAIL,
    "second Exif": SECOND_EXIF,
    "second XMP": SECOND_XMP,
    "broken extended XMP": named("extended XMP with parts missing"),
    "broken ICC": named("unusable ICC profile"),
    "APP2 MPF": named("index of several pictures"),
    "APP2 gain map": GAIN_MAP,
    "APP11 JUMBF": CREDENTIALS,
    "APP11 HDR_RI": named("HDR layer"),
    "trailing picture": ANOTHER_PICTURE,
    "trailing gain map": GAIN_MAP,
    "trailing video": VIDEO,
    "trailing data": TRAILING,
    "pixel aspect": named("shape of the pixels"),
}

_TIFF_STRUCTURE = (
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 288, 289, 292, 293, 296, 301),
    *(317, 318, 319, 320, 322, 323, 324, 325, 326, 327, 328, 332, 334, 338, 339, 347, *range(512, 522)),
    *(529, 530, 531, 532, 559, 50838),
)
TIFF: dict[int, Rule] = {
    **dict.fromkeys(_TIFF_STRUCTURE, FOLLOWED),
    **dict.fromkeys((263, 264, 265), named("dithering of the pixels")),
    **dict.fromkeys((280, 281, 340, 341, 342), named("range of the samples")),
    **dict.fromkeys((290, 291), named("response curve of grey")),
    321: named("halftone hints"),
    330: named("smaller versions in sub-directories"),
    333: named("names of inks"),
    336: named("range of dots"),
    337: named("target of a print"),
    344: named("bounds of a drawing"),
    400: named("parameters of a fax"),
    34377: KEPT,
    37724: named("layers of an editor"),
    50255: named("annotations of an editor"),
    50839: named("metadata of ImageJ"),
    52897: CREDENTIALS,
    52545: CREDENTIALS,
}

WEBP: dict[str, Rule] = {
    **dict.fromkeys(("VP8 ", "VP8L", "VP8X", "ALPH"), FOLLOWED),
    **dict.fromkeys(("ICCP", "EXIF", "XMP "), KEPT),
    "ANIM": named("animation of one frame"),
    "C2PA": CREDENTIALS,
    "second block": named("second block of a kind that may stand once"),
    "trailing data": TRAILING,
}

AVIF: dict[str, Rule] = {
    **dict.fromkeys(("ftyp", "meta", "mdat", "free", "skip", "wide", "primary picture", "tile", "alpha"), FOLLOWED),
    **dict.fromkeys(("Exif", "XMP", "colr ICC"), KEPT),
    "colr nclx": FOLLOWED,
    "picture": ANOTHER_PICTURE,
    "thumbnail": THUMBNAIL,
    "gain map": GAIN_MAP,
    "depth": named("depth map"),
    "auxiliary": named("auxiliary picture"),
    "mpvd": VIDEO,
    "clli": named("light level of HDR"),
    "mdcv": named("mastering display of HDR"),
    "jumb": CREDENTIALS,
    "pasp": named("shape of the pixels"),
    "second XMP": SECOND_XMP,
}


def of_png(name: str) -> Rule:
    """Rule of a PNG chunk. Unknown ones say by the case of their fourth letter whether a copy stays right."""
    return PNG.get(name) or (KEPT if name[3:4].islower() else named(f"chunk {name}"))


def of_jpeg(name: str) -> Rule:
    """Rule of a JPEG segment; unknown applications' segments are carried over."""
    return JPEG.get(name, KEPT)


def of_tiff(tag: int) -> Rule:
    """Rule of a TIFF tag; unknown ones are carried over."""
    return TIFF.get(tag, KEPT)


def of_webp(name: str) -> Rule:
    """Rule of a WebP chunk; unknown ones are carried over, as the format asks."""
    return WEBP.get(name, KEPT)


def of_avif(name: str) -> Rule:
    """Rule of a box or an item of an AVIF file; nothing unknown can be carried over, since AVIF is not written."""
    return AVIF.get(name) or named(f"box or item {name}")
