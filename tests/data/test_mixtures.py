"""Samples are a function of seed and number, come from their sources as often as asked, and pairs stay pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layouts import build_layout
from support import write_picture
from torch.utils.data import DataLoader

from moceir import image_io
from moceir.data.mixtures import (
    MixedPairs,
    Source,
    ValidationPairs,
    epoch_length,
    pairs_source,
    photographs_source,
    set_source,
    split_sources,
)
from moceir.data.photographs import Photographs
from moceir.data.synthesis import to_8_bit
from moceir.degradations import parse
from moceir.errors import ConfigError, DataError
from moceir.recipe import AugmentConfig

TASKS = {"noise:sigma=25": 2.0, "rain": 1.0, "clean": 1.0}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """Three pictures of different sizes, degraded in three ways."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, (height, width) in enumerate([(40, 60), (70, 50), (20, 90)]):
        write_picture(folder / f"{number}.png", height, width, seed=number)
    return [photographs_source(folder, text, weight) for text, weight in TASKS.items()]


@pytest.fixture(scope="module")
def pairs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs whose degraded picture is the clean one plus one level, so that a patch shows where it was cut."""
    root = tmp_path_factory.mktemp("pairs")
    for number in range(4):
        clean = np.random.default_rng(number).integers(0, 255, (40, 50 + number, 3)).astype(np.uint8)
        image_io.write(root / "clean" / f"{number}.png", image_io.Picture(clean))
        image_io.write(root / "bright" / f"{number}.png", image_io.Picture(clean + 1))
    return root


def mixed(sources: list[Source], **changes: object) -> MixedPairs:
    settings: dict[str, object] = {"by": "weight", "patch_px": 32, "first": 0, "count": 40, "seed": 0} | changes
    return MixedPairs(sources, Photographs(), AugmentConfig(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["weight", "repeat"])
def test_samples_depend_on_seed_and_number_alone(sources: list[Source], by: str) -> None:
    some = mixed(sources, by=by)
    torch.manual_seed(99)
    assert all(torch.equal(a, b) for a, b in zip(some[17], mixed(sources, by=by)[17], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(some[17], mixed(sources, by=by, first=15)[2], strict=True))
    assert not torch.equal(some[17].clean, some[18].clean)
    assert not torch.equal(some[17].clean, mixed(sources, by=by, seed=1)[17].clean)


def test_low_light_is_restored_to_full_light(sources: list[Source]) -> None:
    augment = AugmentConfig(darkest=0.1, dark_chance=1.0)
    for text, dims in (("noise:sigma=5", True), ("low_light", False), ("low_rain", False)):
        source = replace(sources[0], degrade=parse(text))
        plain, dim = (
            MixedPairs([source], Photographs(), choice, by="weight", patch_px=16, first=0, count=8, seed=0)
            for choice in (AugmentConfig(), augment)
        )
        pairs = [(a.clean, b.clean) for a, b in zip(plain, dim, strict=True)]
        assert all((b <= a).all() for a, b in pairs)
        assert any(not torch.equal(a, b) for a, b in pairs) == dims


@pytest.mark.parametrize("by", ["weight", "repeat"])
def test_loader_processes_change_nothing(sources: list[Source], by: str) -> None:
    batches = [next(iter(DataLoader(mixed(sources, by=by), batch_size=6, num_workers=n))) for n in (0, 2)]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_samples_are_8_bit_patches_with_the_weighted_tasks(sources: list[Source]) -> None:
    samples = list(mixed(sources, count=200))
    for sample in samples[:20]:
        for image in (sample.degraded, sample.clean):
            assert image.shape == (3, 32, 32)
            assert torch.equal(image, to_8_bit(image))
            assert image.min() >= 0
            assert image.max() <= 1
    shares = torch.bincount(torch.stack([s.task for s in samples]), minlength=3) / len(samples)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.25, 0.25]), atol=0.1, rtol=0)
    for sample in samples:
        assert torch.equal(sample.degraded, sample.clean) == (sample.task == 2)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=4),
    st.integers(0, 3),
    st.integers(0, 9),
)
def test_an_epoch_uses_each_file_as_often_as_it_is_repeated(
    shape: list[tuple[int, int]], epoch: int, seed: int
) -> None:
    sources = [
        Source(f"s{s}", [(None, Path(f"{s}-{f}")) for f in range(files)], parse("noise"), repeat)
        for s, (files, repeat) in enumerate(shape)
    ]
    length = epoch_length(sources)
    assert length == sum(files * repeat for files, repeat in shape)
    pairs = mixed(sources, by="repeat", seed=seed)
    used = Counter(pairs.source_at(epoch, place) for place in range(length))
    assert used == {(s, f): repeat for s, (files, repeat) in enumerate(shape) for f in range(files)}


def test_each_epoch_has_an_order_of_its_own(pairs_root: Path) -> None:
    source = pairs_source(pairs_root / "bright", pairs_root / "clean", 10)
    pairs = mixed([source], by="repeat", count=120)
    first, second, again = ([pairs.source_at(epoch, place) for place in range(40)] for epoch in (0, 1, 0))
    assert first == again
    assert first != second
    assert [pairs[40 + n].clean.sum() for n in range(3)] == [
        mixed([source], by="repeat", first=40)[n].clean.sum() for n in range(3)
    ]


@pytest.mark.parametrize("patch_px", [16, 40, 64])
def test_both_pictures_of_a_pair_are_cut_and_turned_alike(pairs_root: Path, patch_px: int) -> None:
    source = pairs_source(pairs_root / "bright", pairs_root / "clean")
    samples = list(mixed([source], patch_px=patch_px))
    for sample in samples:
        assert sample.clean.shape == (3, patch_px, patch_px)
        # The two differ by one level everywhere, but for the rounding where they are enlarged.
        rounding = 1.01 / 255 if patch_px > 40 else 1e-5
        step = torch.full_like(sample.clean, 1 / 255)
        torch.testing.assert_close(sample.degraded - sample.clean, step, atol=rounding, rtol=0)
    assert len({tuple(sample.clean.flatten().tolist()) for sample in samples}) > 30


def test_patches_of_pairs_are_never_scaled(pairs_root: Path) -> None:
    source = pairs_source(pairs_root / "bright", pairs_root / "clean")
    values = {float(v) for p in (pairs_root / "clean").iterdir() for v in image_io.read(p).rgb[:, :, 0].ravel()}
    assert all({round(v * 255) for v in s.clean[0].flatten().tolist()} <= values for s in mixed([source], patch_px=8))


def test_16_bit_pairs_are_read_as_8_bits(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 20, 3)).astype(np.uint16)
    for folder in ("degraded", "clean"):
        image_io.write(tmp_path / folder / "a.png", image_io.Picture(deep))
    sample = mixed([pairs_source(tmp_path / "degraded", tmp_path / "clean")], patch_px=16)[0]
    assert torch.equal(sample.degraded, sample.clean)
    assert torch.equal(sample.clean, to_8_bit(sample.clean))


def test_a_pair_of_two_sizes_is_named(tmp_path: Path) -> None:
    write_picture(tmp_path / "degraded" / "a.png", 20, 30)
    write_picture(tmp_path / "clean" / "a.png", 20, 31)
    with pytest.raises(DataError, match=r"degraded.a\.png and .*clean.a\.png differ in size \(30x20 and 31x20\)"):
        mixed([pairs_source(tmp_path / "degraded", tmp_path / "clean")], patch_px=8)[0]


def test_published_sets_mix(tmp_path: Path) -> None:
    for name in ("denoising", "rain100l-train", "reside-ots"):
        build_layout(tmp_path, name, count=4)
    sources = [set_source("denoising", tmp_path, f"noise:sigma={sigma}", 3) for sigma in (15, 25, 50)]
    sources += [set_source("rain100l-train", tmp_path, share=12), set_source("reside-ots", tmp_path)]
    assert epoch_length(sources) == 3 * 4 * 3 + 4 * 12 + 16
    samples = list(mixed(sources, by="repeat", count=epoch_length(sources)))
    assert Counter(int(sample.task) for sample in samples) == {0: 12, 1: 12, 2: 12, 3: 48, 4: 16}
    noise = [float((s.degraded - s.clean).std()) for s in samples if s.task == 2]
    assert 0.1 < np.mean(noise) < 0.2, "sigma 50"
    assert "reside-ots" in [source.label for source in sources]


def test_validation_is_always_the_same_and_covers_every_source(sources: list[Source], pairs_root: Path) -> None:
    everything = [*sources, pairs_source(pairs_root / "bright", pairs_root / "clean")]
    one, other = (ValidationPairs(everything, Photographs(), patch_px=32, most=2, seed=0) for _ in range(2))
    assert [int(one[i].task) for i in range(len(one))] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(torch.equal(a, b) for i in range(len(one)) for a, b in zip(one[i], other[i], strict=True))
    clean = image_io.read(everything[3].files[0][1]).rgb[4:36, 9:41]
    np.testing.assert_allclose(one[6].clean.permute(1, 2, 0) * 255, clean, atol=1e-3)
    assert len(ValidationPairs(everything, Photographs(), patch_px=32, most=99, seed=0)) == 3 * 3 + 4


def test_composites_are_tasks_like_others(sources: list[Source]) -> None:
    folder = sources[0].files[0][1].parent
    tasks = [photographs_source(folder, text) for text in ("low_haze", "haze+snow", "real", "clean")]
    validation = ValidationPairs(tasks, Photographs(), patch_px=32, most=1, seed=0)
    low, snowy, real, untouched = (validation[i] for i in range(4))
    assert low.degraded.mean() < low.clean.mean()
    assert snowy.degraded.min() > snowy.clean.min()
    assert not torch.equal(real.degraded, real.clean)
    assert torch.equal(untouched.degraded, untouched.clean)


def test_validation_spreads_over_the_pictures(tmp_path: Path) -> None:
    source = set_source("reside-ots", build_layout(tmp_path, "reside-ots", count=4))
    source = replace(source, files=sorted(source.files, key=lambda pair: pair[1]))
    chosen = ValidationPairs([source], Photographs(), patch_px=32, most=4, seed=0)
    assert len({float(chosen[i].clean.sum()) for i in range(4)}) == 4, "not four versions of the same picture"


def test_no_clean_picture_is_trained_on_and_validated_with(tmp_path: Path) -> None:
    for folder in ("haze", "rain"):
        build_layout(tmp_path, f"cdd11-train-{folder}", count=10)
    build_layout(tmp_path, "reside-ots", count=10)
    names = ("cdd11-train-haze", "cdd11-train-rain", "reside-ots")
    sources = [set_source(name, tmp_path) for name in names]
    training, validation = split_sources(sources, 0.2)
    assert [len(s.files) for s in validation] == [2, 2, 8]
    assert [len(s.files) for s in training] == [8, 8, 32]
    trained = {path for source in training for path in source.clean}
    assert not trained & {path for source in validation for path in source.clean}
    assert validation[0].clean == validation[1].clean
    assert split_sources(sources, 0) == (sources, [])
    with pytest.raises(DataError, match="too few"):
        split_sources([replace(sources[0], files=sources[0].files[:1])], 0.2)


def test_contradictions_are_refused(pairs_root: Path, sources: list[Source], tmp_path: Path) -> None:
    pair = pairs_source(pairs_root / "bright", pairs_root / "clean")
    with pytest.raises(ConfigError, match="degraded already"):
        replace(pair, degrade=parse("noise"))
    with pytest.raises(ConfigError, match="clean pictures alone"):
        set_source("denoising", build_layout(tmp_path, "denoising"))
    with pytest.raises(DataError, match="no pictures"):
        replace(pair, files=[])
    with pytest.raises(ConfigError, match="same label"):
        mixed([pair, pair])
    with pytest.raises(ConfigError, match=r"repeated 1\.5 times"):
        mixed([replace(pair, share=1.5)], by="repeat")
    for share in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="weights"):
            mixed([replace(pair, share=share)])
    with pytest.raises(ConfigError, match="did you mean 'haze'"):
        photographs_source(sources[0].files[0][1].parent, "hazy")
