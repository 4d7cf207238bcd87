"""Exported files restore in onnxruntime what torch restores, and refuse what they cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from support import run, varied, write_picture

from moceir import MoCEIR, RestoreOptions, Restorer, image_io, load
from moceir.errors import ConfigError, ImageError, MissingExtraError, WeightsError
from moceir.evaluation.profiling import sample_picture
from moceir.export.cache import export_model
from moceir.restoration.tiles import SMALLEST_TILE


@pytest.fixture(scope="module")
def file(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network whose routes differ."""
    path = tmp_path_factory.mktemp("exported") / "nano.onnx"
    export_model(str(golden / "nano_lightning.ckpt"), path, "onnx")
    return path


@pytest.fixture(scope="module")
def restorer(file: Path) -> Restorer:
    return Restorer.from_pretrained(file, threads=1)


@pytest.fixture(scope="module")
def in_torch(golden: Path) -> Restorer:
    return Restorer.from_pretrained(golden / "nano_lightning.ckpt", device="cpu")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 1, 3), "uint8"),
        ((31, 50, 3), "uint8"),
        ((17, 9), "uint16"),
        ((20, 33, 4), "uint16"),
        ((24, 24, 3), "float32"),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"strength": 0.3, "keep_tones": True}], ids=["plain", "changed"])
def test_arrays_get_what_torch_gives_them(
    restorer: Restorer,
    in_torch: Restorer,
    shape: tuple[int, ...],
    dtype: str,
    changes: dict[str, Any],
) -> None:
    whole = np.issubdtype(dtype, np.integer)
    drawn = np.random.default_rng(0).random(shape)
    image = (drawn * np.iinfo(dtype).max).astype(dtype) if whole else drawn.astype(dtype)
    result, expected = (each.restore(image, **changes) for each in (restorer, in_torch))
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    allowed = max(2e-4 * np.iinfo(dtype).max, 1) if whole else 2e-4
    assert np.abs(result.astype(float) - expected).max() <= allowed
    assert changes or (result != image).any()


def test_batches_of_tensors_that_take_several_routes(restorer: Restorer, in_torch: Restorer) -> None:
    images = torch.cat([varied(number) for number in range(6)]).double()
    expected, reports = in_torch.restore(images, return_routing=True)
    assert len({report.experts for report in reports}) > 1
    result = restorer.restore(images)
    assert result.dtype == torch.float64
    torch.testing.assert_close(result, expected, atol=2e-4, rtol=0)


def test_files_keep_what_they_hold(file: Path, in_torch: Restorer, tmp_path: Path) -> None:
    rgba = np.random.default_rng(1).integers(1, 65536, (12, 14, 4), dtype=np.uint16)
    image_io.write(tmp_path / "in.png", image_io.Picture(rgba[..., :3], rgba[..., 3]))
    report = tmp_path / "report.jsonl"
    arguments = (
        "restore",
        tmp_path / "in.png",
        "-o",
        tmp_path / "out.png",
        "--reference",
        tmp_path,
        "--report",
        report,
    )
    result = run(*arguments, "--model", file)
    assert result.exit_code == 0, result.output
    read = image_io.read(tmp_path / "out.png")
    assert read.alpha is not None
    np.testing.assert_array_equal(read.alpha, rgba[..., 3])
    assert np.abs(read.rgb.astype(int) - in_torch.restore(rgba)[..., :3]).max() <= 2e-4 * 65535
    assert '"route": null, "gmacs": null' in report.read_text()
    assert "PSNR inf -> " in result.stdout


def test_tiny_is_exported_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "in.png"
    write_picture(source)
    first = run("restore", source, "-o", tmp_path / "first.png", "--backend", "onnx")
    assert first.exit_code == 0, first.output
    (made,) = (tmp_path / "cache" / "moceir" / "exported").iterdir()
    assert {entry.key: entry.value for entry in onnx.load(made).metadata_props}["model"] == "tiny"
    monkeypatch.setattr("moceir.export.cache.export_model", lambda *_: pytest.fail("it was exported again"))
    again = Restorer.from_pretrained("tiny", backend="onnx", threads=1)
    expected = Restorer.from_pretrained("tiny", device="cpu").restore(image_io.read(source).rgb)
    for result in (image_io.read(tmp_path / "first.png").rgb, again.restore(image_io.read(source).rgb)):
        assert np.abs(result.astype(int) - expected).max() <= 1


