"""The comparison with CBM3D: what the card shows is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import cbm3d

CARD = Path(cbm3d.__file__).parents[1] / "src" / "moceir" / "pretrained" / "tiny" / "README.md"


def test_the_card_shows_what_was_measured() -> None:
    measured = json.loads(cbm3d.RESULTS.read_text(encoding="utf-8"))
    lines = cbm3d.table(measured)
    assert "\n".join(["<!-- measured: cbm3d -->", *lines, "<!-- end -->"]) in CARD.read_text(encoding="utf-8")
    scores = measured["results"]["CBM3D"]["cbsd68-s25"]
    assert f"{scores['psnr_db']:.2f} / {scores['ssim']:.3f}" in next(
        line for line in lines if line.startswith("| CBM3D")
    )
