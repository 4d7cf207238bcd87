"""The network on a device: precision, memory, tiles, routes and forks."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import write_picture

from moceir.errors import ConfigError, ImageError
from moceir.machine.memory import describe_bytes
from moceir.models.cost import network_cost
from moceir.models.execution.stripes import stripe_rows
from moceir.models.network import MoCEIR
from moceir.restoration import Restorer
from moceir.restoration.memory import peak_bytes


def picture(height: int, width: int) -> np.ndarray:
    values = np.random.default_rng(height * 100 + width).random((height, width, 3))
    return (values * 255).astype(np.uint8)


@pytest.mark.parametrize("forced_rows", [None, 5])
def test_bfloat16_is_close_and_keeps_the_contract(nano: MoCEIR, forced_rows: int | None) -> None:
    image = picture(45, 70)
    exact = Restorer(nano, device="cpu", precision="float32").restore(image)
    with stripe_rows(forced_rows):
        half = Restorer(nano, device="cpu", precision="bfloat16").restore(image)
    assert half.shape == image.shape
    assert half.dtype == image.dtype
    away = np.abs(half.astype(int) - exact.astype(int))
    assert 0 < away.max() <= 8, "rounding shows, but as rounding"
    assert away.mean() < 1


@pytest.mark.parametrize(("precision", "stated"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_the_result_states_the_precision(nano: MoCEIR, precision: str, stated: str) -> None:
    assert Restorer(nano, device="cpu", precision=precision).run(picture(20, 30)).precision == stated


@pytest.mark.parametrize("forced_rows", [None, 16])
def test_a_batch_in_bfloat16_gives_each_image_what_it_gets_alone(nano: MoCEIR, forced_rows: int | None) -> None:
    images = torch.rand(3, 3, 45, 70, generator=torch.Generator().manual_seed(0))
    restorer = Restorer(nano, device="cpu", precision="bfloat16")
    with stripe_rows(forced_rows):
        together = restorer.restore(images)
        alone = torch.cat([restorer.restore(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=2**-8, rtol=0)


def test_the_type_of_the_rest_of_the_program_has_no_say(nano: MoCEIR) -> None:
    image = picture(20, 30)
    expected = Restorer(nano, device="cpu").restore(image)
    try:
        torch.set_default_dtype(torch.float64)
        restorer = Restorer.from_pretrained("tiny", device="cpu")
        assert {p.dtype for p in restorer.model.parameters()} == {torch.float32}
        assert restorer.restore(image).dtype == np.uint8
        np.testing.assert_array_equal(Restorer(nano, device="cpu").restore(image), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
    ],
)
def test_too_large_for_memory_is_a_clear_error(nano: MoCEIR, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(nano, "restore_with_routing", fail)
    with pytest.raises(ImageError, match="8x4 does not fit into the memory"):
        Restorer(nano, device="cpu").restore(picture(4, 8))


def test_other_errors_of_memory_are_not_tried_again_in_tiles(nano: MoCEIR, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail(images: torch.Tensor, **_: object) -> torch.Tensor:
        calls.append(len(images))
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(nano, "restore_with_routing", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Restorer(nano, device="cpu").restore(picture(4, 800))
    assert calls == [1]


def test_what_does_not_fit_whole_is_restored_in_tiles_and_said(nano: MoCEIR) -> None:
    image = picture(280, 400)
    whole, report = Restorer(nano, device="cpu", memory_limit="4GB").restore(image, return_routing=True)
    limit = peak_bytes(nano.config, 256, 256) + 24 * 280 * 400
    restorer = Restorer(nano, device="cpu", memory_limit=limit)
    assert restorer.run(image).tile_px == 256
    with pytest.warns(UserWarning, match="400x280 pixels were restored in tiles of 256"):
        tiled, in_tiles = restorer.restore(image, return_routing=True)
    assert np.abs(tiled.astype(int) - whole.astype(int)).mean() < 2
    assert in_tiles.gmacs == pytest.approx(report.gmacs, rel=0.2)
    with pytest.raises(ImageError, match=rf"needs at least {describe_bytes(limit)}, and"):
        Restorer(nano, device="cpu", memory_limit=limit - 1).restore(image)


def test_a_batch_that_does_not_fit_is_restored_one_by_one(nano: MoCEIR, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(3, 3, 40, 24, generator=torch.Generator().manual_seed(0))
    expected, reports = Restorer(nano, device="cpu").restore(images, return_routing=True)
    restorer = Restorer(nano, device="cpu", memory_limit=peak_bytes(nano.config, 40, 24))
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
    together = Restorer(nano, device="cpu", memory_limit=enough).restore(images)
    assert set(passes) == {(2, 256), (2, 176)}
    passes.clear()
    one_by_one = Restorer(nano, device="cpu", memory_limit=enough - 1).restore(images)
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
        Restorer(nano, device="cpu").restore(picture(16, 800))
    assert tried[:3] == [800, 384, 256]


def test_forced_experts_are_the_ones_that_work(spread_nano: MoCEIR) -> None:
    image = picture(20, 28)
    expected = {"cheapest": ((0,),) * 3, "dearest": ((3,),) * 3, (1, 0, 2): ((1,), (0,), (2,))}
    gmacs: dict[str | tuple[int, ...], float] = {}
    for experts, route in expected.items():
        _, report = Restorer(spread_nano, device="cpu", experts=experts).restore(image, return_routing=True)
        assert report.experts == route
        gmacs[experts] = report.gmacs
    assert gmacs["cheapest"] < gmacs[1, 0, 2] < gmacs["dearest"]
    assert gmacs["dearest"] == network_cost(spread_nano.config, 20, 28).macs(((3,),) * 3) / 1e9


def test_effort_shifts_the_routes_and_is_capped_by_the_ends(spread_nano: MoCEIR) -> None:
    images = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [0.1, 0.4, 0.7, 1]
    ).view(4, 1, 1, 1)
    costs = {
        effort: [
            r.gmacs for r in Restorer(spread_nano, device="cpu", effort=effort).restore(images, return_routing=True)[1]
        ]
        for effort in (-1e4, "low", -0.1, "auto", 0.1, "high", 1e4)
    }
    for less, more in pairwise(costs.values()):
        assert all(a <= b for a, b in zip(less, more, strict=True))
    for effort, name in ((-1e4, "cheapest"), (1e4, "dearest")):
        assert costs[effort] == [
            r.gmacs for r in Restorer(spread_nano, device="cpu", experts=name).restore(images, return_routing=True)[1]
        ]
    assert len({tuple(row) for row in costs.values()}) > 2
    auto = Restorer(spread_nano, device="cpu").restore(images)
    assert torch.equal(Restorer(spread_nano, device="cpu", effort="auto").restore(images), auto)
    assert torch.equal(Restorer(spread_nano, device="cpu", effort=0).restore(images), auto)


@pytest.mark.filterwarnings("ignore:.* were restored in tiles")
def test_effort_holds_in_tiles_too(spread_nano: MoCEIR) -> None:
    image = picture(260, 300)
    limit = peak_bytes(spread_nano.config, 256, 256) + 24 * 260 * 300
    reports = [
        Restorer(spread_nano, device="cpu", memory_limit=limit, effort=effort).restore(image, return_routing=True)[1]
        for effort in (-1e4, "auto", 1e4)
    ]
    assert [report.experts for report in (reports[0], reports[2])] == [((0,),) * 3, ((3,),) * 3]
    assert reports[0].gmacs <= reports[1].gmacs <= reports[2].gmacs


@pytest.mark.parametrize(
    ("experts", "telling"),
    [([0, 1], "experts 0,1 do not fit"), ([0, 1, 4], "0 to 3"), ([], "each of its 3 decoder blocks"), ("0,1", "fit")],
)
def test_experts_that_are_not_there_are_refused(nano: MoCEIR, experts: Any, telling: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Restorer(nano, device="cpu", experts=experts)
    assert telling in str(caught.value)


FORKING = """
import multiprocessing, sys
import numpy as np
import torch
import moceir

