"""Tests of signatures: distances against the direct formula, unknown pictures, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from moceir.errors import WeightsError
from moceir.insight.signatures import (
    SHRINKAGE,
    SIGNATURES_FILE,
    UNKNOWN,
    Signatures,
    confusion,
    fingerprint,
    learn_signatures,
    load_signatures,
)
from moceir.insight.validation import Sighting
from moceir.models.network import MoCEIR
from moceir.weights import ModelFile, save

TASKS = ("noise", "rain", "haze")
CENTRES = torch.tensor([[0.0, 0, 0, 0, 0], [9, 0, 0, 0, 0], [0, 9, 9, 0, 0]])
MIXING = torch.tensor([[1, 0.6, 0, 0, 0], [0, 1, 0, 0, 0.9], [0, 0, 0.2, 0, 0], [0, 0, 0, 1, 0.1], [0, 0, 0, 0, 3]])


def sightings(count: int, seed: int) -> list[Sighting]:
    """Draw clouds of points around the centres, all with the same covariance."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Sighting(task, centre + MIXING @ torch.randn(5, generator=generator), ())
        for task, centre in zip(TASKS, CENTRES, strict=True)
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def signatures() -> Signatures:
    return learn_signatures(sightings(60, 0), TASKS, weights="abc", patch_px=64, seed=0)


def direct_squares(seen: list[Sighting], features: Tensor) -> list[float]:
    """Compute the squared distances to all centres directly, with the inverse of the shrunk scatter."""
    rows = torch.stack([sighting.features for sighting in seen]).double()
    scales = rows.std(dim=0)
    groups = [torch.stack([s.features.double() for s in seen if s.task == task]) / scales for task in TASKS]
    scatter = sum((g - g.mean(0)).T @ (g - g.mean(0)) for g in groups) / (len(seen) - len(TASKS))
    scatter = (1 - SHRINKAGE) * scatter + SHRINKAGE * scatter.trace() / 5 * torch.eye(5)
    away = [features.double() / scales - group.mean(0) for group in groups]
    return [float(a @ torch.linalg.inv(scatter) @ a) for a in away]


def test_probabilities_are_those_of_distances_in_all_dimensions(signatures: Signatures) -> None:
    for sighting in sightings(4, seed=1):
        features = 0.5 * sighting.features + 2.0
        squares = torch.tensor(direct_squares(sightings(60, 0), features))
        expected = (-squares / 2).softmax(dim=0).tolist()
        found = signatures.guess(features).probabilities
        assert [found[task] for task in TASKS] == pytest.approx(expected, abs=1e-4)
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_unseen_pictures_are_told_apart_and_counted(signatures: Signatures) -> None:
    table = confusion(signatures, sightings(50, seed=2))
    measured = signatures.model_copy(update={"confusion": table})
    for task in TASKS:
        assert sum(table[task].values()) == 50
        assert measured.accuracy(task) > 0.9
    counts = {"noise": {"noise": 6, "rain": 2}, "rain": {"rain": 3}, "low_rain": {"rain": 9}}
    counted = signatures.model_copy(update={"confusion": counts})
    assert counted.precision("rain") == 3 / 5, "composites must not count in the precision of single tasks"
    assert counted.precision("haze") is None
    assert counted.accuracy("noise") == 6 / 8


def test_what_is_far_from_all_or_between_two_is_unknown(signatures: Signatures) -> None:
    assert signatures.guess(CENTRES[1]).task == "rain"
    far = signatures.guess(CENTRES[1] * 4)
    assert far.task == UNKNOWN
    assert far.precision is None
    assert next(iter(far.probabilities)) == "rain", "the nearest task must still come first"
    assert far.distance > signatures.farthest
    patient = signatures.model_copy(update={"farthest": 1e9, "centres": ((0.0, 0.0),) * 3})
    assert patient.guess(CENTRES[0]).task == UNKNOWN, "three tasks with the same centre are equally likely"


def test_features_of_another_network_are_refused(signatures: Signatures) -> None:
    with pytest.raises(WeightsError, match="5 features, but the network gives 7"):
        signatures.guess(torch.zeros(7))


def test_signatures_travel_with_their_weights_alone(signatures: Signatures, nano: MoCEIR, tmp_path: Path) -> None:
    save(nano, tmp_path, ModelFile(model=nano.config))
    with pytest.raises(WeightsError, match="no signatures; make them with: moceir signatures"):
        load_signatures(tmp_path)
    path = tmp_path / SIGNATURES_FILE
    own = signatures.model_copy(update={"weights": fingerprint(tmp_path)})
    own.save(path)
    assert load_signatures(tmp_path) == own
    signatures.save(path)
    with pytest.raises(WeightsError, match="other weights"):
        load_signatures(tmp_path)
    path.write_text("{}")
    with pytest.raises(WeightsError, match="holds no signatures"):
        load_signatures(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match=r"signatures\.json"):
        load_signatures(tmp_path)


def test_a_checkpoint_has_no_place_for_signatures(golden: Path) -> None:
    with pytest.raises(WeightsError, match="no signatures"):
        load_signatures(golden / "nano_lightning.ckpt")
    with pytest.raises(WeightsError, match="need a model folder"):
        fingerprint(golden / "nano_lightning.ckpt")
