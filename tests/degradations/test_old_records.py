"""Records written before a degradation got more parameters still mean what they meant."""

import pytest
import torch

from moceir.degradations import Composite, degrade

RECORDS: dict[str, tuple[dict[str, object], list[float]]] = {
    "rain": (
        {"angle_deg": 12.0, "length_px": 25.0, "width_px": 1.5, "density": 0.1, "strength": 0.6, "screen": 0.4}
        | {"far_strength": 0.2, "mist": 0.1},
        [0.56143, 0.702012, 0.447061, 0.854668, 0.429868, 0.268471, 0.612711, 0.461803],
    ),
    "haze": (
        {"beta": 1.1, "airlight": 0.9, "warmth": 0.02, "depth_offset": 0.1, "depth_span": 0.7, "ramp": 0.6}
        | {"tilt_deg": 15.0},
        [0.712559, 0.782018, 0.676682, 0.8843, 0.60182, 0.516465, 0.718127, 0.629378],
    ),
    "blur": (
        {"kind": "shake", "size_px": 13.0, "angle_deg": 0.0, "noise_sigma_255": 1.5},
        [0.478934, 0.583274, 0.450644, 0.830457, 0.541813, 0.566225, 0.577601, 0.611375],
    ),
    "low_light": (
        {"exposure": 0.1, "gamma": 2.4, "cast_red": 1.1, "cast_blue": 0.9, "read_sigma": 0.001, "shot": 0.001},
        [0.176158, 0.239049, 0.124637, 0.294663, 0.115251, 0.037978, 0.197397, 0.171419],
    ),
    "resize": (
        {"scale": 2.5, "up": "bilinear"},
        [0.541762, 0.630465, 0.403882, 0.841023, 0.444599, 0.358363, 0.556345, 0.497743],
    ),
}
"""Steps as version 0.1 wrote them into degradations.jsonl, and red values that it made of the picture below."""


@pytest.mark.parametrize("name", RECORDS)
def test_an_old_record_makes_the_same_picture(name: str) -> None:
    coarse = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(7))
    images = torch.nn.functional.interpolate(coarse, size=(60, 80), mode="bilinear", align_corners=False)
    parameters, expected = RECORDS[name]
    record = Composite.model_validate({"steps": [{"name": name, **parameters}]})
    made = degrade(images, record, torch.Generator().manual_seed(11))[0, 0, ::17, ::23].flatten()[:8]
    assert made.tolist() == pytest.approx(expected, abs=1e-4)
