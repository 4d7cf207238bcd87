"""The measurements of the study find what is known of made pairs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from degradation_ranges import (
    PANELS,
    Pair,
    as_floats,
    main,
    measure_blur,
    measure_haze,
    measure_low_light,
    measure_rain,
)
from PIL import Image
from scipy import ndimage
from support import write_photographs, write_picture

from moceir.degradations import degrade


def scene(side: int = 320) -> torch.Tensor:
    """Some large and small structure, `(1, 3, side, side)` in [0.1, 0.9]."""
    rng = np.random.default_rng(0)
    layers = [ndimage.gaussian_filter(rng.random((side, side, 3)), (sigma, sigma, 0)) for sigma in (1, 4, 16)]
    mixed = sum((layer - layer.mean()) / layer.std() for layer in layers)
    return torch.from_numpy((0.5 + 0.12 * np.asarray(mixed)).clip(0.1, 0.9)).float().permute(2, 0, 1)[None]


def pair(text: str) -> Pair:
    clean = scene()
    made = degrade(clean, text, torch.Generator().manual_seed(0))
    return as_floats((made[0] * 255).round()), as_floats(clean[0] * 255)


@pytest.mark.parametrize(("exposure", "shot"), [(0.2, 0.001), (0.03, 0.0001)])
def test_low_light(exposure: float, shot: float) -> None:
    values = measure_low_light(
        pair(f"low_light:exposure={exposure},gamma=2.2,cast_red=1,cast_blue=1,read_sigma=0,shot={shot}")
    )
    light, steepness, noise_255 = (values[panel.quantity][0] for panel in PANELS[:3])
    assert light == pytest.approx(exposure, rel=0.05)
    assert steepness == pytest.approx(1, abs=0.05)
    # Photon noise is nearly even in display values: sqrt(shot) / 2.2 of 255 levels, and that of rounding.
    assert noise_255 == pytest.approx((255**2 * shot / 2.2**2 + 1 / 12) ** 0.5, rel=0.3)


def test_steepness_is_the_power_between_the_lights() -> None:
    values = measure_low_light(pair("low_light:exposure=0.3,gamma=3.5,cast_red=1,cast_blue=1,read_sigma=0,shot=0"))
    assert values[PANELS[1].quantity][0] == pytest.approx(3.5 / 2.2, rel=0.05)


@pytest.mark.parametrize(("angle_deg", "length_px"), [(-30, 60), (0, 25), (20, 40)])
def test_rain(angle_deg: float, length_px: float) -> None:
    fixed = "width_px=2,density=0.03,strength=0.6,screen=0,mist=0,layers=1"
    values = measure_rain(pair(f"rain:angle_deg={angle_deg},length_px={length_px},{fixed}"))
    angle, length, brightness, covered = (values[panel.quantity][0] for panel in PANELS[3:7])
    assert angle == pytest.approx(angle_deg, abs=4)
    assert length == pytest.approx(length_px, rel=0.35)
    assert 50 < brightness < 160
    assert 0.01 < covered < 0.06


@pytest.mark.parametrize("size_px", [9, 21])
def test_blur(size_px: float) -> None:
    values = measure_blur(
        pair(f"blur:kind=motion,size_px={size_px},angle_deg=30,frames=0,object_px=0,roll_deg=0,zoom=1")
    )
    lengths = values[PANELS[7].quantity]
    assert len(lengths) == 4
    assert np.median(lengths) == pytest.approx(size_px, rel=0.3)


def test_haze() -> None:
    values = measure_haze(pair("haze:beta=1,depth_offset=0.7,depth_span=0"))
    assert values[PANELS[8].quantity] == pytest.approx([np.exp(-0.7)] * 4, abs=0.01)


def test_the_script_writes_table_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photographs(tmp_path / "photographs", 2)
    for folder in ("low", "clean"):
        write_picture(tmp_path / folder / "a.png", 64, 64)
    target = tmp_path / "ranges.png"
    words = [str(tmp_path / "photographs"), "--low-light", str(tmp_path / "low"), str(tmp_path / "clean")]
    monkeypatch.setattr(sys, "argv", ["degradation_ranges.py", *words, "-o", str(target)])
    main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| low light: share")]
    # Equal pictures have all the light.
    assert "1 / 1 / 1 (1)" in rows[0]
    with Image.open(target) as picture:
        assert picture.format == "PNG"
