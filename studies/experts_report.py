"""Write the tables and the figure of docs/experts.md from the results of the trial: used by ``experts.py``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from routing_tasks import WHOLE

from moceir.evaluation.pages import check_parts, replace_part
from moceir.evaluation.report import markdown_table
from moceir.insight.figures import GROUP_COLOURS, GROUP_MARKS, INK, page_style, save_figure

BASE = "published"
NO_BIAS = "_unbiased"
"""Ends the names of forms that are trained without the complexity bias."""
SEEDS = (1, 2, 3)
WINNING_DB = 0.1
FIGURE = Path("images") / "experts.png"

Result = Mapping[str, Any]
"""One JSON file of ``experts.py measure``."""


class Trial:
    """All results: runs by form and seed, and other models.

    Args:
        results: What ``experts.py measure`` wrote.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        ordered = list(results)
        self.others = [result for result in ordered if result["seed"] is None]
        self.runs: dict[str, dict[int, Result]] = {}
        for result in sorted(
            (r for r in ordered if r["seed"] is not None), key=lambda r: (r["name"] != BASE, r["name"])
        ):
            self.runs.setdefault(result["name"], {})[result["seed"]] = result

    @property
    def compared(self) -> list[str]:
        """The forms other than the published one that share a seed with it."""
        return [form for form in self.runs if form != BASE and self.shared(form)]

    def shared(self, form: str) -> list[int]:
        """List the seeds of a form for which the published form has a run, too."""
        return sorted(set(self.runs[form]) & set(self.runs.get(BASE, {})))

    def differences(self, form: str, seed: int, tasks: Sequence[str]) -> list[float]:
        """Compute for each picture by how much a form beats the published one, in the mean over tasks, in dB."""
        pairs = [(self.runs[form][seed]["psnr_db"][task], self.runs[BASE][seed]["psnr_db"][task]) for task in tasks]
        by_task = [[ours - base for ours, base in zip(*pair, strict=True)] for pair in pairs]
        return [mean(values) for values in zip(*by_task, strict=True)]

    def verdict(self, form: str) -> str:
        """Apply the decision of the protocol to a form; empty for forms that it does not choose from."""
        if form.endswith(NO_BIAS):
            return ""
        seeds = self.shared(form)
        gains = [mean(self.differences(form, seed, tasks_of(self.runs[form][seed]))) for seed in seeds]
        if min(gains) <= 0:  # whatever further seeds would give
            return "does not win"
        if len(seeds) < len(SEEDS):
            return f"not yet ({len(seeds)} of {len(SEEDS)} seeds)"
        return "wins" if mean(gains) >= WINNING_DB else "does not win"


def tasks_of(result: Result) -> list[str]:
    """List the tasks that a result was measured on."""
    return list(result["psnr_db"])


def average(result: Result) -> float:
    """Compute the mean PSNR over tasks in dB."""
    return mean(mean(values) for values in result["psnr_db"].values())


def spread(values: Sequence[float], form: str = "+.3f") -> str:
    """Format the mean and, from two values on, their standard deviation."""
    return f"{mean(values):{form}}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def with_error(values: Sequence[float]) -> str:
    """Format the mean and its standard error."""
    return f"{mean(values):+.3f}" + (f" ± {stdev(values) / sqrt(len(values)):.3f}" if len(values) > 1 else "")


# --- tables -----------------------------------------------------------------------------------------------------------


def trial_table(trial: Trial) -> list[str]:
    """Compare the forms in the mean over tasks, by seed."""
    rows: list[list[str]] = []
    for form, runs in trial.runs.items():
        some = next(iter(runs.values()))
        tasks = tasks_of(some)
        shared = [] if form == BASE else trial.shared(form)
        by_seed = {seed: trial.differences(form, seed, tasks) for seed in shared}
        dirty = [mean(trial.differences(form, seed, [task for task in tasks if task != "clean"])) for seed in shared]
        rows.append(
            [
                form,
                " to ".join(f"{gmacs:.3f}" for gmacs in some["gmacs"]),
                spread([average(run) for run in runs.values()], ".3f"),
                *(with_error(by_seed[seed]) if seed in by_seed else "" for seed in SEEDS),
                spread([mean(values) for values in by_seed.values()]) if by_seed else "",
                spread(dirty) if dirty else "",
                trial.verdict(form) if shared else "",
            ]
        )
    finished = ", ".join(f"{form} {'/'.join(map(str, sorted(runs)))}" for form, runs in trial.runs.items())
    some = next(iter(next(iter(trial.runs.values())).values()))
    lead = (
        f"Finished runs (form and seeds): {finished}. {some['steps']} steps each; {pictures_of(some)} unseen pictures "
        f"for each of {len(tasks_of(some))} tasks, centres of {some['patch_px']} px. {conclusion(trial)}"
    )
    header = ("", "GMACs", "PSNR, dB", *(f"seed {seed}" for seed in SEEDS), "all seeds", "without clean", "decision")
    return [lead, "", *markdown_table(header, rows)]


