"""The drawing of the architecture shows the layers that are checked."""

from __future__ import annotations

import layers_drawing
from test_architecture import LAYERS


def test_the_drawing_is_up_to_date() -> None:
    text = layers_drawing.DRAWING.read_text(encoding="utf-8")
    assert text == layers_drawing.drawing(layers_drawing.layers()), "run python tools/layers_drawing.py --write"
    assert all(f">{name}</text>" in text for names in LAYERS for name in names)
