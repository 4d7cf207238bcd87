"""The trial of docs/experts.md: what is measured of a model, and what the report makes of the results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import experts
import lightning as L
import pytest
import torch
from experts import FORMS, LARGE, LARGE_FACTOR, NO_BIAS, TRIALS, form_of, large_start, main, recipe, trial_of
from experts_measures import attention_weights, changed_gates, gate_of_choice, influence_numbers, routing_numbers
from experts_report import PARTS, Trial, draw, experts_table, routes_table, tasks_table, trial_table, write_report
from PIL import Image
from support import write_photographs
from torch import Tensor

from moceir.evaluation.pages import check_parts
from moceir.models.attention import CrossMDTA, channel_attention
from moceir.models.network import MoCEIR
from moceir.weights import ModelFile, load, read_description, save


def pairs(count: int = 3) -> list[tuple[str, Tensor, Tensor]]:
    pictures = torch.rand(2 * count, 2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return [(("dark", "bright")[i % 2], (0.1 if i % 2 == 0 else 1) * p[0], p[1]) for i, p in enumerate(pictures)]


def model(**changes: Any) -> MoCEIR:
    config = recipe("nano", "published", 0).model
    assert not isinstance(config, str)
    assert config is not None
    torch.manual_seed(0)
    network = MoCEIR(config.model_copy(update=changes)).eval()
    for name, weight in network.named_parameters():
        if name.endswith("added.weight"):
            torch.nn.init.normal_(weight)
    return network


# --- measures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("form", FORMS)
def test_forms_are_named_as_they_are_built(trial: str, form: str) -> None:
    for name in (form, form + NO_BIAS):
        config = recipe(trial, name, 7).model
        assert config is not None
        assert not isinstance(config, str)
        description = ModelFile(model=config, training=recipe(trial, name, 7).model_dump(mode="json"))
        assert (trial_of(description), form_of(description)) == (trial, name)
        assert recipe(trial, name, 7).seed == 7
        assert config.complexity_bias == (name == form)


def test_a_large_start_changes_only_what_experts_add(tmp_path: Path) -> None:
    folder = large_start(recipe("nano", "added_st" + LARGE, 7), tmp_path / f"start{LARGE}")
    description = ModelFile(model=read_description(folder).model, provenance={"start": str(folder)})
    assert form_of(description) == "added_st" + LARGE
    L.seed_everything(7, verbose=False)
    plain, large = MoCEIR(description.model).state_dict(), load(folder).state_dict()
    factors = {name: float((large[name] / plain[name]).nanmedian()) for name in plain if plain[name].any()}
    grown = {name for name, factor in factors.items() if factor != 1}
    assert grown
    assert all(name.endswith(("expand.weight", "modulate.weight")) for name in grown)
    assert {factors[name] for name in grown} == {LARGE_FACTOR}


def test_routing_numbers_of_a_network() -> None:
    numbers = routing_numbers(model(join="added"), pairs())
    assert [len(numbers["psnr_db"][task]) for task in ("dark", "bright")] == [3, 3]
    assert numbers["effort"].keys() == {"-1", "0", "1"}
    for task in ("dark", "bright"):
        low, auto, high = (numbers["effort"][effort][task] for effort in ("-1", "0", "1"))
        assert low[1] <= auto[1] <= high[1]
        assert auto[0] == pytest.approx(sum(numbers["psnr_db"][task]) / 3, abs=1e-3)
    assert numbers["levels"] > 0
    assert numbers["information"].keys() == {"block 0 (1/4)", "block 1 (1/2)", "block 2 (1/1)", "whole route"}
    assert numbers["forced"].keys() == numbers["forced_gate_kept"].keys()
    assert numbers["forced"] != numbers["forced_gate_kept"]
    json.dumps(numbers)


def test_where_gates_cannot_differ_experts_are_forced_once() -> None:
    assert "forced_gate_kept" not in routing_numbers(model(), pairs(1))
    assert "forced_gate_kept" not in routing_numbers(model(join="added", gate="straight_through"), pairs(1))


def test_the_gate_of_the_choice_is_that_of_the_choice() -> None:
    network, image = model(), pairs(1)[0][1]
    with torch.no_grad():
        own = network.restore_with_routing(image)[1]
        with changed_gates(network.routers(), gate_of_choice):
            others = [(int(decision.experts[0, 0]) + 1) % 4 for decision in own]
            forced = network.restore_with_routing(image, routes=torch.tensor(others).view(3, 1, 1))[1]
        after = network.restore_with_routing(image)[1]
    torch.testing.assert_close(forced[0].gates, own[0].gates)
    assert all(torch.equal(a.gates, b.gates) for a, b in zip(after, own, strict=True)), "the hooks are gone"


def test_influence_of_the_published_join_and_of_added_experts() -> None:
    published, added = (influence_numbers(model(join=join), pairs(1)) for join in ("published", "added"))
    assert published["router_gradient"] < 1e-14 < 1e-9 < added["router_gradient"]
    assert published["gate_doubled"] < 1e-9 < 1e-3 < added["gate_doubled"]
    assert len(published["blocks"]) == 3
    for block, other in zip(published["blocks"], added["blocks"], strict=True):
        assert 0 < block["influence"] < other["influence"]
        mean, largest = block["moved"]
        assert 0 < mean < largest < block["bound"] == pytest.approx(0.761594, abs=1e-6), "tanh(1)"


def test_what_experts_add_is_measured_against_their_input() -> None:
    network = model()
    small = influence_numbers(network, pairs(1))["blocks"][0]
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if ".experts." in name and name.endswith(".expand.weight"):
                weight *= 3
    assert small["own"] < 0.01, "as docs/experts.md says of random weights"
    large = influence_numbers(network, pairs(1))["blocks"][0]
    assert large["own"] == pytest.approx(3 * small["own"])
    assert large["influence"] > small["influence"]


def test_attention_weights_are_those_that_mix_the_values() -> None:
    torch.manual_seed(0)
    cross, maps = CrossMDTA(8, 2), torch.rand(2, 3, 8, 5, 4)
    weights = attention_weights(cross, *maps)
    assert weights.shape == (3, 8, 4)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 8))
    q, k, v = cross.project(*maps)
    mixed = weights.unflatten(1, (2, 4)) @ v.unflatten(1, (2, 4)).flatten(3)
    torch.testing.assert_close(mixed.reshape(v.shape), channel_attention(q, k, v, cross.temperature))


# --- report -----------------------------------------------------------------------------------------------------------


def result(name: str, seed: int | None, gain: float = 0.0) -> dict[str, Any]:
    """A run with two tasks of two pictures, better by a gain than the published form of that seed."""
    base = 30 + (seed or 0)
    return {
        "trial": "nano",
        "name": name,
        "seed": seed,
        "steps": 1200,
        "patch_px": 128,
        "gmacs": [1.0, 1.2],
        "psnr_db": {"rain": [base + gain, base + gain + 0.1], "clean": [40 + 3 * gain, 40 + 3 * gain]},
        "forced": {"expert 0 everywhere": {"rain": -0.2, "clean": 0.1}},
        "levels": 0.5,
        "effort": {
            "-1": {"rain": [30, 1], "clean": [40, 1]},
            "0": {"rain": [30.2, 1.1], "clean": [40, 1]},
            "1": {"rain": [30.3, 1.2], "clean": [40.1, 1.2]},
        },
        "information": {"block 0 (1/4)": [1.5, 0.5, 0.6], "whole route": [2.0, 0.8, 0.9]},
        "unused": [[0, 1]],
        "router_gradient": 1e-17,
        "gate_doubled": 0.0,
        "blocks": [{"influence": 0.02, "own": 0.1, "moved": [0.1, 0.3], "bound": 0.8}],
    }


def trial(gains: list[float], published: int = 3) -> Trial:
    runs = [result("published", seed) for seed in range(1, published + 1)]
    return Trial([*runs, *(result("added", seed, gain) for seed, gain in enumerate(gains, start=1))])


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([0.1, 0.2, 0.02], "wins"),  # tasks weigh alike, so that the mean gain is twice these
        ([0.04, 0.04, 0.04], "does not win"),
        ([0.5, 0.5, -0.01], "does not win"),
        ([0.5, 0.5], "not yet (2 of 3 seeds)"),
        ([0.5, -0.01], "does not win"),
    ],
    ids=["all agree", "too little", "one disagrees", "too few", "too few, but decided"],
)
def test_the_decision_of_the_protocol(gains: list[float], verdict: str) -> None:
    assert trial(gains).verdict("added") == verdict


def test_only_seeds_of_both_forms_are_compared() -> None:
    few = trial([0.5, 0.5, 0.5], published=1)
    assert few.shared("added") == [1]
    assert few.verdict("added") == "not yet (1 of 3 seeds)"
    assert Trial([result("added", 1)]).compared == []


def rows(lines: list[str]) -> dict[str, list[str]]:
    table = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
    return {row[0]: row[1:] for row in table[2:]}


def test_tables_show_differences_and_their_spread() -> None:
    measured = trial([0.1, 0.3])
    row = rows(trial_table(measured))["added"]
    assert row[2:5] == ["+0.200 ± 0.000", "+0.600 ± 0.000", ""]
    assert row[5:7] == ["+0.400 ± 0.283", "+0.200 ± 0.141"]
    assert rows(tasks_table(measured))["rain"] == ["32.050 ± 1.000", "+0.200 ± 0.141"]
    assert "does not decide yet" in trial_table(measured)[0]
    assert "these forms win: added" in trial_table(trial([0.1, 0.2, 0.2]))[0]
    assert "no form wins" in trial_table(trial([0.0, 0.2, -0.2]))[0]


def test_experts_table_takes_forced_experts_and_effort_from_the_results() -> None:
    row = rows(experts_table(trial([0.1])))["added"]
    assert row[:3] == ["1", "0.150", "-0.200"]
    assert row[5] == "+0.050", "expert 0 gains 0.1 dB on clean pictures; in rain, the routers' choice is better"
    assert row[7:] == ["+0.200", "+0.100 (clean)", "+0.300 (rain)"]


def test_routes_table_takes_information_and_cost_from_the_results() -> None:
    assert rows(routes_table(trial([0.1])))["added"] == ["1.20", "1.00", "1.0", "1.050"]


def test_the_figure_draws_each_seed() -> None:
    left, right = draw(trial([0.1, 0.3])).axes
    assert len(left.containers) == 2
    drawn = [line.get_ydata().tolist() for line in right.lines if len(line.get_ydata())]
    assert drawn == [[0.2, 0.1]] * 5, "three runs of the published form and two of the other"


def test_the_page_has_a_place_for_every_part() -> None:
    check_parts(experts.PAGE, PARTS)


def test_results_in_the_repository_make_the_report(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "experts.md"
    (page.parent / "images").mkdir(parents=True)
    page.write_text(experts.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    write_report(experts.RESULTS, page)
    assert page.read_text(encoding="utf-8") == experts.PAGE.read_text(encoding="utf-8"), (
        "run: studies/experts.py report"
    )
    with Image.open(page.parent / "images" / "experts.png") as drawing:
        assert drawing.format == "PNG"


def test_one_command_measures_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("routing_tasks.PATCH_PX", 16)
    monkeypatch.setattr("experts_measures.PATCH_PX", 16)
    monkeypatch.setattr("routing_tasks.SHUFFLES", 3)
    page = tmp_path / "docs" / "page.md"
    (page.parent / "images").mkdir(parents=True)
    page.write_text("".join(f"<!-- measured: {name} -->\n<!-- end -->\n" for name in PARTS), encoding="utf-8")
    monkeypatch.setattr(experts, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(experts, "PAGE", page)
    (tmp_path / "results").mkdir()
    for form in ("published", "added"):
        settings = recipe("nano", form, 1)
        network = model(join=form)
        description = ModelFile(model=network.config, training=settings.model_dump(mode="json"))
        save(network, tmp_path / "runs" / f"{form}-1" / "best", description)
    (tmp_path / "runs" / "values-1").mkdir()
    photographs = write_photographs(tmp_path / "photographs", 24)
    runs = sorted(str(folder) for folder in (tmp_path / "runs").iterdir())
    command = ["experts.py", "measure", *runs, "--photographs", str(photographs), "--pictures", "1"]
    monkeypatch.setattr(sys, "argv", command)
    threads = torch.get_num_threads()
    try:
        main()
        printed = capsys.readouterr().out
        main()
    finally:
        torch.set_num_threads(threads)
    assert "values-1: not finished" in printed
    assert capsys.readouterr().out.count("measured before") == 2
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"nano-published-1.json", "nano-added-1.json"}
    text = page.read_text(encoding="utf-8")
    assert text.count("\n| added |") == 3, "quality, experts, routes"
    assert any(verdict in text for verdict in ("not yet (1 of 3 seeds)", "does not win"))
