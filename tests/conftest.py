"""Fixtures shared by all tests: the golden vectors and networks with known weights."""

import json
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.weights import ModelFile, load, save
from moceir.weights.published import from_published, to_published


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden vectors; its README says how they were made."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def manifest(golden: Path) -> dict[str, Any]:
    """Configuration, parameter count and every published key of the golden networks."""
    return json.loads((golden / "manifest.json").read_text(encoding="utf-8"))


def rule_tensor(key: str, shape: list[int]) -> Tensor:
    """The weights that the golden README prescribes for a published key."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    z = generator.standard_normal(shape).astype(np.float32)
    if key.endswith("temperature"):
        z = 1 + 0.1 * z
    elif ".norms." in key or ".norm." in key:
        z = 1 + 0.1 * z if key.endswith("weight") else 0.1 * z
    elif key.endswith("bias"):
        z = 0.1 * z
    else:
        z = z / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(z, dtype=np.float32))


@pytest.fixture(scope="session")
def golden_network(manifest: dict[str, Any]) -> Callable[[str], MoCEIR]:
    """Build a network of the manifest with the weights of the rule, in evaluation mode; do not change it."""

    @cache
    def build(name: str) -> MoCEIR:
        complexity = {
            key: value
            for key, value in to_published(MoCEIR(preset(name.split("_")[0]))).items()
            if key.endswith("routing.complexity")
        }
        weights = {
            key: complexity[key] if key in complexity else rule_tensor(key, shape)
            for key, (shape, _) in manifest[name]["keys"].items()
        }
        return from_published(weights, top_k=manifest[name]["config"]["topk"])

    return build


@pytest.fixture
def spread_nano(golden: Path) -> MoCEIR:
    """A small network whose routes differ from image to image, in evaluation mode."""
    return load(golden / "nano_lightning.ckpt")


@pytest.fixture
def nano() -> MoCEIR:
    """A small freshly initialised network, always the same, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MoCEIR(preset("nano")).eval()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with seeded random weights in a folder: fast, and its output differs from its input."""
    folder = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save(MoCEIR(preset("nano")), folder, ModelFile(model=preset("nano")))
    return folder