def pictures_of(result: Result) -> int:
    """Count the pictures of a task."""
    return len(next(iter(result["psnr_db"].values())))


def conclusion(trial: Trial) -> str:
    """Say what the decision of the protocol gives."""
    verdicts = {form: verdict for form in trial.compared if (verdict := trial.verdict(form))}
    winners = [form for form, verdict in verdicts.items() if verdict == "wins"]
    if winners:
        return f"**By the protocol these forms win: {', '.join(winners)}.**"
    if verdicts and all(verdict == "does not win" for verdict in verdicts.values()):
        return "**By the protocol no form wins.**"
    return "**The protocol does not decide yet: it asks for three seeds of each form that can still win.**"


def tasks_table(trial: Trial) -> list[str]:
    """Compare the forms by task, and over all tasks: means over the seeds that both forms have."""
    runs = trial.runs[BASE]
    tasks = tasks_of(next(iter(runs.values())))
    rows: list[list[str]] = []
    for name, of in [*((task, [task]) for task in tasks), ("mean", tasks)]:
        cells = [name, spread([mean(mean(run["psnr_db"][task]) for task in of) for run in runs.values()], ".3f")]
        for form in trial.compared:
            by_seed = [trial.differences(form, seed, of) for seed in trial.shared(form)]
            cells.append(spread([mean(values) for values in by_seed]) if len(by_seed) > 1 else with_error(by_seed[0]))
        rows.append(cells)
    counts = ", ".join(f"{form} {len(trial.shared(form))}" for form in trial.compared)
    lead = f"Differences to the published form of the same seed, in dB; seeds: {counts}."
    return [lead, "", *markdown_table(("", "published, dB", *trial.compared), rows)]


def experts_table(trial: Trial) -> list[str]:
    """Compare how much the experts of the forms matter, and what effort buys."""
    rows = [[name, str(len(runs)), *expert_cells(runs)] for name, runs in models_of(trial)]
    header = (
        "",
        "runs",
        "forced: size, dB",
        "largest, dB",
        "gate kept: size",
        "largest",
        "best: gain, dB",
        "levels",
        "high - low: mean, dB",
        "worst task",
        "best task",
    )
    return markdown_table(header, rows)


def models_of(trial: Trial) -> list[tuple[str, list[Result]]]:
    """List the forms with their runs, then other models."""
    forms = [(form, list(runs.values())) for form, runs in trial.runs.items()]
    return forms + [(f"`{result['name']}`", [result]) for result in trial.others]


def expert_cells(runs: Sequence[Result]) -> list[str]:
    """Format what forcing and effort give: means over runs, and the largest of all."""
    cells: list[str] = []
    for key in ("forced", "forced_gate_kept"):
        # Where gates cannot differ, both are the same.
        changes = [[list(by_task.values()) for by_task in run.get(key, run["forced"]).values()] for run in runs]
        every = [value for run in changes for by_task in run for value in by_task]
        sizes = [mean(abs(value) for by_task in run for value in by_task) for run in changes]
        cells += [spread(sizes, ".3f"), f"{max(every, key=abs):+.3f}"]
    gains = [effort_gains(run) for run in runs]
    ends = [pick((gain, task) for run in gains for task, gain in run.items()) for pick in (min, max)]
    return [
        *cells,
        spread([mean(best_gains(run).values()) for run in runs]),
        f"{mean(run['levels'] for run in runs):.3f}",
        spread([mean(run.values()) for run in gains]),
        *(f"{gain:+.3f} ({task})" for gain, task in ends),
    ]


def routes_table(trial: Trial) -> list[str]:
    """Compare what the routes of the forms tell, and what they cost."""
    rows: list[list[str]] = []
    for name, runs in models_of(trial):
        told = [{part: bits - chance for part, (bits, chance, _) in run["information"].items()} for run in runs]
        blocks = [mean(value for part, value in run.items() if part != WHOLE) for run in told]
        rows.append(
            [
                name,
                spread([run[WHOLE] for run in told], ".2f"),
                spread(blocks, ".2f"),
                f"{mean(len(run['unused']) for run in runs):.1f}",
                f"{mean(gmacs for run in runs for _, gmacs in run['effort']['0'].values()):.3f}",
            ]
        )
    return markdown_table(("", "bits by route", "by block", "unused", "GMACs"), rows)


def best_gains(run: Result) -> dict[str, float]:
    """Compute for each task what the best single expert, chosen afterwards, gains over the routers' choice, in dB."""
    forced = run.get("forced_gate_kept", run["forced"])
    return {task: max(0.0, *(by_task[task] for by_task in forced.values())) for task in tasks_of(run)}


def effort_gains(run: Result) -> dict[str, float]:
    """Compute for each task by how much effort 1 beats effort -1, in dB."""
    low, high = run["effort"]["-1"], run["effort"]["1"]
    return {task: high[task][0] - low[task][0] for task in low}


