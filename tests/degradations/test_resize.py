"""Lost resolution: exact where it must be, and the same as another library computes it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from moceir.degradations import Jpeg, Resize, degrade


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def checks(height: int, width: int, cell: int) -> torch.Tensor:
    rows, columns = torch.arange(height) // cell, torch.arange(width) // cell
    return ((rows[:, None] + columns[None]) % 2).float().expand(1, 3, -1, -1)


@pytest.mark.parametrize("up", ["nearest", "bilinear", "bicubic"])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40), scale=st.floats(1, 16), level=st.floats(0, 1))
def test_a_flat_picture_stays_flat(up: str, height: int, width: int, scale: float, level: float) -> None:
    images = torch.full((1, 3, height, width), level)
    torch.testing.assert_close(degrade(images, Resize(scale=scale, up=up), seeded(0)), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("up", ["nearest", "bilinear", "bicubic"])
def test_scale_one_changes_nothing(up: str) -> None:
    images = torch.rand(1, 3, 17, 23, generator=seeded(0))
    torch.testing.assert_close(degrade(images, Resize(scale=1, up=up), seeded(0)), images, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("up", "method"),
    [("nearest", Image.Resampling.NEAREST), ("bilinear", Image.Resampling.BILINEAR), (None, Image.Resampling.BICUBIC)],
)
@pytest.mark.parametrize(("size", "scale"), [((64, 48), 2.0), ((64, 48), 4.0), ((50, 35), 2.5)])
def test_equals_pillow(up: str | None, method: Image.Resampling, size: tuple[int, int], scale: float) -> None:
    images = torch.rand(1, 3, *size, generator=seeded(1))
    made = degrade(images, Resize(scale=scale, up=up or "bicubic"), seeded(0))[0, 0].numpy()
    plane = Image.fromarray(images[0, 0].numpy())
    small = plane.resize((round(size[1] / scale), round(size[0] / scale)), Image.Resampling.BICUBIC)
    expected = np.asarray(Image.fromarray(np.asarray(small).clip(0, 1)).resize((size[1], size[0]), method)).clip(0, 1)
    # Away from the border, which the two extend differently; and Pillow's cubic for enlarging is -0.5, torch's -0.75.
    difference = np.abs(made - expected)[8:-8, 8:-8]
    assert difference.max() < (0.12 if up is None else 1e-5)


def test_fine_structure_is_lost_and_not_folded() -> None:
    # Checks of one pixel are finer than the small picture can hold: without antialiasing they would come back as bars.
    assert (degrade(checks(64, 64, 1), Resize(scale=4), seeded(0)) - 0.5).abs().max() < 0.05
    kept = degrade(checks(64, 64, 8), Resize(scale=2), seeded(0))
    assert (kept - checks(64, 64, 8)).abs().mean() < 0.15


def test_nearest_leaves_blocks() -> None:
    made = degrade(torch.rand(1, 3, 16, 16, generator=seeded(0)), Resize(scale=4, up="nearest"), seeded(0))
    blocks = made.unfold(2, 4, 4).unfold(3, 4, 4)
    assert torch.equal(blocks, blocks[..., :1, :1].expand_as(blocks))


def test_a_batch_gives_each_picture_what_it_gets_alone() -> None:
    images = torch.rand(4, 3, 33, 21, generator=seeded(2))
    source = seeded(3)
    params = [Resize.draw(source) for _ in images]
    alone = torch.cat([degrade(image[None], [p], seeded(0)) for image, p in zip(images, params, strict=True)])
    assert torch.equal(degrade(images, params, seeded(0)), alone)


@pytest.mark.parametrize(
    ("down", "method"),
    [("bilinear", Image.Resampling.BILINEAR), ("area", Image.Resampling.BOX), ("nearest", Image.Resampling.NEAREST)],
)
def test_reduces_as_pillow_does(down: str, method: Image.Resampling) -> None:
    images = torch.rand(1, 3, 48, 64, generator=seeded(1))
    made = degrade(images, Resize(scale=4, up="nearest", down=down), seeded(0))[0, 0, ::4, ::4].numpy()
    expected = np.asarray(Image.fromarray(images[0, 0].numpy()).resize((16, 12), method))
    # Both filters reach over the border, and extend it differently.
    np.testing.assert_allclose(made[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-5)


def test_sharpening_makes_edges_steeper() -> None:
    edge = torch.full((1, 3, 32, 32), 0.3)
    edge[..., 16:] = 0.6
    plain, sharp = (degrade(edge, Resize(scale=1, sharpen=s), seeded(0)) for s in (0, 1.0))
    torch.testing.assert_close(plain, edge)
    # By hand: beside the edge the mean over 3x3 is a third of the step nearer to the other side.
    assert sharp[0, 0, 16, 15].item() == pytest.approx(0.2, abs=1e-5)
    assert sharp[0, 0, 16, 16].item() == pytest.approx(0.7, abs=1e-5)
    assert sharp[0, 0, 16, 12].item() == pytest.approx(0.3, abs=1e-5)


def test_the_small_picture_is_what_jpeg_stores() -> None:
    images = torch.rand(1, 3, 64, 64, generator=seeded(0))
    by_hand = degrade(images, Resize(scale=2, up="nearest"), seeded(0))[..., ::2, ::2]
    by_hand = degrade(by_hand, Jpeg(quality=20), seeded(0))
    made = degrade(images, Resize(scale=2, up="nearest", quality=20), seeded(0))
    torch.testing.assert_close(made[..., ::2, ::2], by_hand)


def test_drawn_scales_hold_the_protocols_share() -> None:
    source = seeded(0)
    draws = [Resize.draw(source) for _ in range(1000)]
    for scale in (2.0, 4.0):
        assert sum(d.scale == scale for d in draws) / len(draws) == pytest.approx(0.25, abs=0.05)
    assert sum(d.down == "bicubic" and not d.sharpen and not d.quality for d in draws) / 1000 > 0.5
    assert {d.down for d in draws} == {"bicubic", "bilinear", "area", "nearest"}
    assert all(d.quality == 0 or 30 <= d.quality <= 95 for d in draws)
    assert all(1.2 <= d.scale <= 4 for d in draws)
    assert {d.up for d in draws} == {"nearest", "bilinear", "bicubic"}
