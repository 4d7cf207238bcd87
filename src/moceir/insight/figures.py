"""Figures of routes, for one picture or for groups of pictures.

Text is grey and the background is transparent, so that figures can be read on light and dark pages. The colours can be
told apart by colour-blind readers: ordered quantities (experts, probabilities) use cividis; groups use the palette of
Okabe and Ito, with a different marker each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moceir.errors import OutputError, require_extra
from moceir.files import whole_file
from moceir.insight.signatures import UNKNOWN
from moceir.insight.survey import PictureInsight, principal_map, usage_by_group
from moceir.restoration.reports import block_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
INK = "#7a7a7a"
"""A grey with a contrast above 4 to white and to black."""
GROUP_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
GROUP_MARKS = ("o", "s", "^", "D", "v", "P", "X")
"""Markers. Their number differs from that of the colours, so that a pair of both repeats late."""
MOST_GROUPS = 12
"""Largest number of groups in a figure. The smallest groups beyond it are left out, and the title says so."""
LEVELS = 255
"""Difference between black and white in 8-bit levels."""


def check_figure(path: Path) -> None:
    """Check that a figure can be drawn and saved, before anything is measured.

    Args:
        path: File to write later.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        OutputError: If the suffix is not one of ``SUFFIXES``.
    """
    require_extra("matplotlib", "inspect")
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"cannot draw {path}: unknown suffix '{path.suffix}'; use one of {', '.join(SUFFIXES)}")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, completely or not at all.

    Args:
        figure: Figure to write.
        path: File to write. Its suffix selects the format.

    Raises:
        OutputError: If the file cannot be written.
    """
    with whole_file(path) as part:
        figure.savefig(part, transparent=True, dpi=120)


def draw_picture(insight: PictureInsight, given: NDArray[Any], restored: NDArray[Any]) -> Figure:
    """Draw the picture, the restored picture, their difference, and the probabilities of the experts by block.

    Args:
        insight: Route and guess for the picture.
        given: Picture, ``(H, W, 3)`` of uint8 or uint16.
        restored: Restored picture, same shape and type.
    """
    with page_style():
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra that only figures need

        blocks = len(insight.routing.blocks)
        high = min(max(11 * insight.height / insight.width / 3, 1.4), 8)  # panoramas need room for the colour bar
        figure = Figure(figsize=(11, high + 1.2 + 0.55 * blocks), layout="constrained")
        grid = figure.add_gridspec(2, 3, height_ratios=(high, 0.9 + 0.55 * blocks))
        top = np.iinfo(given.dtype).max
        before, after = (picture.astype(np.float32) / top for picture in (given, restored))
        difference = LEVELS * np.abs(after - before).max(axis=2)
        for place, title, picture in ((0, "picture", before), (1, "restored", after)):
            axes = figure.add_subplot(grid[0, place])
            axes.imshow(picture)
            _bare(axes, title)
        axes = figure.add_subplot(grid[0, 2])
        most = max(float(np.quantile(difference, 0.995)), 1.0)
        drawn = axes.imshow(difference, cmap="cividis", vmin=0, vmax=most)
        _bare(axes, "difference, largest of the channels")
        figure.colorbar(drawn, ax=axes, shrink=0.8, label="8-bit levels", extend="max")
        _draw_route(figure.add_subplot(grid[1, :2]), insight)
        _draw_guess(figure.add_subplot(grid[1, 2]), insight)
    return figure


def draw_groups(pictures: Sequence[PictureInsight]) -> Figure:
    """Draw the usage of the experts by group and block, a map of the gate vectors of all pictures, and the costs.

    Args:
        pictures: At least two pictures, restored by the same network.
    """
    with page_style():
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra that only figures need

        usage = usage_by_group(pictures)
        sizes = {group: sum(picture.group == group for picture in pictures) for group in usage.counts}
        shown = sorted(sorted(sizes, key=lambda group: -sizes[group])[:MOST_GROUPS])
        columns = min(4, len(shown))
        rows = math.ceil(len(shown) / columns)
        figure = Figure(figsize=(11, 2.1 * rows + 4.6), layout="constrained")
        parts: Any = figure.subfigures(  # matplotlib types the result as one part, whatever the number
            2, 1, height_ratios=(2.1 * rows + 0.6, 4.0)
        )
        upper, lower = parts
        names = block_names(block.level for block in pictures[0].routing.blocks)
        panels = upper.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, group in zip(panels.flat, [*shown, *[None] * (panels.size - len(shown))], strict=True):
            if group is None:
                axes.set_axis_off()
                continue
            _draw_usage(axes, usage.shares(group))
            axes.set_title(f"{group} ({sizes[group]})")
            axes.set_xticks(range(len(names)), [name.removeprefix("block ") for name in names], rotation=45)
        missing = len(sizes) - len(shown)
        also = f"; the {missing} smallest groups are not shown" if missing else ""
        upper.suptitle(f"experts by decoder block (its resolution), share of the pictures{also}", color=INK)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        upper.legend(handles, labels, loc="outside right upper", frameon=False)
        left, right = lower.subplots(1, 2, width_ratios=(1.2, 1))
        _draw_map(left, pictures, shown)
        _draw_costs(right, pictures, shown)
    return figure


