"""Keeping tones: brightness and colour of the input, details of the restoration, no halos."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from moceir import image_io
from moceir.degradations import degrade
from moceir.restoration.tones import keep_tones

EXAMPLES = Path(__file__).parents[2] / "examples" / "clean"
Floats = NDArray[np.float32]
RAIN = "rain:angle_deg=10,length_px=30,width_px=1.5,density=0.1,strength=0.7,mist=0,layers=1"


@pytest.fixture(scope="module")
def dusk() -> Floats:
    return image_io.read(EXAMPLES / "rain_rocket.png").rgb.astype(np.float32) / 255


def degraded(clean: Floats, text: str) -> Floats:
    images = torch.from_numpy(clean).permute(2, 0, 1)[None]
    return degrade(images, text, torch.Generator().manual_seed(1))[0].permute(1, 2, 0).numpy()


def brightened(picture: Floats) -> Floats:
    """Make a picture of dusk one of daylight, as a network does that takes it for underexposed."""
    return (1 - np.exp(-6 * picture**1.8)) ** 0.5


def darkened(picture: Floats) -> Floats:
    return 0.6 * picture**1.6


def psnr_db(first: Floats, second: Floats) -> float:
    return -10 * math.log10(np.square(first - second).mean())


def tones(picture: Floats) -> Floats:
    """What is left of a picture at scales above some thirty pixels."""
    return ndimage.gaussian_filter(picture, (12, 12, 0))


def tone_change_255(first: Floats, second: Floats) -> float:
    return float(np.abs(tones(first) - tones(second)).mean() * 255)


@pytest.mark.parametrize("change", [brightened, darkened])
def test_dusk_keeps_its_tones(dusk: Floats, change: Callable[[Floats], Floats]) -> None:
    restored = change(dusk)
    assert tone_change_255(restored, dusk) > 30
    kept = keep_tones(dusk, restored)
    assert tone_change_255(kept, dusk) < 1
    assert psnr_db(kept, dusk) > 34


@pytest.mark.parametrize(("task", "least_db"), [("noise:sigma=25", 34), (RAIN, 32)])
@pytest.mark.parametrize("change", [brightened, darkened])
def test_noise_and_rain_stay_removed(
    dusk: Floats, task: str, least_db: float, change: Callable[[Floats], Floats]
) -> None:
    given = degraded(dusk, task)
    assert psnr_db(given, dusk) < 23
    kept = keep_tones(given, change(dusk))
    # Against the clean picture: of the light that the streaks add to the tones, more than half is gone.
    assert tone_change_255(kept, dusk) < max(1.0, 0.45 * tone_change_255(given, dusk))
    assert psnr_db(kept, dusk) > least_db


def test_a_restoration_that_changes_no_tones_stays(dusk: Floats) -> None:
    assert psnr_db(keep_tones(degraded(dusk, "noise:sigma=25"), dusk), dusk) > 45
    np.testing.assert_allclose(keep_tones(dusk, dusk), dusk, atol=1e-4)


def test_details_that_the_input_lost_stay_restored(dusk: Floats) -> None:
    blurred = degraded(dusk, "blur:kind=motion,size_px=9,angle_deg=30,roll_deg=0,zoom=1,object_px=0,frames=0,linear=1")
    assert psnr_db(blurred, dusk) < 30
    assert psnr_db(keep_tones(blurred, dusk), dusk) > 40


@pytest.mark.parametrize(
    "change",
    [np.sqrt, lambda step: 0.3 * step, lambda step: np.where(step < 0.4, 4 * step, step)],
    ids=["curve", "darker", "one side only"],
)
@pytest.mark.parametrize("noise_255", [0, 25])
def test_a_step_edge_has_no_halo(change: Callable[[Floats], Floats], noise_255: float) -> None:
    step = np.full((200, 200, 3), 0.1, np.float32)
    step[:, 100:] = 0.7
    noise = np.random.default_rng(0).normal(0, noise_255 / 255, step.shape).astype(np.float32)
    kept = keep_tones((step + noise).clip(0, 1), change(step).astype(np.float32))
    error_255 = np.abs(kept - step).mean((0, 2)) * 255
    # Noise that is clipped at black lifts the dark side a little.
    assert error_255.max() < (8 if noise_255 else 6)
    assert error_255.mean() < (2 if noise_255 else 0.5)
    # As steep as the restored edge: no column lies between the two sides.
    assert np.abs(np.diff(kept.mean((0, 2))))[99] > 0.55


def test_colour_is_kept(dusk: Floats) -> None:
    cast = dusk * np.array([1.0, 0.8, 0.6], np.float32)
    assert tone_change_255(keep_tones(cast, dusk), cast) < 1


def test_tensors_and_batches_give_what_arrays_give(dusk: Floats) -> None:
    given = np.stack([dusk, darkened(dusk)])
    restored = np.stack([brightened(dusk), dusk])
    first, second = (torch.from_numpy(batch).permute(0, 3, 1, 2) for batch in (given, restored))
    kept = keep_tones(first, second).permute(0, 2, 3, 1).numpy()
    for i in range(2):
        np.testing.assert_allclose(kept[i], keep_tones(given[i], restored[i]), atol=1e-5)


def test_arguments_stay_as_they_are(dusk: Floats) -> None:
    given, restored = dusk[:50].copy(), brightened(dusk[:50])[::-1]
    restored.setflags(write=False)
    before = given.copy(), restored.copy()
    keep_tones(given, restored)
    np.testing.assert_array_equal(given, before[0])
    np.testing.assert_array_equal(restored, before[1])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 5), (37, 2), (0, 4)])
def test_any_size(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    given, restored = (rng.random((*size, 3), dtype=np.float32) for _ in range(2))
    kept = keep_tones(given, restored)
    assert kept.shape == given.shape
    assert kept.dtype == np.float32
    assert np.isfinite(kept).all()
    assert ((kept >= 0) & (kept <= 1)).all()


def test_stripes_do_not_show(dusk: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = keep_tones(dusk, brightened(dusk))
    monkeypatch.setattr("moceir.restoration.tones._STRIPE_PX", 7 * dusk.shape[1])
    np.testing.assert_allclose(keep_tones(dusk, brightened(dusk)), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "restored", "words"),
    [
        (np.zeros((4, 4, 3)), np.zeros((4, 5, 3)), "same shape"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), "floating point"),
        (np.zeros((4, 4)), np.zeros((4, 4)), r"\(H, W, 3\)"),
        (torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), "three channels"),
        (torch.zeros(1, 3, 8, 8), np.zeros((8, 8, 3)), "two arrays or two tensors"),
    ],
)
def test_what_does_not_fit_is_refused(given: object, restored: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        keep_tones(given, restored)  # pyright: ignore[reportArgumentType]