def test_other_weights_are_another_file(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from moceir.export.cache import cached_export
    from moceir.weights import ModelFile, save

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = load(model_folder)
    next(network.parameters()).data += 0.1
    save(network, tmp_path / "other", ModelFile(model=network.config))
    paths = [cached_export(str(folder)) for folder in (model_folder, tmp_path / "other", model_folder)]
    assert paths[0] == paths[2] != paths[1]
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    restored = [Restorer.from_pretrained(path, threads=1).restore(image) for path in paths[:2]]
    assert (restored[0] != restored[1]).any()


def test_pictures_that_do_not_fit_are_restored_in_tiles(restorer: Restorer) -> None:
    image = sample_picture(300, 270)
    small = restorer._backend.needed_bytes(270, 300, SMALLEST_TILE)
    whole = restorer.restore(image)
    with pytest.warns(UserWarning, match=f"in tiles of {SMALLEST_TILE}"):
        tiled = restorer.restore(image, memory_limit=small)
    assert float((tiled - whole).abs().mean()) < 0.2 * float((whole - image).abs().mean())
    corner = restorer.restore(image[..., :SMALLEST_TILE, :SMALLEST_TILE])
    torch.testing.assert_close(tiled[..., :100, :100], corner[..., :100, :100], atol=1e-5, rtol=0)
    with pytest.raises(ImageError, match="does not fit into the memory of cpu"):
        restorer.restore(image, memory_limit=small - 1)


def test_where_memory_runs_out_tiles_are_tried(restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = restorer._backend._run  # pyright: ignore[reportAttributeAccessIssue]

    def short_of_memory(image: Any) -> Any:
        if image.shape[-1] > SMALLEST_TILE:
            raise MemoryError
        return whole(image)

    monkeypatch.setattr(restorer._backend, "_run", short_of_memory)
    assert restorer.run(np.zeros((16, 300, 3), np.uint8)).tile_px == SMALLEST_TILE


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"experts": "cheapest"}, "experts"),
        ({"effort": "low"}, "effort"),
        ({"compiled": True}, "compiled"),
        ({"device": "cuda"}, "device"),
        ({"precision": "bfloat16", "effort": -0.5}, "effort, precision"),
    ],
)
@pytest.mark.parametrize("model", [{"model": "a.onnx"}, {"model": "tiny", "backend": "onnx"}])
def test_what_an_exported_file_cannot_do_is_refused(model: dict[str, str], asked: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot follow {named}: .* use the backend torch"):
        RestoreOptions(**model, **asked)


def test_routes_are_not_made_up(restorer: Restorer, tmp_path: Path, file: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    result = restorer.run(image)
    assert result.routing == ()
    for ask in (lambda: result.report, lambda: restorer.restore(image, return_routing=True)):
        with pytest.raises(ConfigError, match="do not tell which experts"):
            ask()
    for ask in (lambda: restorer.model, lambda: restorer.device):
        with pytest.raises(ConfigError, match="torch"):
            ask()
    with pytest.raises(ConfigError, match="cannot follow experts"):
        restorer.with_experts("cheapest")
    write_picture(tmp_path / "frames" / "1.png")
    shots = run("restore", tmp_path / "frames", "-o", tmp_path / "out", "--sequence", "--model", file)
    assert shots.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_backends_and_models_that_do_not_fit(file: Path, nano: MoCEIR) -> None:
    with pytest.raises(ConfigError, match="which torch cannot run"):
        RestoreOptions(model="a.onnx", backend="torch")
    with pytest.raises(ConfigError, match=r"a\.xml is a file for OpenVINO, .*; export the model to \.onnx"):
        RestoreOptions(model="a.xml")
    with pytest.raises(ConfigError, match="needs a file"):
        Restorer(nano, backend="onnx")
    assert Restorer.from_pretrained(file, backend="onnx", threads=1).config == nano.config


def test_files_that_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(WeightsError, match=r"there is no file .*moceir export MODEL -o"):
        Restorer.from_pretrained(path)
    path.write_bytes(b"no network")
    with pytest.raises(WeightsError, match="cannot be opened"):
        Restorer.from_pretrained(path)


def test_networks_of_others(file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(WeightsError, match="does not describe a network of moceir"):
        Restorer.from_pretrained(tmp_path / "foreign.onnx")


def test_a_missing_program_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moceir.errors.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"moceir\[onnx\]"):
        Restorer.from_pretrained(file)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_forks_without_the_threads_are_refused(file: Path) -> None:
    from moceir.machine import processes

    restorer = Restorer.from_pretrained(file)
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_lost", {"onnxruntime"})
        with pytest.raises(ConfigError, match="forked from one that had used onnxruntime"):
            restorer.restore(image)
    assert restorer.restore(image).shape == image.shape


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np, psutil
from moceir.onnx_files import open_file

runtime = open_file(Path(sys.argv[1]), threads=1)
small = np.zeros((1, 3, 16, 16), np.float32)
before = runtime.run(small)
free = psutil.Process().memory_info().vms + 20 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (free, free))
try:
    runtime.run(np.zeros((1, 3, 768, 768), np.float32))
except MemoryError:
    assert np.array_equal(runtime.run(small), before)
    print("ran out, and went on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space can be limited on Linux only")
def test_the_program_says_when_memory_runs_out(file: Path) -> None:
    command = [sys.executable, "-c", SHORT_OF_MEMORY, file]
    source = {"PYTHONPATH": str(Path(image_io.__file__).parents[2])}
    done = subprocess.run(command, env=os.environ | source, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("ran out, and went on", "")
