"""The contract of `Restorer`: same size, type and range, whatever comes in."""

import dataclasses
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import moceir
from moceir import image_io
from moceir.errors import ConfigError, ImageError
from moceir.machine.devices import choose_precision
from moceir.machine.memory import describe_bytes
from moceir.models.cost import network_cost
from moceir.models.execution.stripes import stripe_rows
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer
from moceir.restoration.memory import peak_bytes


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    torch.manual_seed(0)
    return Restorer(MoCEIR(preset("nano")), "cpu")


def picture(height: int, width: int, dtype: str = "uint8") -> np.ndarray:
    values = np.random.default_rng(height * 100 + width).random((height, width, 3))
    top = np.iinfo(dtype).max if dtype.startswith("uint") else 1
    return (values * top).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "float16"])
def test_arrays_keep_shape_type_and_range(restorer: Restorer, dtype: str) -> None:
    image = picture(13, 21, dtype)
    before = image.copy()
    restored = restorer.restore(image)
    assert restored.shape == image.shape
    assert restored.dtype == image.dtype
    assert restored.min() >= 0
    np.testing.assert_array_equal(image, before)
    if dtype.startswith("float"):
        assert restored.max() <= 1


def test_all_kinds_of_input_agree(restorer: Restorer) -> None:
    image = picture(16, 24)
    expected = restorer.restore(image.astype(np.float32) / 255)
    np.testing.assert_allclose(restorer.restore(image) / 255, expected, atol=0.5 / 255 + 1e-6)
    deep = image.astype(np.uint16) * 257
    np.testing.assert_allclose(restorer.restore(deep) / 65535, expected, atol=0.5 / 65535 + 1e-6)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    np.testing.assert_allclose(restorer.restore(batch)[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_views_and_odd_strides_are_fine(restorer: Restorer) -> None:
    image = picture(20, 30)
    turned = image[::-1, ::2]
    np.testing.assert_array_equal(restorer.restore(turned), restorer.restore(turned.copy()))


def test_a_batch_gives_each_image_what_it_gets_alone(restorer: Restorer) -> None:
    batch = torch.rand(3, 3, 17, 9, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([restorer.restore(image[None]) for image in batch])
    torch.testing.assert_close(restorer.restore(batch), alone, atol=1e-5, rtol=0)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_any_size_comes_back(restorer: Restorer, height: int, width: int) -> None:
    assert restorer.restore(picture(height, width)).shape == (height, width, 3)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
        np.zeros((4, 4, 3), dtype=np.int32),
        np.full((4, 4, 3), 2.0),
        np.full((4, 4, 3), -0.1),
        np.full((4, 4, 3), np.nan),
        torch.zeros(3, 4, 4),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.full((1, 3, 4, 4), 1.5),
    ],
)
def test_what_is_no_picture_is_refused(restorer: Restorer, image: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"expected|values in \[0, 1\]"):
        restorer.restore(image)


def test_unknown_and_absent_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MoCEIR(preset("nano"))
    with pytest.raises(ConfigError, match="auto, cpu, cuda, mps"):
        Restorer(model, "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no usable cuda"):
        Restorer(model, "cuda")


@pytest.mark.parametrize("forced_rows", [None, 5])
def test_bfloat16_is_close_and_keeps_the_contract(nano: MoCEIR, forced_rows: int | None) -> None:
    image = picture(45, 70)
    exact = Restorer(nano, "cpu").restore(image)
    with stripe_rows(forced_rows):
        half = Restorer(nano, "cpu", precision="bfloat16").restore(image)
    assert half.shape == image.shape
    assert half.dtype == image.dtype
    away = np.abs(half.astype(int) - exact.astype(int))
    assert 0 < away.max() <= 8, "rounding shows, but as rounding"
    assert away.mean() < 1


def test_precisions_that_are_not_there(nano: MoCEIR) -> None:
    assert Restorer(nano, "cpu").dtype is torch.float32
    with pytest.raises(ConfigError, match="choose from auto, float32, bfloat16, float16"):
        Restorer(nano, "cpu", precision="bf16")
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        Restorer(nano, "cpu", precision="float16")


@pytest.mark.parametrize(("made_for_it", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_on_gpus_made_for_it(
    monkeypatch: pytest.MonkeyPatch, made_for_it: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: made_for_it)
    assert choose_precision("auto", torch.device("cuda")) is expected


def test_too_large_for_memory_is_a_clear_error(restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(MoCEIR, "restore_with_routing", fail)
    with pytest.raises(ImageError, match="8x4 does not fit into the memory"):
        restorer.restore(picture(4, 8))


# --- memory -----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_whole_is_restored_in_tiles_and_said(nano: MoCEIR, tmp_path: Path) -> None:
    image = picture(280, 400)
    whole, report = Restorer(nano, "cpu", memory_limit="4GB").restore(image, return_routing=True)
    limit = peak_bytes(nano.config, 256, 256) + 24 * 280 * 400
    restorer = Restorer(nano, "cpu", memory_limit=limit)
    with pytest.warns(UserWarning, match="400x280 pixels were restored in tiles of 256"):
        tiled, in_tiles = restorer.restore(image, return_routing=True)
    assert np.abs(tiled.astype(int) - whole.astype(int)).mean() < 2
    assert in_tiles.gmacs == pytest.approx(report.gmacs, rel=0.2)
    image_io.write(tmp_path / "in.png", image_io.Picture(image))
    done = restorer.restore_file(tmp_path / "in.png", tmp_path / "out.png")
    assert done.tile_px == 256
    np.testing.assert_array_equal(image_io.read(tmp_path / "out.png").rgb, tiled)
    with pytest.raises(ImageError, match=rf"needs {describe_bytes(limit)} at least, of which"):
        Restorer(nano, "cpu", memory_limit=limit - 1).restore(image)


def test_a_batch_that_does_not_fit_is_restored_one_by_one(nano: MoCEIR, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(3, 3, 40, 24, generator=torch.Generator().manual_seed(0))
    expected, reports = Restorer(nano, "cpu").restore(images, return_routing=True)
    restorer = Restorer(nano, "cpu", memory_limit=peak_bytes(nano.config, 40, 24))
    sizes: list[int] = []
    run = MoCEIR.restore_with_routing

    def counted(network: MoCEIR, images: torch.Tensor, **settings: Any) -> Any:
        sizes.append(len(images))
        return run(network, images, **settings)

    monkeypatch.setattr(MoCEIR, "restore_with_routing", counted)
    restored, one_by_one = restorer.restore(images, return_routing=True)
    assert sizes == [1, 1, 1]
    torch.testing.assert_close(restored, expected, atol=1e-5, rtol=0)
    assert [report.experts for report in one_by_one] == [report.experts for report in reports]


@pytest.mark.filterwarnings("ignore:.* were restored in tiles")
def test_tiles_of_a_batch_keep_to_the_limit(nano: MoCEIR, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 3, 16, 1200, generator=torch.Generator().manual_seed(0))
    enough = peak_bytes(nano.config, 16, 256, batch=2) + 2 * 24 * 16 * 1200
    passes: list[tuple[int, int]] = []
    plain = nano.restore_with_routing
    monkeypatch.setattr(
        nano, "restore_with_routing", lambda x, **k: (passes.append((len(x), x.shape[-1])), plain(x, **k))[1]
    )
    together = Restorer(nano, "cpu", memory_limit=enough).restore(images)
    assert set(passes) == {(2, 256), (2, 176)}
    passes.clear()
    one_by_one = Restorer(nano, "cpu", memory_limit=enough - 1).restore(images)
    assert set(passes) == {(1, 256), (1, 176)}
    torch.testing.assert_close(one_by_one, together, atol=1e-5, rtol=0)


def test_when_memory_runs_out_it_steps_down(nano: MoCEIR, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, tried = nano.restore_with_routing, []

    def short_of_memory(images: torch.Tensor, **options: Any) -> Any:
        tried.append(max(images.shape[-2:]))
        if tried[-1] > 256:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(images, **options)

    monkeypatch.setattr(nano, "restore_with_routing", short_of_memory)
    with pytest.warns(UserWarning, match="in tiles of 256"):
        Restorer(nano, "cpu").restore(picture(16, 800))
    assert tried[:3] == [800, 384, 256]


@pytest.mark.parametrize("limit", ["much", "0", 0, -5])
def test_a_limit_that_is_no_amount_is_refused(nano: MoCEIR, limit: int | str) -> None:
    with pytest.raises(ConfigError, match="no amount of bytes"):
        Restorer(nano, "cpu", memory_limit=limit)


def test_files_keep_depth_alpha_and_greyness(restorer: Restorer, tmp_path: Path) -> None:
    rgb = picture(12, 14, "uint16")
    alpha = np.arange(12 * 14, dtype=np.uint16).reshape(12, 14) * 300 + 1  # nothing is hidden
    image_io.write(tmp_path / "in.png", image_io.Picture(rgb, alpha=alpha))
    done = restorer.restore_file(tmp_path / "in.png", tmp_path / "out.png")
    assert (done.width, done.height) == (14, 12)
    restored = image_io.read(tmp_path / "out.png")
    assert restored.rgb.dtype == np.uint16
    assert restored.alpha is not None
    np.testing.assert_array_equal(restored.alpha, alpha)
    np.testing.assert_array_equal(restored.rgb, restorer.restore(rgb))

    grey = np.repeat(rgb[..., :1], 3, axis=2)
    image_io.write(tmp_path / "grey.png", dataclasses.replace(image_io.read(tmp_path / "in.png"), rgb=grey, grey=True))
    restorer.restore_file(tmp_path / "grey.png", tmp_path / "grey_out.png")
    assert image_io.read(tmp_path / "grey_out.png").grey


def test_the_facade_offers_what_it_promises() -> None:
    assert set(moceir.__all__) <= set(dir(moceir))
    assert moceir.preset("tiny").dim == 16
    with pytest.raises(AttributeError, match="it offers"):
        _ = moceir.Restorator  # type: ignore[attr-defined]


def test_bundled_weights_restore(tmp_path: Path) -> None:
    """As in the README: the bundled network must clearly denoise a drawn picture."""
    y, x = np.mgrid[0:96, 0:96] / 96
    clean = np.stack([0.5 + 0.4 * np.sin(6 * x + 2 * y), 0.5 + 0.4 * np.cos(5 * y), (x + y) / 2], axis=2)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape), 0, 1).astype(np.float32)
    restored = moceir.Restorer.from_pretrained("tiny", "cpu").restore(noisy)
    assert np.square(restored - clean).mean() < np.square(noisy - clean).mean() / 6


def test_forced_experts_are_the_ones_that_work(spread_nano: MoCEIR) -> None:
    image = picture(20, 28)
    expected = {"cheapest": ((0,),) * 3, "dearest": ((3,),) * 3, (1, 0, 2): ((1,), (0,), (2,))}
    gmacs: dict[str | tuple[int, ...], float] = {}
    for experts, route in expected.items():
        _, report = Restorer(spread_nano, "cpu", experts).restore(image, return_routing=True)
        assert report.experts == route
        gmacs[experts] = report.gmacs
    assert gmacs["cheapest"] < gmacs[1, 0, 2] < gmacs["dearest"]
    assert gmacs["dearest"] == network_cost(spread_nano.config, 20, 28).macs(((3,),) * 3) / 1e9


def test_effort_shifts_the_routes_and_is_capped_by_the_ends(spread_nano: MoCEIR) -> None:
    images = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [0.1, 0.4, 0.7, 1]
    ).view(4, 1, 1, 1)
    costs = {
        effort: [r.gmacs for r in Restorer(spread_nano, "cpu", effort=effort).restore(images, return_routing=True)[1]]
        for effort in (-1e4, "low", -0.1, "auto", 0.1, "high", 1e4)
    }
    for less, more in pairwise(costs.values()):
        assert all(a <= b for a, b in zip(less, more, strict=True))
    for effort, name in ((-1e4, "cheapest"), (1e4, "dearest")):
        assert costs[effort] == [
            r.gmacs for r in Restorer(spread_nano, "cpu", name).restore(images, return_routing=True)[1]
        ]
    assert len({tuple(row) for row in costs.values()}) > 2
    auto = Restorer(spread_nano, "cpu").restore(images)
    assert torch.equal(Restorer(spread_nano, "cpu", effort="auto").restore(images), auto)
    assert torch.equal(Restorer(spread_nano, "cpu", effort=0).restore(images), auto)


@pytest.mark.filterwarnings("ignore:.* were restored in tiles")
def test_effort_holds_in_tiles_too(spread_nano: MoCEIR) -> None:
    image = picture(260, 300)
    limit = peak_bytes(spread_nano.config, 256, 256) + 24 * 260 * 300
    reports = [
        Restorer(spread_nano, "cpu", memory_limit=limit, effort=effort).restore(image, return_routing=True)[1]
        for effort in (-1e4, "auto", 1e4)
    ]
    assert [report.experts for report in (reports[0], reports[2])] == [((0,),) * 3, ((3,),) * 3]
    assert reports[0].gmacs <= reports[1].gmacs <= reports[2].gmacs


@pytest.mark.parametrize("effort", ["lots", "", float("nan"), float("inf")])
def test_an_effort_that_is_none_is_refused(nano: MoCEIR, effort: Any) -> None:
    with pytest.raises(ConfigError, match="give low, auto, high or a finite number"):
        Restorer(nano, "cpu", effort=effort)


def test_effort_and_fixed_experts_contradict_each_other(nano: MoCEIR) -> None:
    with pytest.raises(ConfigError, match="one of the two"):
        Restorer(nano, "cpu", "cheapest", effort="low")


@pytest.mark.parametrize(
    ("experts", "telling"),
    [
        ("cheap", "choose auto"),
        ([0, 1], "experts 0,1 do not fit"),
        ([0, 1, 4], "0 to 3"),
        ([], "each of its 3 decoder blocks"),
    ],
)
def test_experts_that_are_not_there_are_refused(nano: MoCEIR, experts: Any, telling: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Restorer(nano, "cpu", experts)
    assert telling in str(caught.value)


def test_importing_restoration_needs_no_extra() -> None:
    code = (
        "import sys\n"
        "for name in ('lightning', 'skimage', 'tensorboard', 'torchmetrics', 'PIL'): sys.modules[name] = None\n"
        "import moceir, moceir.cli\n"
        "moceir.Restorer\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
