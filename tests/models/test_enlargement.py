"""Networks that enlarge: any size, a start at bicubic, and the same promises as at scale 1."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moceir.config import ModelConfig
from moceir.degradations.reduction import resample
from moceir.errors import ConfigError, WeightsError
from moceir.models.execution import for_inference, for_training
from moceir.models.execution.stripes import stripe_rows
from moceir.models.layers import bicubic
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.weights import load
from moceir.weights.growth import grow
from moceir.weights.published import from_published, save_published, to_published

SCALES = (2, 3, 4)


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def enlarging(scale: int, **changes: object) -> MoCEIR:
    """A network whose tail, which starts at zero, does something."""
    torch.manual_seed(0)
    network = MoCEIR(preset("nano").model_copy(update={"scale": scale, **changes}))
    torch.nn.init.normal_(network.get_submodule("output.0").get_parameter("weight"), std=0.05)
    return network.eval()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    scale=st.sampled_from(SCALES),
    batch=st.integers(1, 2),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    rows=st.integers(1, 12),
)
def test_any_size_grows_by_the_scale_in_stripes_as_whole(
    scale: int, batch: int, height: int, width: int, rows: int
) -> None:
    network, images = enlarging(scale), pictures(batch, 3, height, width)
    before = images.clone()
    with torch.no_grad():
        whole = network(images)
        with stripe_rows(rows):
            striped = for_inference(network)(images)
    assert whole.shape == (batch, 3, scale * height, scale * width)
    assert torch.equal(images, before)
    torch.testing.assert_close(striped, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_each_image_of_a_batch_gets_what_it_gets_alone(scale: int) -> None:
    network, images = for_inference(enlarging(scale)), pictures(3, 3, 24, 40)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_a_new_tail_on_a_trained_trunk_enlarges_bicubically(scale: int) -> None:
    tiny = load("tiny")
    network = grow(tiny, tiny.config.model_copy(update={"scale": scale}))
    images = pictures(2, 3, 21, 35)
    with torch.no_grad():
        enlarged = network(images)
        assert torch.equal(enlarged, bicubic(images, scale))
    inside = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    torch.testing.assert_close(enlarged[inside], resample(images, scale)[inside])
    for name, weight in network.named_parameters():
        assert name.startswith("output") or torch.equal(weight, tiny.get_parameter(name))


def test_growth_keeps_a_tail_and_refuses_another_scale() -> None:
    network, images = enlarging(2, dim=8), pictures(1, 3, 16, 24)
    wider = grow(network, network.config.model_copy(update={"dim": 16}))
    with torch.no_grad():
        torch.testing.assert_close(wider(images), network(images), atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match="scale 2 to 4"):
        grow(network, network.config.model_copy(update={"scale": 4}))


@pytest.mark.parametrize("scale", SCALES)
def test_the_bicubic_enlargement_repeats_the_border(scale: int) -> None:
    images = pictures(1, 2, 9, 7)
    far = torch.nn.functional.pad(images, (3, 3, 3, 3), mode="replicate")
    inside = slice(3 * scale, -3 * scale)
    torch.testing.assert_close(bicubic(images, scale), resample(far, scale)[..., inside, inside])
    torch.testing.assert_close(bicubic(torch.full((1, 3, 1, 1), 0.7), scale), torch.full((1, 3, scale, scale), 0.7))
    assert bicubic(images, 1) is images


@pytest.mark.parametrize("scale", SCALES)
def test_gradients_reach_every_part_and_are_those_of_the_plain_network(scale: int) -> None:
    network, images = enlarging(scale, top_k=4).train(), pictures(2, 3, 16, 16)
    noise = torch.zeros(network.config.routed_blocks, 2, 4)
    gradients: list[list[Tensor]] = []
    for view in (network, for_training(network)):
        network.zero_grad()
        view.restore_with_routing(images, noise=noise)[0].square().mean().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert len(gradients[0]) == sum(p.requires_grad for p in network.parameters())
    for plain, fast in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-3)


def test_half_precision_rounds_what_is_added_and_not_the_picture() -> None:
    network, images = MoCEIR(preset("nano").model_copy(update={"scale": 4})).eval(), pictures(1, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        enlarged = for_inference(network)(images)
    torch.testing.assert_close(enlarged, bicubic(images, 4))


def test_the_shape_is_found_in_weights_under_published_names(tmp_path: object) -> None:
    network = enlarging(3)
    again = from_published(to_published(network))
    assert again.config == network.config
    images = pictures(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(again(images), network(images))
    with pytest.raises(WeightsError, match="no scale '3'"):
        save_published(network, tmp_path / "x.ckpt")  # type: ignore[operator]


def test_scales_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="scale"):
        ModelConfig(dim=16, scale=5)  # type: ignore[arg-type]
