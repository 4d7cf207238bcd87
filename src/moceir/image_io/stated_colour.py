"""The order of precedence among what files say about their colours.

cICP first (PNG and AVIF), then an ICC profile, then sRGB, then gAMA with cHRM (PNG) or the primaries and the curve of a
TIFF file, then EXIF, and sRGB if nothing is said: PNG specification, third edition, 13.16; EXIF 2.32 and DCF 2.0 for
Adobe RGB. What is said in another way than by a profile becomes a profile, which every format can hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from moceir.image_io import exif, icc
from moceir.image_io.containers.inventory import Statements

SRGB_PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_ADOBE_RGB = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_ADOBE_GAMMA = 563 / 256
_SRGB_CURVE = icc.sloped_curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_VIDEO_CURVE = icc.sloped_curve(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_SRGB_GAMMA, _SRGB_TOLERANCE = 0.45455, 0.0005
_SRGB_XY_TOLERANCE = 0.002

# ITU-T H.273, tables 2 and 3.
_CICP_PRIMARIES = {
    1: SRGB_PRIMARIES,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_CICP_CURVES = {
    **dict.fromkeys((1, 6, 14, 15), _VIDEO_CURVE),
    4: icc.gamma_curve(2.2),
    5: icc.gamma_curve(2.8),
    8: icc.gamma_curve(1.0),
    13: _SRGB_CURVE,
}
_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2


@dataclass(frozen=True)
class Decision:
    """What a file's statements come to.

    Attributes:
        profile: To be taken for the file's ICC profile; None if that one, or sRGB, holds.
        refusal: Why the picture cannot be restored; empty if it can.
        notes: Statements that were not followed.
    """

    profile: bytes | None = None
    refusal: str = ""
    notes: tuple[str, ...] = ()


def decide(statements: Statements, exif_block: bytes | None, *, has_icc: bool, grey: bool, video: bool) -> Decision:
    """Decide by which statement the colours of a file go.

    Args:
        statements: What its container says.
        exif_block: Its EXIF block.
        has_icc: Whether it has a usable ICC profile.
        grey: Whether it has one colour channel.
        video: Whether it is an AVIF or HEIC file. There an ICC profile comes before cICP, and the curve of
            television stands for sRGB, as browsers show it.
    """
    transfer = statements.cicp[1] if statements.cicp else _UNSPECIFIED
    if transfer in _HDR:
        hdr = f"is high dynamic range ({_HDR[transfer]}), which is not restored; convert it to standard range"
        return Decision(refusal=f"{hdr}, best to 16 bits per channel")
    if statements.cicp and not (video and has_icc):
        decided = _by_cicp(statements.cicp, grey=grey, video=video)
        if decided is not None:
            overruled = ("left out: ICC profile that cICP overrules",) if has_icc else ()
            return Decision(decided or None, notes=overruled)
        if not video:
            rest = decide(_without_cicp(statements), exif_block, has_icc=has_icc, grey=grey, video=video)
            codes = "/".join(map(str, statements.cicp))
            return Decision(rest.profile, rest.refusal, (f"left out: cICP of an unknown kind ({codes})", *rest.notes))
    if has_icc or statements.srgb:
        return Decision()
    if statements.gamma or statements.chromaticities or statements.curve:
        made = profile_of(statements, grey=grey)
        return Decision(made or None, notes=("left out: unusable primaries",) if made is None else ())
    if exif_block and exif.states_adobe_rgb(exif_block):
        return Decision(icc.profile(_ADOBE_RGB, icc.gamma_curve(_ADOBE_GAMMA), grey=grey))
    return Decision()


def profile_of(statements: Statements, *, grey: bool) -> bytes | None:
    """The profile of gamma, primaries and curve: empty if they are those of sRGB, None if there is no such space."""
    near_gamma = statements.gamma is None or abs(statements.gamma - _SRGB_GAMMA) < _SRGB_TOLERANCE
    pairs = zip(statements.chromaticities or SRGB_PRIMARIES, SRGB_PRIMARIES, strict=True)
    near_primaries = all(abs(one - other) < _SRGB_XY_TOLERANCE for one, other in pairs)
    if near_gamma and near_primaries and statements.curve is None:
        return b""
    return exact_profile(statements, grey=grey)


def exact_profile(statements: Statements, *, grey: bool) -> bytes | None:
    """The profile of gamma, primaries and curve to the letter; None if there is no such space, or it is sRGB."""
    if statements.srgb:
        return None
    curve = _SRGB_CURVE
    if statements.curve:
        curve = icc.table_curve(statements.curve)
    elif statements.gamma:
        if not 0.05 < statements.gamma < 20:
            return None
        curve = icc.gamma_curve(1 / statements.gamma)
    return icc.profile(statements.chromaticities or SRGB_PRIMARIES, curve, grey=grey)


def _by_cicp(cicp: tuple[int, int, int, int], *, grey: bool, video: bool) -> bytes | None:
    """The profile of cICP: empty if it is sRGB, None if it says nothing that is known."""
    primaries, transfer, matrix, full = cicp
    if video and transfer in (1, 6, 14, 15, _UNSPECIFIED):
        transfer = 13
    if video and primaries in (5, 6, 7, _UNSPECIFIED):
        primaries = 1
    if not video and (matrix, full) != (0, 1):
        return None
    if (primaries, transfer) == (1, 13):
        return b""
    known = primaries in _CICP_PRIMARIES and transfer in _CICP_CURVES
    return icc.profile(_CICP_PRIMARIES[primaries], _CICP_CURVES[transfer], grey=grey) if known else None


def _without_cicp(statements: Statements) -> Statements:
    return Statements(None, statements.srgb, statements.gamma, statements.chromaticities, statements.curve)