def page_style() -> AbstractContextManager[None]:
    """Return a context in which figures have grey text and a transparent background."""
    from matplotlib import rc_context  # noqa: PLC0415 - an extra that only figures need

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings: Any = {  # the stubs type the keys as literals
        **dict.fromkeys(inked, INK),
        "font.size": 9,
        "axes.titlesize": 10,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "svg.hashsalt": "moceir",
    }
    return rc_context(settings)


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_route(axes: Axes, insight: PictureInsight) -> None:
    routing = insight.routing
    routing.plot(axes)
    possible = f"{routing.cheapest_gmacs:.2f} to {routing.dearest_gmacs:.2f} possible"
    axes.set_title(f"experts taken: {routing.gmacs:.2f} GMACs ({possible})")


def _draw_guess(axes: Axes, insight: PictureInsight) -> None:
    if insight.guess is None:
        axes.set_axis_off()
        return
    likely = list(insight.guess.probabilities.items())[::-1]
    bars = axes.barh([task for task, _ in likely], [100 * share for _, share in likely], color=GROUP_COLOURS[0])
    axes.bar_label(bars, [f"{share:.0%}" for _, share in likely], padding=3)
    axes.set_xlim(0, 125)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("probability by signature, %")
    known = insight.guess.task != UNKNOWN
    axes.set_title(f"likely degradation: {insight.guess.task}" if known else "degradation unknown; the nearest")


def _expert_colours(experts: int) -> list[Any]:
    from matplotlib import colormaps  # noqa: PLC0415 - an extra that only figures need

    return [colormaps["cividis"](0.1 + 0.9 * expert / (experts - 1)) for expert in range(experts)]


def _draw_usage(axes: Axes, shares: list[list[float]]) -> None:
    table = np.asarray(shares)
    below = np.zeros(len(table))
    for expert, colour in enumerate(_expert_colours(table.shape[1])):
        label = f"expert {expert}" + {0: ", cheapest", table.shape[1] - 1: ", dearest"}.get(expert, "")
        axes.bar(range(len(table)), 100 * table[:, expert], bottom=below, color=colour, edgecolor=INK, label=label)
        below += 100 * table[:, expert]
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])


def _draw_map(axes: Axes, pictures: Sequence[PictureInsight], shown: Sequence[str]) -> None:
    places, shares = principal_map([picture.routing.gate_vector for picture in pictures])
    for number, group in enumerate(shown):
        inside = [place for place, picture in zip(places, pictures, strict=True) if picture.group == group]
        colour = GROUP_COLOURS[number % len(GROUP_COLOURS)]
        axes.scatter(
            *zip(*inside, strict=True),
            s=24,
            alpha=0.8,
            facecolors="none" if number >= len(GROUP_COLOURS) else colour,  # hollow where colours repeat
            edgecolors=colour,
            marker=GROUP_MARKS[number % len(GROUP_MARKS)],
            label=group,
        )
    axes.set_title("gate vectors (scores of all experts in all blocks), a mark per picture")
    axes.set_xlabel(f"first principal component, {shares[0]:.0%} of the variance")
    axes.set_ylabel(f"second principal component, {shares[1]:.0%}")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1.02), fontsize=8, frameon=False)


def _draw_costs(axes: Axes, pictures: Sequence[PictureInsight], shown: Sequence[str]) -> None:
    """Draw each cost as a position between the cheapest and the dearest route, so that sizes can be compared."""
    positions = [[100 * p.routing.cost_position for p in pictures if p.group == group] for group in shown]
    means = [float(np.mean(values)) for values in positions]
    axes.barh(range(len(shown)), means, color=GROUP_COLOURS[0], height=0.6)
    for row, (group, values) in enumerate(zip(shown, positions, strict=True)):
        cost = float(np.mean([p.routing.gmacs / p.width / p.height * 1e6 for p in pictures if p.group == group]))
        axes.scatter(values, [row] * len(values), s=10, color=GROUP_COLOURS[1], alpha=0.5, zorder=2, clip_on=False)
        axes.text(103, row, f"{cost:.1f}", va="center")
    axes.set_yticks(range(len(shown)), shown)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("cost, % of the way from the cheapest to the dearest route")
    axes.set_title("cost, mean and single pictures; right: kMACs per pixel")
