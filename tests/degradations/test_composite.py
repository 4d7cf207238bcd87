"""Several degradations at once: in order, each picture its own, described in JSON and repeated from it."""

import json

import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.degradations import (
    CDD11,
    Blur,
    Composite,
    Degradation,
    Haze,
    Jpeg,
    LowLight,
    Noise,
    PoissonGaussian,
    Real,
    Resize,
    degrade,
    parse,
)

SEEDS = st.integers(0, 2**31)
TEXTS = [*CDD11, "real", "real+low_snow", "noise:sigma=25+jpeg:quality=10", "clean"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(batch: int, height: int = 40, width: int = 40) -> torch.Tensor:
    coarse = torch.rand(batch, 3, 5, 5, generator=seeded(9))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)


def as_composite(record: Degradation) -> Composite:
    return record if isinstance(record, Composite) else Composite(steps=(record,))


@pytest.mark.parametrize("text", TEXTS)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_a_description_in_json_repeats_the_sample(text: str, seed: int) -> None:
    images = smooth(1)
    drawn = as_composite(parse(text).draw(seeded(seed)))
    again = Composite.model_validate_json(json.dumps(drawn.model_dump()))
    assert again.steps == drawn.steps
    assert torch.equal(degrade(images, again, seeded(seed)), degrade(images, drawn, seeded(seed)))


def test_steps_happen_one_after_the_other() -> None:
    images, dark, hazy = smooth(1), LowLight(exposure=0.1), Haze(beta=1)
    source = seeded(4)
    by_hand = degrade(degrade(images, dark, source), hazy, source)
    assert torch.equal(degrade(images, Composite(steps=(dark, hazy)), seeded(4)), by_hand)
    assert not torch.equal(degrade(images, Composite(steps=(hazy, dark)), seeded(4)), by_hand)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=SEEDS, lengths=st.lists(st.integers(0, 4), min_size=2, max_size=4))
def test_a_batch_gives_each_picture_what_it_gets_alone(seed: int, lengths: list[int]) -> None:
    # Of kinds without random fields, where "the same" can mean equal.
    images, source = smooth(len(lengths)), seeded(seed)
    kinds = (Jpeg, Resize)
    params = [Composite(steps=tuple(kinds[(i + n) % 2].draw(source) for i in range(n))) for n in lengths]
    together = degrade(images, params, source)
    for picture, record, result in zip(images, params, together, strict=True):
        # Batched matrix products may differ in the last bit, which rounding inside the codec turns into a level.
        torch.testing.assert_close(result, degrade(picture[None], record, seeded(0))[0], atol=0.03, rtol=0)


def test_strengths_in_a_batch_do_not_mix() -> None:
    images = smooth(2, 96, 96)
    pair = [Composite(steps=(Noise(sigma_255=s), Haze(beta=b))) for s, b in ((2, 0.1), (50, 0.1))]
    spreads = (degrade(images, pair, seeded(0)) - images).diff(dim=-1).std((1, 2, 3))
    assert spreads[0] < 0.02
    assert spreads[1] > 0.1


def test_depth_order_of_the_published_names() -> None:
    for text in CDD11.values():
        order = [("low_light", "haze", "rain", "snow").index(step.partition(":")[0]) for step in text.split("+")]
        assert order == sorted(order)


def test_real_photographs_wear_all_four_kinds_and_some_twice_in_any_order() -> None:
    source = seeded(0)
    draws = [Real.draw(source).steps for _ in range(400)]
    orders = {tuple(type(step) for step in steps[:4]) for steps in draws}
    assert len(orders) == 24
    assert all(set(order) == {Blur, Resize, PoissonGaussian, Jpeg} for order in orders)
    # Half of the four again, and in three of five pictures the JPEG of the file.
    assert sum(map(len, draws)) / len(draws) == pytest.approx(6.6, abs=0.15)


def test_real_photographs_are_worn_but_not_beyond_recognition() -> None:
    images, source = smooth(40), seeded(1)
    degraded = degrade(images, "real", source)
    psnr_db = -10 * (degraded - images).square().mean((1, 2, 3)).log10()
    assert 18 < psnr_db.min() < psnr_db.max() < 45


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"name": "nois"}], "'nois' names no degradation.*noise"),
        ([{"sigma_255": 3}], "None names no degradation"),
        (["noise"], "names no degradation"),
        ([{"name": "noise", "sigma_255": -1}], "greater than or equal to 0"),
        ([{"name": "noise", "strength": 1}], "strength"),
        ([{"name": "real", "steps": []}], "'real' names no degradation"),
    ],
)
def test_a_wrong_description_is_refused(steps: object, words: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=words):
        Composite.model_validate({"steps": steps})


def test_composites_go_into_other_records_flat() -> None:
    drawn = parse("low_haze+real").draw(seeded(0))
    assert isinstance(drawn, Composite)
    assert not any(isinstance(step, Composite) for step in drawn.steps)
    assert json.loads(drawn.model_dump_json())["steps"][0]["name"] == "low_light"
    with pytest.raises(pydantic.ValidationError, match="flatten the steps"):
        Composite(steps=(drawn, Jpeg()))
