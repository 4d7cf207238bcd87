"""Run ``moceir inspect``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from moceir import image_io
from moceir.batch.planning import check_reports
from moceir.cli.inspect import InspectArguments
from moceir.cli.options import parse_effort, parse_experts
from moceir.cli.run.terminal import echo, progress_bar
from moceir.errors import ImageError, MoceirError, WeightsError, named
from moceir.files import write_json
from moceir.image_io import Picture
from moceir.insight import (
    Guess,
    Observation,
    PictureInsight,
    Signatures,
    group_of,
    inspect_file,
    load_signatures,
    usage_by_group,
)
from moceir.insight.figures import check_figure, draw_groups, draw_picture, save_figure
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration.reports import RoutingReport
from moceir.restoration.restorer import Restorer

BAR_CELLS = 4
SHOWN_TASKS = 3


def run(arguments: InspectArguments) -> None:
    """Print the routes of one picture as a table, or those of several as lines with a table of their groups.

    Raises:
        typer.BadParameter: If the effort or the experts cannot be read.
        typer.Exit: With code 1 if an input cannot be read.
    """
    experts = parse_experts(arguments.experts, arguments.force_expert)
    effort = parse_effort(arguments.effort)
    if arguments.figure:
        check_figure(arguments.figure)
    check_reports(arguments.json_file, arguments.figure)
    found, problems = _find(arguments.inputs)
    keep_freed_memory()
    restorer = Restorer.from_pretrained(
        arguments.model, device=arguments.device, threads=arguments.threads, experts=experts, effort=effort
    )
    signatures = _signatures(arguments.model)
    console = Console(highlight=False)
    single = len(found) == 1
    done: list[PictureInsight] = []
    for insight, picture, seen in _inspect_all(restorer, found, signatures, problems):
        done.append(insight)
        if not single:
            echo(_line(insight))
            continue
        _show_picture(console, insight)
        if arguments.figure:
            save_figure(draw_picture(insight, picture.rgb, seen.restored), arguments.figure)
    for problem in problems:
        echo(f"failed: {problem}", err=True)
    if len(done) > 1:
        _show_usage(console, done)
        if arguments.figure:
            save_figure(draw_groups(done), arguments.figure)
    if arguments.json_file and done:
        content = {
            "model": arguments.model,
            "effort": arguments.effort,
            "experts": experts,
            "confusion": signatures.confusion if signatures else None,
            "usage": usage_by_group(done).to_json(),
            "pictures": [insight.to_json() for insight in done],
        }
        write_json(arguments.json_file, content)
    if problems:
        raise typer.Exit(1)


def _find(inputs: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return files with their places in the inputs, and a line for each input that holds none."""
    found: list[tuple[Path, Path]] = []
    problems: list[str] = []
    for entry in inputs:
        try:
            found += image_io.find([entry])
        except ImageError as error:
            problems.append(named(entry, error))
    return found, problems


def _signatures(model: str) -> Signatures | None:
    """Load the model's signatures; print why if there are none that fit."""
    try:
        return load_signatures(model)
    except WeightsError as error:
        typer.echo(f"degradations are not guessed: {error}", err=True)
        return None


def _inspect_all(
    restorer: Restorer, found: Sequence[tuple[Path, Path]], signatures: Signatures | None, problems: list[str]
) -> Iterator[tuple[PictureInsight, Picture, Observation]]:
    """Inspect one picture after the other. Add a line to ``problems`` for each that fails."""
    with progress_bar("inspecting", len(found)) as advance:
        for source, place in found:
            try:
                inspected = inspect_file(restorer, source, group_of(source, place), signatures)
            except MoceirError as error:
                problems.append(named(source, error))
            else:
                yield inspected
            advance()


def _line(insight: PictureInsight) -> str:
    routing = insight.routing
    route = " ".join("+".join(map(str, block.experts)) for block in routing.blocks)
    guess = f", {_guess(insight.guess)}" if insight.guess else ""
    return f"{insight.file} {insight.width}x{insight.height}: experts {route}, {_cost(routing)}{guess}"


def _cost(routing: RoutingReport) -> str:
    return f"{routing.gmacs:.2f} GMACs ({routing.cheapest_gmacs:.2f} to {routing.dearest_gmacs:.2f} possible)"


def _guess(guess: Guess) -> str:
    """Format a guess: ``likely rain 93%, snow 5%``, or ``degradation unknown`` with the nearest tasks."""
    nearest = [(task, share) for task, share in guess.probabilities.items() if share >= 0.01][:SHOWN_TASKS]
    listed = ", ".join(f"{task} {share:.0%}" for task, share in nearest)
    return f"degradation unknown (nearest: {listed})" if guess.precision is None else f"likely {listed}"


def _show_picture(console: Console, insight: PictureInsight) -> None:
    """Print a row for each routed block: the share of each expert, and the rank, reach and cost of those taken."""
    routing = insight.routing
    console.print(f"{insight.file} {insight.width}x{insight.height}: {_cost(routing)}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("block")
    for expert in range(len(routing.blocks[0].probabilities)):
        table.add_column(f"expert {expert}", no_wrap=True)
    for name in ("rank", "reach px", "GMACs"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, block in enumerate(routing.blocks):
        cells = [_bar(share, expert in block.experts) for expert, share in enumerate(block.probabilities)]
        rank, reach = ("+".join(str(values[e]) for e in block.experts) for values in (block.ranks, block.reach_px))
        cost = sum(block.gmacs[e] for e in block.experts)
        table.add_row(f"{number} (1/{2**block.level})", *cells, rank, reach, f"{cost:.3f}")
    console.print(table)
    console.print(
        "* taken, with its rank (channels), its cost, and its reach: the side of the\n"
        "  square of pixels that it brings together"
    )
    if insight.guess:
        known = insight.guess.precision
        measured = "" if known is None else f" (of unseen pictures taken for that, {known:.0%} were)"
        console.print(_guess(insight.guess) + measured, soft_wrap=True)


def _bar(share: float, taken: bool) -> str:
    """Draw a share as a bar, bold and marked if the expert was taken."""
    full = round(share * BAR_CELLS)
    text = f"{'█' * full}{'░' * (BAR_CELLS - full)} {share:.0%}"
    return f"[bold green]{text}*[/]" if taken else text


def _show_usage(console: Console, pictures: Sequence[PictureInsight]) -> None:
    """Print a row for each group of pictures: the share of each expert over all blocks, the cost and the guess."""
    usage = usage_by_group(pictures)
    table = Table(box=None, pad_edge=False)
    table.add_column("group", overflow="fold")
    table.add_column("n", justify="right", no_wrap=True)
    experts = len(pictures[0].routing.blocks[0].probabilities)
    for expert in range(experts):
        table.add_column(f"expert {expert}", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("guessed", no_wrap=True)
    for group in usage.counts:
        inside = [picture for picture in pictures if picture.group == group]
        rows = usage.shares(group)
        means = [sum(row[expert] for row in rows) / len(rows) for expert in range(experts)]
        cost = sum(picture.routing.cost_position for picture in inside) / len(inside)
        guesses = [picture.guess.task for picture in inside if picture.guess]
        most = max(sorted(set(guesses)), key=guesses.count, default="")
        also = f"{most} {guesses.count(most) / len(guesses):.0%}" if most else ""
        table.add_row(group, str(len(inside)), *(_bar(mean, False) for mean in means), f"{cost:.0%}", also)
    console.print(table)
    console.print(
        "n: pictures; expert: its share of the work in all blocks; cost: mean of the way\n"
        "from the cheapest (0%) to the dearest route (100%); guessed: most often"
    )