def influence_table(trial: Trial) -> list[str]:
    """Show what gates and experts can change in each model."""
    results = [(f"{form}, seed {seed}", run) for form, runs in trial.runs.items() for seed, run in sorted(runs.items())]
    results += [(f"`{result['name']}`", result) for result in trial.others]
    rows: list[list[str]] = []
    for name, run in results:
        blocks = run["blocks"]
        rows.append(
            [
                name,
                f"{run['router_gradient']:.1e}",
                f"{run['gate_doubled']:.3f}",
                f"{100 * mean(block['influence'] for block in blocks):.1f}",
                f"{100 * max(block['influence'] for block in blocks):.1f}",
                f"{100 * mean(block['own'] for block in blocks):.1f}",
                f"{100 * mean(block['moved'][0] for block in blocks):.1f}",
                f"{100 * max(block['moved'][1] for block in blocks):.1f}",
                f"{100 * max(block['bound'] for block in blocks):.1f}",
            ]
        )
    header = (
        "",
        "gradient of routers",
        "gates doubled, levels",
        "influence of experts, %: mean",
        "largest",
        "experts add, %",
        "attention moved, %: mean",
        "largest",
        "bound",
    )
    return markdown_table(header, rows)


# --- figure -----------------------------------------------------------------------------------------------------------


def draw(trial: Trial) -> Figure:
    """Draw the gains by form and seed, and how much forced experts change each form."""
    with page_style():
        figure = Figure(figsize=(9.5, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_gains(left, trial)
        _draw_forced(right, trial)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _draw_gains(axes: Axes, trial: Trial) -> None:
    for place, form in enumerate(trial.compared):
        for seed in trial.shared(form):
            values = trial.differences(form, seed, tasks_of(trial.runs[form][seed]))
            error = stdev(values) / sqrt(len(values)) if len(values) > 1 else 0
            colour, mark = _style(seed)
            axes.errorbar(place + 0.2 * (seed - 2), mean(values), error, color=colour, marker=mark, capsize=3)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.axhline(WINNING_DB, color=INK, linewidth=0.8, linestyle="--")
    axes.set(
        title="PSNR, mean over tasks", ylabel="difference to published, dB", xlim=(-0.5, len(trial.compared) - 0.5)
    )
    axes.set_xticks(range(len(trial.compared)), trial.compared, rotation=25, horizontalalignment="right")
    axes.grid(axis="y", alpha=0.2)


def _draw_forced(axes: Axes, trial: Trial) -> None:
    labelled: set[str] = set()
    for place, runs in enumerate(trial.runs.values()):
        for seed, run in sorted(runs.items()):
            colour, mark = _style(seed)
            for key, fill, beside in (("forced", "full", 0.0), ("forced_gate_kept", "none", 0.06)):
                values = [abs(value) for by_task in run.get(key, {}).values() for value in by_task.values()]
                label = f"seed {seed}" + (", gate kept" if beside else "")
                options = {} if label in labelled or not values else {"label": label}
                labelled.update(options.values())
                places = [place + 0.2 * (seed - 2) + beside] * len(values)
                axes.plot(places, values, mark, color=colour, markersize=4, fillstyle=fill, alpha=0.8, **options)
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set(title="one expert everywhere, by expert and task", ylabel="change of PSNR, dB (size)", ylim=(0, None))
    axes.set(xlim=(-0.5, len(trial.runs) - 0.5))
    axes.set_xticks(range(len(trial.runs)), list(trial.runs), rotation=25, horizontalalignment="right")
    axes.grid(axis="y", alpha=0.2)


def _style(seed: int) -> tuple[str, str]:
    place = SEEDS.index(seed) if seed in SEEDS else len(SEEDS)
    return GROUP_COLOURS[place], GROUP_MARKS[place]


# --- page -------------------------------------------------------------------------------------------------------------

TABLES: Mapping[str, Mapping[str, Callable[[Trial], list[str]]]] = {
    "nano": {
        "trial": trial_table,
        "tasks": tasks_table,
        "experts": experts_table,
        "routes": routes_table,
        "influence": influence_table,
    },
    "tiny": {"tasks of tiny": tasks_table, "experts of tiny": experts_table, "routes of tiny": routes_table},
    "grown": {"tasks of grown": tasks_table, "experts of grown": experts_table, "routes of grown": routes_table},
}
"""The tables of each trial, by the name of their place on the page."""
PARTS = tuple(part for tables in TABLES.values() for part in tables)


def write_report(results: Path, page: Path) -> None:
    """Replace the tables of the page and its figure.

    Args:
        results: Folder of JSON files; runs that are not in it do not count.
        page: With a place for each of `PARTS`.
    """
    check_parts(page, PARTS)
    every = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    trials = {name: Trial(result for result in every if result["trial"] in (name, None)) for name in TABLES}
    for name, tables in TABLES.items():
        for part, table in tables.items():
            lines = table(trials[name]) if trials[name].runs else ["No run has been measured yet."]
            print(f"\n{part}\n", *lines, sep="\n")
            replace_part(page, part, lines)
    save_figure(draw(trials["nano"]), page.parent / FIGURE)