image = np.full((64, 64, 3), 90, dtype=np.uint8)

def attempt(work, *arguments):
    try:
        return work(*arguments)
    except moceir.MoceirError as error:
        return error

def array():
    return int(restorer.restore(image).sum())

def file():
    return restorer.restore_file(*sys.argv[1:]).format

def load_and_restore():
    return int(moceir.Restorer.from_pretrained("tiny", device="cpu").restore(image).sum())

def single():
    torch.set_num_threads(1)
    return array()

restorer = moceir.Restorer.from_pretrained("tiny", device="cpu", threads=2)
print(array())
with multiprocessing.get_context("fork").Pool(1) as pool:
    for work in (array, load_and_restore, single, file):
        print(pool.apply_async(attempt, [work]).get(60))
print(file())
with multiprocessing.get_context("fork").Pool(1) as pool:
    for work in (single, file):
        print(pool.apply_async(attempt, [work]).get(60))
with multiprocessing.get_context("spawn").Pool(1) as pool:
    print(int(pool.apply_async(restorer.restore, [image]).get(60).sum()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without forks")
def test_forked_workers_are_refused_at_once_where_they_would_hang(tmp_path: Path) -> None:
    write_picture(tmp_path / "in.png")
    command = [sys.executable, "-c", FORKING, str(tmp_path / "in.png"), str(tmp_path / "out.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    openmp, libvips = (
        f"this process was forked from one that had used {library}, whose threads are missing here; start workers with "
        "multiprocessing.get_context('spawn')"
        for library in ("OpenMP", "libvips")
    )
    expected = done.stdout.splitlines()[0]
    assert done.stdout.splitlines() == [
        expected,
        *(openmp, openmp, expected, "png"),  # with one thread no others are missed
        "png",
        *(expected, libvips),
        expected,
    ]
