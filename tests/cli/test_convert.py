"""``moceir convert`` end to end: weights survive both ways, and what gets lost is said or refused."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import lightning as L
import pytest
import torch
from support import run

import moceir
from moceir import MoCEIR, preset
from moceir.weights import ModelFile, read_description, save


def checksum(output: str, path: Path) -> None:
    said = re.search(r"sha256 (\w{64})", output)
    assert said
    assert said[1] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_there_and_back(golden: Path, tmp_path: Path) -> None:
    source = golden / "nano_lightning.ckpt"
    there = run("convert", source, "-o", tmp_path / "nano", "--license", "MIT")
    assert there.exit_code == 0, there.output
    parameters = sum(p.numel() for p in moceir.load(source).parameters())
    assert f"preset nano, {parameters:,} parameters, 4 experts, top-k 1" in there.stdout
    checksum(there.stdout, tmp_path / "nano" / "model.safetensors")
    description = read_description(tmp_path / "nano")
    assert description.license == "MIT"
    assert description.provenance["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()

    back = run("convert", tmp_path / "nano", "-o", tmp_path / "nano.ckpt")
    assert back.exit_code == 0, back.output
    checksum(back.stdout, tmp_path / "nano.ckpt")
    before, after = (torch.load(path, weights_only=True)["state_dict"] for path in (source, tmp_path / "nano.ckpt"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


class Published(L.LightningModule):
    """As the published code holds its network: under the name ``net``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Module()
        self.net.output = torch.nn.Conv2d(16, 3, 3, bias=False)


# It looks for one layer only, so the others are not in its network.
@pytest.mark.filterwarnings("ignore:Found keys that are not in the model state dict:UserWarning")
def test_lightning_loads_the_checkpoint(nano: MoCEIR, tmp_path: Path) -> None:
    save(nano, tmp_path / "nano", ModelFile(model=nano.config), dtype=torch.float32)
    assert run("convert", tmp_path / "nano", "-o", tmp_path / "nano.ckpt").exit_code == 0
    loaded = Published.load_from_checkpoint(tmp_path / "nano.ckpt", strict=False, map_location="cpu")
    assert torch.equal(loaded.net.output.weight, nano.output.weight)


def test_top_k_travels_by_option(tmp_path: Path) -> None:
    config = preset("nano").model_copy(update={"top_k": 2})
    save(MoCEIR(config), tmp_path / "two", ModelFile(model=config))
    result = run("convert", tmp_path / "two", "-o", tmp_path / "two.ckpt")
    assert "read this file again with --top-k 2" in result.stdout
    assert run("convert", tmp_path / "two.ckpt", "-o", tmp_path / "again", "--top-k", "2", "--half").exit_code == 0
    assert moceir.load(tmp_path / "again").config == config


def test_another_shape_has_no_preset(tmp_path: Path) -> None:
    config = preset("nano").model_copy(update={"latent_blocks": 1})
    save(MoCEIR(config), tmp_path / "own", ModelFile(model=config))
    result = run("convert", tmp_path / "own", "-o", tmp_path / "own.ckpt")
    assert "no preset (dim 16, blocks 1, 1, 1, 1, 1, 1, 1, 1)" in result.stdout


@pytest.mark.parametrize(
    "change", [{"join": "added"}, {"join": "values"}, {"gate": "straight_through"}, {"gate": "residual"}]
)
def test_what_the_published_code_does_not_know_is_refused(change: dict[str, str], tmp_path: Path) -> None:
    config = preset("nano").model_copy(update=change)
    save(MoCEIR(config), tmp_path / "own", ModelFile(model=config))
    result = run("convert", tmp_path / "own", "-o", tmp_path / "own.ckpt")
    assert result.exit_code == 1
    assert f"knows no {next(iter(change))} '{next(iter(change.values()))}'" in str(result.exception)
    assert not (tmp_path / "own.ckpt").exists()


def test_nothing_is_replaced_unasked(model_folder: Path, tmp_path: Path) -> None:
    command = ("convert", model_folder, "-o", tmp_path / "model.ckpt")
    assert run(*command).exit_code == 0
    again = run(*command)
    assert again.exit_code == 1
    assert "exists already; add --overwrite" in str(again.exception)
    assert run(*command, "--overwrite").exit_code == 0


@pytest.mark.parametrize("option", [["--top-k", "2"], ["--license", "MIT"], ["--half"]])
def test_options_of_the_other_direction(option: list[str], model_folder: Path, tmp_path: Path) -> None:
    assert run("convert", model_folder, "-o", tmp_path / "model.ckpt", *option).exit_code == 2
    assert not list(tmp_path.iterdir())
