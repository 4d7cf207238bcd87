"""Reading degradations from text: what is understood, what is drawn, what is refused and in which words."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.degradations import (
    CDD11,
    DEGRADATIONS,
    Blur,
    DegradationSpec,
    Jpeg,
    LowLight,
    Noise,
    PoissonGaussian,
    Rain,
    flatten,
    parse,
)
from moceir.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_fixed_value_stands_and_the_rest_is_drawn() -> None:
    spec = parse("rain:angle_deg=20,strength=0.6")
    source = generator()
    first, second = spec.draw(source), spec.draw(source)
    assert isinstance(first, Rain)
    assert isinstance(second, Rain)
    assert (first.angle_deg, first.strength) == (second.angle_deg, second.strength) == (20.0, 0.6)
    assert first.length_px != second.length_px


@pytest.mark.parametrize("seed", range(40))
def test_a_given_sigma_is_the_gaussian_protocol_alone(seed: int) -> None:
    assert parse("noise:sigma=25").draw(generator(seed)) == Noise(sigma_255=25)


def test_shot_noise_can_be_given_with_sigma() -> None:
    assert parse("noise:sigma=5,shot=2").draw(generator()) == Noise(sigma_255=5, shot=2)


def test_values_get_the_type_of_the_parameter() -> None:
    jpeg = parse("jpeg: quality = 20 , subsample=false").draw(generator())
    assert jpeg == Jpeg(quality=20, subsample=False)
    blur = parse("blur:kind=defocus,size_px=7").draw(generator())
    assert isinstance(blur, Blur)
    assert (blur.kind, blur.size_px) == ("defocus", 7.0)


@pytest.mark.parametrize("name", sorted(set(DEGRADATIONS) - {"real"}))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_text_round_trips(name: str, seed: int) -> None:
    params = DEGRADATIONS[name].draw(generator(seed))
    for spec in (DegradationSpec(name), DegradationSpec(name, params.model_dump())):
        again = parse(str(spec))
        assert again == spec
        assert hash(again) == hash(spec)
    assert again.draw(generator(seed + 1)) == params


def test_a_plus_sign_composes_from_left_to_right() -> None:
    composite = parse(" low + haze:beta=1e+0 +rain: strength=0.6 , angle_deg=+20")
    assert str(composite) == "low_light+haze:beta=1.0+rain:strength=0.6,angle_deg=20.0"
    assert parse(str(composite)) == composite
    assert hash(parse(str(composite))) == hash(composite)
    assert pickle.loads(pickle.dumps(composite)) == composite  # noqa: S301 (own data)


PARTS = st.sampled_from([*DEGRADATIONS, *CDD11, "noise:sigma=25", "blur:kind=motion,angle_deg=-30", "snow:veil=0.1"])


@settings(deadline=None, derandomize=True)
@given(parts=st.lists(PARTS, min_size=1, max_size=4), seed=st.integers(0, 2**31))
def test_composites_round_trip_and_draw_their_steps_in_order(parts: list[str], seed: int) -> None:
    spec = parse("+".join(parts))
    assert parse(str(spec)) == spec
    source = generator(seed)
    assert flatten([spec.draw(generator(seed))]) == flatten([parse(part).draw(source) for part in parts])


def test_published_names_mean_their_steps() -> None:
    assert len(CDD11) == 11
    for name, text in CDD11.items():
        assert parse(name) == parse(text)
        # A folder's name is its table of contents.
        assert [step.partition(":")[0].replace("low_light", "low") for step in text.split("+")] == name.split("_")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31))
def test_a_range_is_drawn_from(seed: int) -> None:
    spec = parse("low_light:exposure=0.02..0.05+jpeg:quality=10..12")
    dark, jpeg = flatten([spec.draw(generator(seed))])
    assert isinstance(dark, LowLight)
    assert isinstance(jpeg, Jpeg)
    assert 0.02 <= dark.exposure <= 0.05
    assert jpeg.quality in (10, 11, 12)
    assert str(spec) == "low_light:exposure=0.02..0.05+jpeg:quality=10..12"
    assert pickle.loads(pickle.dumps(spec)) == parse(str(spec)) == spec  # noqa: S301 (own data)
    assert hash(parse(str(spec))) == hash(spec)


def test_a_range_reaches_both_ends() -> None:
    spec, source = parse("jpeg:quality=10..12"), generator()
    draws = [spec.draw(source) for _ in range(300)]
    assert {d.quality for d in draws if isinstance(d, Jpeg)} == {10, 11, 12}
    negative, draws = parse("rain:angle_deg=-30..-10"), []
    draws = [negative.draw(source) for _ in range(300)]
    angles = [d.angle_deg for d in draws if isinstance(d, Rain)]
    assert -30 <= min(angles) < -28 < -12 < max(angles) <= -10


def test_published_names_can_be_drawn_one_by_one() -> None:
    assert parse("low_rain").draw(generator()) == parse(CDD11["low_rain"]).draw(generator())
    assert isinstance(parse("low:exposure=0.1").draw(generator()), LowLight)


def test_a_sigma_leaves_the_photon_part_of_a_sensor() -> None:
    params = parse("poisson_gaussian:sigma=5").draw(generator())
    assert isinstance(params, PoissonGaussian)
    assert params.sigma_255 == 5
    assert params.shot > 0


def test_short_names_are_written_in_full() -> None:
    assert str(parse("noise:sigma=25")) == "noise:sigma_255=25.0"
    assert parse("noise:sigma=25") == parse("noise:sigma_255=25")


def test_a_spec_is_frozen_and_travels_to_workers() -> None:
    spec = parse("noise:sigma=25")
    assert pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec) == spec  # noqa: S301 (own data)
    with pytest.raises(TypeError):
        spec.fixed["sigma_255"] = 50  # type: ignore[index]
    with pytest.raises(AttributeError):
        spec.name = "rain"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nois", ["'nois'", "did you mean 'noise'", "low_light"]),
        ("", ["''", "choose from noise"]),
        ("zebra", ["'zebra'", "choose from noise"]),
        ("rain:strenght=1", ["'strenght'", "'rain'", "did you mean 'strength'", "angle_deg"]),
        ("noise:sigm=25", ["'sigm'", "did you mean 'sigma_255'"]),
        ("clean:strength=1", ["'strength'", "'clean'", "takes none"]),
        ("noise:sigma=-3", ["'-3'", "'sigma_255'", "greater than or equal to 0"]),
        ("noise:sigma=lots", ["'lots'", "valid number"]),
        ("noise:sigma=nan", ["'nan'", "finite"]),
        ("noise:sigma=5..2", ["'5..2'", "'sigma_255'", "the smaller one first"]),
        ("noise:sigma=-1..2", ["'-1'", "greater than or equal to 0"]),
        ("noise:sigma=1..", ["''", "valid number"]),
        ("blur:kind=shake..motion", ["'shake..motion'", "two numbers"]),
        ("jpeg:quality=2.5", ["'2.5'", "integer"]),
        ("blur:kind=wobble", ["'wobble'", "'shake', 'motion' or 'defocus'"]),
        ("noise:sigma", ["'sigma'", "name:parameter=value"]),
        ("noise:", ["'noise:'", "name:parameter=value"]),
        ("noise:sigma=", ["'sigma='", "name:parameter=value"]),
        ("noise:=3", ["'=3'", "name:parameter=value"]),
        ("noise:sigma=3,", ["name:parameter=value"]),
        ("noise:sigma=3,sigma=4", ["'sigma'", "twice"]),
        ("noise:sigma=3,sigma_255=4", ["'sigma_255'", "twice"]),
        ("haze+nois", ["'nois'", "did you mean 'noise'"]),
        ("haze+", ["''", "choose from noise"]),
        ("low_hase", ["'low_hase'", "did you mean 'low_haze'"]),
        ("haze_rain:beta=1", ["'haze_rain'", "'haze+rain'"]),
        ("real:steps=2", ["'steps'", "'real'", "takes none"]),
    ],
)
def test_a_refusal_says_what_and_what_instead(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
