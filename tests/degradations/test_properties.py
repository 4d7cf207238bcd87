"""What holds for every degradation and every composite, whatever it does to a picture."""

import json

import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moceir.degradations import CDD11, DEGRADATIONS, DegradationSpec, degrade

NAMES = sorted(DEGRADATIONS)
TEXTS = [*NAMES, *sorted(set(CDD11) - set(NAMES)), "resize:scale=3+poisson_gaussian+jpeg", "real+snow"]
SEEDS = st.integers(0, 2**31)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Pictures of whole 8-bit levels with large and small structure."""
    coarse = torch.rand(batch, 3, 4, 4, generator=seeded(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    texture = 0.2 * torch.rand(batch, 3, height, width, generator=seeded(seed + 1))
    return ((smooth * 0.8 + texture) * 255).round() / 255


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=12, deadline=None)
@given(batch=st.integers(1, 3), height=st.integers(1, 41), width=st.integers(1, 41), seed=SEEDS)
def test_keeps_shape_type_and_range(name: str, batch: int, height: int, width: int, seed: int) -> None:
    images = pictures(batch, height, width)
    before = images.clone()
    degraded = degrade(images, name, seeded(seed))
    assert degraded.shape == images.shape
    assert degraded.dtype == torch.float32
    assert degraded.isfinite().all()
    assert degraded.min() >= 0
    assert degraded.max() <= 1
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_stay_in_range(name: str, value: float) -> None:
    degraded = degrade(torch.full((4, 3, 24, 24), value), name, seeded(3))
    assert degraded.isfinite().all()
    assert 0 <= degraded.min() <= degraded.max() <= 1


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=6, deadline=None)
@given(seed=SEEDS)
def test_same_seed_same_result(name: str, seed: int) -> None:
    images = pictures(2, 24, 33)
    assert torch.equal(degrade(images, name, seeded(seed)), degrade(images, name, seeded(seed)))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"clean"}))
def test_other_seed_other_result(name: str) -> None:
    images = pictures(1, 64, 64)
    assert not torch.equal(degrade(images, name, seeded(1)), degrade(images, name, seeded(2)))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"clean", "jpeg", "resize"}))
def test_fields_follow_the_generator_when_parameters_are_fixed(name: str) -> None:
    params = DEGRADATIONS[name].draw(seeded(0))
    if name == "blur":
        params = params.override({"kind": "shake", "size_px": 15.0})
    images = pictures(1, 64, 64)
    results = [degrade(images, params, seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("name", TEXTS)
def test_memory_format_does_not_matter(name: str) -> None:
    images = pictures(2, 24, 32)
    shuffled = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(degrade(shuffled, name, seeded(0)), degrade(images, name, seeded(0)))


@pytest.mark.parametrize("name", TEXTS)
def test_leaves_the_global_generator_alone(name: str) -> None:
    before = torch.get_rng_state()
    degrade(pictures(2, 16, 16), name, seeded(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"clean"}))
def test_a_batch_mixes_parameters(name: str) -> None:
    images = pictures(1, 48, 48).repeat(2, 1, 1, 1)
    draws = seeded(5)
    params = [DEGRADATIONS[name].draw(draws) for _ in range(2)]
    degraded = degrade(images, params, seeded(0))
    assert not torch.equal(degraded[0], degraded[1])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_drawn_parameters_survive_json(name: str, seed: int) -> None:
    kind = DEGRADATIONS[name]
    params = kind.draw(seeded(seed))
    assert kind.model_validate(json.loads(json.dumps(params.model_dump()))) == params


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_described_and_frozen(name: str) -> None:
    kind = DEGRADATIONS[name]
    params = kind.draw(seeded(0))
    for key, field in kind.model_fields.items():
        assert field.description, key
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(params, key, 0)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_what_is_no_batch_of_pictures(name: str) -> None:
    kind = DEGRADATIONS[name]
    params = [kind.draw(seeded(0))]
    for wrong in (torch.rand(3, 8, 8), torch.rand(1, 1, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
            kind.apply(wrong, params, seeded(0))
    with pytest.raises(ValueError, match="2 images"):
        kind.apply(torch.rand(2, 3, 8, 8), params, seeded(0))
    assert kind.apply(torch.rand(0, 3, 8, 8), [], seeded(0)).shape == (0, 3, 8, 8)


def test_degrade_mixes_kinds() -> None:
    images = pictures(4, 32, 32)
    kinds = [DegradationSpec(name) for name in ("clean", "low_light", "clean", "rain")]
    degraded = degrade(images, kinds, seeded(0))
    assert torch.equal(degraded[[0, 2]], images[[0, 2]])
    assert degraded[1].mean() < images[1].mean()
    assert degraded[3].mean() > images[3].mean()
    with pytest.raises(ValueError, match="4 images"):
        degrade(images, kinds[:2], seeded(0))
