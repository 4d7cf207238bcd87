"""Tests of figures of several pictures: groups look different, and the figure says which are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moceir.insight import PictureInsight
from moceir.restoration.reports import BlockReport, RoutingReport

pytest.importorskip("matplotlib")

from moceir.insight.figures import MOST_GROUPS, draw_groups


def picture(group: str, seed: int) -> PictureInsight:
    generator = np.random.default_rng(seed)
    scores = tuple(generator.normal(size=4).tolist())
    block = BlockReport(
        0, (int(np.argmax(scores)),), (0.25,) * 4, scores, (2, 4, 8, 16), (10, 14, 22, 38), (1, 2, 3, 4)
    )
    routing = RoutingReport((block, block), 5.0, 4.0, 8.0)
    return PictureInsight(Path(f"{group}/{seed}.png"), group, 100, 50, routing, None)


def test_groups_can_be_told_apart_and_the_smallest_are_said_to_be_missing() -> None:
    names = [f"group {letter}" for letter in "abcdefghijklmn"]
    pictures = [picture(name, 10 * number + i) for number, name in enumerate(names) for i in range(1 + (number > 1))]
    figure = draw_groups(pictures)
    shown = names[2:]
    assert len(shown) == MOST_GROUPS
    upper, lower = figure.subfigs
    assert [axes.get_title() for axes in upper.axes] == [f"{name} (2)" for name in shown]
    assert "the 2 smallest groups are not shown" in upper.get_suptitle()
    gates, costs = lower.axes
    looks = {
        (tuple(dots.get_edgecolor()[0]), len(dots.get_facecolor()), dots.get_paths()[0].vertices.tobytes())
        for dots in gates.collections
    }
    assert len(looks) == MOST_GROUPS, "groups differ in colour, fill or shape"
    legend = gates.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == shown
    figure.canvas.draw()
    assert legend.get_window_extent().x0 >= gates.get_window_extent().x1, "the legend must not cover the markers"
    assert [label.get_text() for label in costs.get_yticklabels()] == shown
    assert costs.patches[0].get_width() == 25, "5 is a quarter of the way from 4 to 8"
    assert {text.get_text() for text in costs.texts} == {f"{5e9 / 5000 / 1e3:.1f}"}, "kMACs per pixel"
