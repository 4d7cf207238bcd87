"""Models on the Hub: published, downloaded once, checked, and used offline, through huggingface_hub itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
import yaml
from fake_hub import FakeHub, serving
from huggingface_hub import constants
from support import run, write_picture

import moceir
from moceir import MoCEIR, image_io
from moceir.errors import MissingExtraError, OutputError, WeightsError
from moceir.weights import ModelFile, hub, load, read_description, save

NAME = "someone/nano"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[FakeHub]:
    """An empty Hub, and an empty cache."""
    with serving() as server:
        # huggingface_hub reads HF_ENDPOINT and HF_HUB_CACHE when it is imported, so these come too late here.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
        yield server


@pytest.fixture
def published(fake: FakeHub, nano: MoCEIR) -> FakeHub:
    """A Hub that has a model."""
    nano.push_to_hub(NAME, description=ModelFile(model=nano.config, license="Apache-2.0", results={"psnr_db": 30.5}))
    return fake


def metadata(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n")[1])


def equal(first: MoCEIR, second: MoCEIR) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key].half(), theirs[key].half()) for key in ours)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_there_and_back(nano: MoCEIR, tmp_path: Path) -> None:
    description = ModelFile(model=nano.config, license="MIT", results={"psnr_db": 30.5})
    nano.train().save_pretrained(tmp_path / "mine", description=description)
    again = MoCEIR.from_pretrained(tmp_path / "mine")
    assert equal(again, nano)
    assert not again.training
    assert read_description(tmp_path / "mine") == description
    card = (tmp_path / "mine" / "README.md").read_text()
    assert metadata(card)["license"] == "mit"
    assert metadata(card)["pipeline_tag"] == "image-to-image"
    assert card.split("---\n")[2].startswith("\n# mine\n")


def test_bundled_models_by_the_method() -> None:
    assert equal(MoCEIR.from_pretrained("tiny"), load("tiny"))


@pytest.mark.parametrize("license", ["unknown", "Research use: see the card."])
def test_a_licence_that_is_a_sentence(license: str, nano: MoCEIR, tmp_path: Path) -> None:
    nano.save_pretrained(tmp_path, description=ModelFile(model=nano.config, license=license))
    card = (tmp_path / "README.md").read_text()
    assert metadata(card)["license"] == "other"
    assert license in card


def test_a_card_keeps_its_text(nano: MoCEIR, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Mine\n\nWritten by hand.\n")
    nano.save_pretrained(tmp_path)
    first = (tmp_path / "README.md").read_text()
    assert first.endswith("---\n\n# Mine\n\nWritten by hand.\n")
    nano.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == first


# --- the Hub ----------------------------------------------------------------------------------------------------------


def test_what_is_published_comes_back(published: FakeHub, nano: MoCEIR) -> None:
    assert sorted(published.repositories[NAME]) == ["README.md", "config.json", "model.safetensors"]
    again = MoCEIR.from_pretrained(NAME)
    assert equal(again, nano)
    assert not again.training
    card = published.repositories[NAME]["README.md"].decode()
    assert metadata(card)["license"] == "apache-2.0"
    assert f'from_pretrained("{NAME}")' in card


def test_a_model_is_downloaded_once(published: FakeHub) -> None:
    moceir.load(NAME)
    assert any("resolve" in request for request in published.requests)
    published.requests.clear()
    moceir.load(NAME)
    assert published.requests == []


def test_only_weights_and_descriptions_are_fetched(published: FakeHub) -> None:
    published.repositories[NAME] |= {"extra.ckpt": b"pickle", "model.py": b"import os", "signatures.json": b"{}"}
    folder = hub.fetch(NAME)
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "signatures.json",
    }


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_damaged_download_is_refused_and_fetched_again(published: FakeHub, nano: MoCEIR, damage: str) -> None:
    stored = (hub.fetch(NAME) / "model.safetensors").resolve()
    content = stored.read_bytes()
    stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage == "changed" else content[:-100])
    with pytest.raises(WeightsError, match=f"of {NAME} is damaged .* run this again"):
        moceir.load(NAME)
    assert equal(moceir.load(NAME), nano)


def test_weights_that_git_keeps_are_checked_too(published: FakeHub) -> None:
    published.large_files = False
    stored = (hub.fetch(NAME) / "model.safetensors").resolve()
    assert len(stored.name) == 40
    hub.fetch(NAME)
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="is damaged"):
        hub.fetch(NAME)


def test_a_repository_without_weights(published: FakeHub) -> None:
    del published.repositories[NAME]["model.safetensors"]
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        moceir.load(NAME)


def test_a_model_that_is_not_there(fake: FakeHub) -> None:
    with pytest.raises(WeightsError, match="no model 'someone/else' here, and it cannot be fetched") as caught:
        moceir.load("someone/else")
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached(nano: MoCEIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="check the name and the connection"):
        moceir.load(NAME)
    with pytest.raises(OutputError, match="the Hub did not take"):
        nano.push_to_hub(NAME)


def test_a_hub_that_refuses(fake: FakeHub, nano: MoCEIR) -> None:
    fake.refuse_writes = True
    with pytest.raises(OutputError, match="HF_TOKEN"):
        nano.push_to_hub(NAME)


def test_folders_come_before_the_hub(nano: MoCEIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(nano, Path(NAME), ModelFile(model=nano.config))
    assert equal(moceir.load(NAME), nano)


@pytest.mark.parametrize("path", ["runs/none.ckpt", "./none", "/none", "no/such/folder", "../none"])
def test_paths_are_not_looked_up(path: str) -> None:
    with pytest.raises(WeightsError, match=r"there is no model '.*': give a bundled name"):
        moceir.load(path)


def test_a_name_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("moceir.errors.find_spec", lambda name: None if name == "huggingface_hub" else found(name))
    with pytest.raises(MissingExtraError, match=r"moceir\[hub\]"):
        moceir.load(NAME)


def test_the_command_line_offline_after_the_first_time(published: FakeHub, tmp_path: Path) -> None:
    write_picture(tmp_path / "photo.png")
    assert run("restore", tmp_path / "photo.png", "-o", tmp_path / "first.png", "-m", NAME).exit_code == 0
    command = [sys.executable, "-m", "moceir", "restore", tmp_path / "photo.png", "-o", tmp_path / "second.png"]
    environment = {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [*command, "-m", NAME], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = (image_io.read(tmp_path / f"{name}.png").rgb for name in ("first", "second"))
    assert (first == second).all()
