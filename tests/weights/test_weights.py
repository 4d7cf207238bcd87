"""Weights survive being written and read, and nothing but fitting numbers is read."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from moceir import weights
from moceir.config import ModelConfig
from moceir.errors import OutputError, WeightsError
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.weights import ModelFile, load, save
from moceir.weights.published import from_published, infer_config, to_published
from moceir.weights.tensors import read_checkpoint


def refusal(path: Path | str, named: Path | str) -> str:
    """The message for a model that cannot be loaded; it must be one line and name the file at fault."""
    with pytest.raises(WeightsError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(named) in message
    return message


@pytest.fixture
def folder(nano: MoCEIR, tmp_path: Path) -> Path:
    """A valid model folder."""
    save(nano, tmp_path / "model", ModelFile(model=nano.config))
    return tmp_path / "model"


def published(network: MoCEIR, prefix: str = "net.") -> dict[str, Tensor]:
    return {prefix + key: value for key, value in to_published(network).items()}


# --- the published layout ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "net."])
def test_round_trip_through_the_published_layout_is_exact(nano: MoCEIR, prefix: str) -> None:
    again = from_published(published(nano, prefix))
    assert again.config == nano.config
    assert not again.training
    ours, theirs = nano.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_published_names_are_one_to_one(nano: MoCEIR) -> None:
    assert len(to_published(nano)) == len(nano.state_dict())


def test_what_stands_beside_the_network_in_a_lightning_checkpoint_is_left_out(nano: MoCEIR) -> None:
    state = published(nano) | {"metric.total": torch.zeros(())}
    assert from_published(state).config == nano.config


def test_top_k_is_taken_from_the_caller(nano: MoCEIR) -> None:
    assert from_published(published(nano), top_k=2).config == nano.config.model_copy(update={"top_k": 2})


@pytest.mark.parametrize(
    "config",
    [
        preset("nano"),
        preset("tiny"),
        preset("small"),
        ModelConfig(dim=8, encoder_blocks=(1, 2, 3), latent_blocks=1, decoder_blocks=(3, 2, 1), experts=3),
        ModelConfig(
            dim=16, encoder_blocks=(11, 0, 1), decoder_blocks=(1, 1, 0), heads=(8, 4, 2, 1), refinement_blocks=0
        ),
    ],
    ids=["nano", "tiny", "small", "three experts", "odd"],
)
def test_shapes_alone_give_the_configuration(config: ModelConfig) -> None:
    with torch.device("meta"):
        network = MoCEIR(config)
    assert infer_config(to_published(network)) == config


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsError, match="does not hold the weights of a MoCE-IR network"):
        from_published({"conv.weight": torch.zeros(3, 3, 3, 3)})


def drop(state: dict[str, Tensor]) -> None:
    del state["net.output.weight"]


def add(state: dict[str, Tensor]) -> None:
    state["net.extra.weight"] = torch.zeros(1)


def reshape(state: dict[str, Tensor]) -> None:
    state["net.output.weight"] = torch.zeros(3, 16, 5, 5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop, "lacks 1 tensors, the first is 'output.weight'"),
        (add, "has unknown 1 tensors, the first is 'extra.weight'"),
        (reshape, "has wrong shapes for 1 tensors, the first is 'output.weight'"),
    ],
)
def test_checkpoint_that_does_not_fit(nano: MoCEIR, change: Callable[[dict[str, Tensor]], None], said: str) -> None:
    state = published(nano)
    change(state)
    with pytest.raises(WeightsError) as caught:
        from_published(state)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [drop, add, reshape, dict.clear])
def test_checkpoint_that_does_not_fit_names_the_file(
    nano: MoCEIR, tmp_path: Path, change: Callable[[dict[str, Tensor]], None]
) -> None:
    state = published(nano)
    change(state)
    torch.save({"state_dict": state}, tmp_path / "model.ckpt")
    refusal(tmp_path / "model.ckpt", tmp_path / "model.ckpt")


# --- our folders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_saved_network_comes_back(nano: MoCEIR, tmp_path: Path, dtype: torch.dtype) -> None:
    description = ModelFile(model=nano.config, license="CC-BY-4.0", results={"psnr_db": 30.5}, training={"steps": 3})
    save(nano, tmp_path / "new" / "model", description, dtype=dtype)
    again = load(tmp_path / "new" / "model")
    assert again.config == nano.config
    assert not again.training
    stored = load_file(tmp_path / "new" / "model" / "model.safetensors")
    for key, value in nano.state_dict().items():
        assert stored[key].dtype == dtype
        assert again.state_dict()[key].dtype == torch.float32
        assert torch.equal(again.state_dict()[key], value.to(dtype).float())
    assert weights.read_description(tmp_path / "new" / "model") == description
    assert sorted(p.name for p in (tmp_path / "new" / "model").iterdir()) == ["config.json", "model.safetensors"]


def test_saved_network_computes_the_same(nano: MoCEIR, tmp_path: Path) -> None:
    save(nano, tmp_path, ModelFile(model=nano.config), dtype=torch.float32)
    images = torch.rand(1, 3, 20, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(load(str(tmp_path))(images), nano(images))


def test_top_k_and_bias_travel_with_the_weights(tmp_path: Path) -> None:
    config = preset("nano").model_copy(update={"top_k": 3, "complexity_bias": False})
    save(MoCEIR(config), tmp_path, ModelFile(model=config))
    assert load(tmp_path).config == config


def test_description_of_another_network_is_refused_before_anything_is_written(nano: MoCEIR, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="configuration is not that of the network"):
        save(nano, tmp_path / "model", ModelFile(model=preset("tiny")))
    assert not (tmp_path / "model").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "config.json")}


def test_weights_that_cannot_be_written_leave_the_old_files_whole(
    nano: MoCEIR, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder)

    def full_disk(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        save(nano, folder, ModelFile(model=nano.config, license="new"))
    assert contents(folder) == before


def test_description_that_cannot_be_written_leaves_both_old_files_whole(nano: MoCEIR, folder: Path) -> None:
    before = contents(folder)
    with torch.no_grad():
        nano.output.weight += 1
    with pytest.raises(Exception, match="serialize"):
        save(nano, folder, ModelFile(model=nano.config, provenance={"object": object()}))
    assert contents(folder) == before


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tinny", "no/such/folder"])
def test_unknown_name(name: str) -> None:
    assert "bundled name" in refusal(name, name)


def test_missing_folder(tmp_path: Path) -> None:
    refusal(tmp_path / "none", tmp_path / "none")


def test_empty_folder(tmp_path: Path) -> None:
    refusal(tmp_path, tmp_path / "config.json")


def test_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refusal(folder, folder / "model.safetensors")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_folder_in_place_of_a_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    refusal(folder, folder / name)


@pytest.mark.parametrize("damage", ["empty", "short", "cut", "noise", "text"])
def test_damaged_weights(folder: Path, damage: str) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    damaged = {"empty": b"", "short": whole[:4], "cut": whole[:-1000], "noise": b"\xff" * 200, "text": b"hello\n" * 50}
    path.write_bytes(damaged[damage])
    refusal(folder, path)


@pytest.mark.parametrize(("change", "said"), [(drop, "lacks"), (add, "has unknown"), (reshape, "has wrong shapes for")])
def test_weights_that_do_not_fit_the_configuration(
    folder: Path, change: Callable[[dict[str, Tensor]], None], said: str
) -> None:
    path = folder / "model.safetensors"
    state = {f"net.{key}": value for key, value in load_file(path).items()}
    change(state)
    save_file({key.removeprefix("net."): value for key, value in state.items()}, path)
    message = refusal(folder, folder)
    assert f"{said} 1 tensors" in message
    assert "'extra.weight'" in message or "'output.weight'" in message


def test_configuration_of_another_network(folder: Path) -> None:
    description = ModelFile(model=preset("tiny"))
    (folder / "config.json").write_text(description.model_dump_json(), encoding="utf-8")
    assert "lacks" in refusal(folder, folder)


def edited(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_configuration_with_an_unknown_key(folder: Path) -> None:
    path = edited(folder, lambda c: c["model"].update(latent_block=3))
    assert "unknown key 'model.latent_block'; did you mean 'latent_blocks'?" in refusal(folder, path)


def test_configuration_with_an_unknown_key_at_the_top(folder: Path) -> None:
    path = edited(folder, lambda c: c.update(licence="MIT"))
    assert "unknown key 'licence'; did you mean 'license'?" in refusal(folder, path)


def test_configuration_without_a_network(folder: Path) -> None:
    path = edited(folder, lambda c: c.pop("model"))
    assert "key 'model' is missing" in refusal(folder, path)


def test_configuration_of_an_impossible_network(folder: Path) -> None:
    path = edited(folder, lambda c: c["model"].update(dim=12))
    assert "dim is 12, but 4 experts need a multiple of 8" in refusal(folder, path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"hello", b"null", b"\xff\xfe{}"])
def test_configuration_that_is_no_json_object(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    refusal(folder, folder / "config.json")


def test_message_about_a_long_broken_configuration_stays_short(folder: Path) -> None:
    (folder / "config.json").write_text("not JSON\n" * 1000, encoding="utf-8")
    assert len(refusal(folder, folder / "config.json")) < 1000


# --- checkpoints ------------------------------------------------------------------------------------------------------


class Dangerous:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_checkpoint_with_code_is_refused_and_the_code_not_run(nano: MoCEIR, tmp_path: Path, zipped: bool) -> None:
    path, target = tmp_path / "model.ckpt", tmp_path / "written by the checkpoint"
    content = {"state_dict": published(nano), "hyper_parameters": Dangerous(target)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    message = refusal(path, path)
    assert "refused" in message
    assert "system" in message, "the message names what was refused"
    assert not target.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_bare_pickle_with_code_is_refused_and_the_code_not_run(tmp_path: Path, protocol: int) -> None:
    path, target = tmp_path / "model.ckpt", tmp_path / "written by the checkpoint"
    path.write_bytes(pickle.dumps(Dangerous(target), protocol=protocol))
    try:
        refusal(path, path)
    finally:
        assert not target.exists()


def test_the_dangerous_checkpoint_would_run_if_it_were_trusted(tmp_path: Path) -> None:
    target = tmp_path / "written by the checkpoint"
    torch.save(Dangerous(target), tmp_path / "model.ckpt")
    torch.load(tmp_path / "model.ckpt", weights_only=False)
    assert target.exists()


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_truncated_checkpoint(golden: Path, tmp_path: Path, kept: float) -> None:
    whole = (golden / "nano_lightning.ckpt").read_bytes()
    path = tmp_path / "model.ckpt"
    path.write_bytes(whole[: int(kept * len(whole))])
    assert "cannot be read as a checkpoint" in refusal(path, path)


TEXTS = [
    "hello world\nthis is text\n",
    "# Model card\n",
    "version https://git-lfs.github.com/spec/v1\n",
    "<html>",
    "{}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_named_as_a_checkpoint(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.ckpt"
    path.write_text(text, encoding="utf-8")
    refusal(path, path)


@pytest.mark.parametrize("text", ["a picture", "epoch,psnr\n", "steps: 3\n", "best weights\n"])
def test_text_that_looks_like_a_pickle(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.ckpt"
    path.write_text(text, encoding="utf-8")
    refusal(path, path)


def test_text_is_not_accused_of_holding_code(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_text("<html>not found</html>", encoding="utf-8")
    assert "could run code" not in refusal(path, path)


@pytest.mark.parametrize(
    "content",
    [{"epoch": 3, "name": "x"}, [torch.zeros(2)], torch.zeros(2), {"state_dict": None}, {"state_dict": {"a": 1}}, 5],
    ids=["no tensors", "list", "tensor", "None", "numbers", "number"],
)
def test_checkpoint_without_a_state_dict(tmp_path: Path, content: object) -> None:
    path = tmp_path / "model.ckpt"
    torch.save(content, path)
    assert "holds no state dict" in refusal(path, path)


def test_checkpoint_whose_names_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({1: torch.zeros(2)}, path)
    refusal(path, path)


def test_checkpoint_of_a_bare_state_dict(nano: MoCEIR, tmp_path: Path) -> None:
    torch.save(published(nano, prefix=""), tmp_path / "model.pt")
    assert read_checkpoint(tmp_path / "model.pt").keys() == to_published(nano).keys()
    assert load(tmp_path / "model.pt").config == nano.config


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.ckpt cannot be read"):
        read_checkpoint(tmp_path / "none.ckpt")
