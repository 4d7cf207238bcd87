"""``moceir inspect``: which experts work on pictures, at what cost, and what the pictures seem to suffer from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moceir.cli.options import Device, EffortOption, ForceExpert, Model, RouteOption, parse_effort, parse_experts
from moceir.errors import ImageError, MoceirError, OutputError, WeightsError, named

if TYPE_CHECKING:
    from rich.console import Console

    from moceir.insight import Guess, PictureInsight, Signatures
    from moceir.restoration.reports import RoutingReport

BAR_CELLS = 4
SHOWN_TASKS = 3


def inspect_command(
    inputs: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or TIFF files, and folders of them.")],
    model: Model = "tiny",
    device: Device = "auto",
    effort: EffortOption = "auto",
    experts: RouteOption = None,
    force_expert: ForceExpert = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything there.")] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Draw there (.png, .svg): one picture with its routes, or what several have in common."),
    ] = None,
) -> None:
    """See which experts work on pictures, their rank, reach and cost, and the likely degradation.

    Several pictures are grouped by their sub-folders, or by what 'moceir degrade' says that was done to them. Nothing
    is restored to a file. The likely degradation is that with the nearest signature of 'moceir signatures'; a picture
    that is near none, or between several, is unknown, and so are most with several degradations at once.

    Examples:

        moceir inspect rainy.png --figure rainy-routes.png

        moceir inspect testset/ --json routes.json --figure routes.svg
    """
    from moceir.batch.planning import check_reports  # noqa: PLC0415
    from moceir.insight import group_of, inspect_file, usage_by_group  # noqa: PLC0415
    from moceir.machine.allocator import keep_freed_memory  # noqa: PLC0415 - keeps --help fast
    from moceir.restoration.restorer import Restorer  # noqa: PLC0415

    route = parse_experts(experts, force_expert)
    if figure:
        from moceir.insight.figures import check_figure  # noqa: PLC0415

        check_figure(figure)
    check_reports(json_file, figure)
    found, problems = _find(inputs)
    keep_freed_memory()
    restorer = Restorer.from_pretrained(model, device=device, experts=route, effort=parse_effort(effort))
    signatures = _signatures(model)
    console = _console()
    single = len(found) == 1
    done: list[PictureInsight] = []

    def look(source: Path, place: Path) -> None:
        insight, picture, seen = inspect_file(restorer, source, group_of(source, place), signatures)
        done.append(insight)
        if single:
            _show_picture(console, insight)
        else:
            typer.echo(_line(insight))
        if single and figure:
            from moceir.insight.figures import draw_picture, save_figure  # noqa: PLC0415

            save_figure(draw_picture(insight, picture.rgb, seen.restored), figure)

    problems += _look_at_all(found, look)
    for problem in problems:
        typer.echo(f"failed: {problem}", err=True)
    if len(done) > 1:
        _show_usage(console, done)
        if figure:
            from moceir.insight.figures import draw_groups, save_figure  # noqa: PLC0415

            save_figure(draw_groups(done), figure)
    if json_file and done:
        content = {
            "model": model,
            "effort": effort,
            "experts": route,
            "confusion": signatures.confusion if signatures else None,
            "usage": usage_by_group(done).to_json(),
            "pictures": [insight.to_json() for insight in done],
        }
        _write_json(json_file, content)
    if problems:
        raise typer.Exit(1)


def _find(inputs: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Files with their places in the inputs, and a line for each input that holds none."""
    from moceir import image_io  # noqa: PLC0415 - keeps --help fast

    found: list[tuple[Path, Path]] = []
    problems: list[str] = []
    for entry in inputs:
        try:
            found += image_io.find([entry])
        except ImageError as error:
            problems.append(named(entry, error))
    return found, problems


def _signatures(model: str) -> Signatures | None:
    """The model's signatures; a line where there are none that fit."""
    from moceir.insight import load_signatures  # noqa: PLC0415 - keeps --help fast

    try:
        return load_signatures(model)
    except WeightsError as error:
        typer.echo(f"degradations are not guessed: {error}", err=True)
        return None


def _look_at_all(found: Sequence[tuple[Path, Path]], look: Callable[[Path, Path], None]) -> list[str]:
    """Look at one picture after the other; a line for each that failed."""
    from rich.progress import Progress  # noqa: PLC0415 - keeps --help fast

    console = _console(stderr=True)
    problems: list[str] = []
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("inspecting", total=len(found))
        for source, place in found:
            try:
                look(source, place)
            except OutputError:  # the figure cannot be written, which is no fault of the picture
                raise
            except MoceirError as error:
                problems.append(named(source, error))
            progress.advance(bar)
    return problems


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    return Console(stderr=stderr, highlight=False)


def _line(insight: PictureInsight) -> str:
    routing = insight.routing
    route = " ".join("+".join(map(str, block.experts)) for block in routing.blocks)
    guess = f", {_guess(insight.guess)}" if insight.guess else ""
    return f"{insight.file} {insight.width}x{insight.height}: experts {route}, {_cost(routing)}{guess}"


def _cost(routing: RoutingReport) -> str:
    return f"{routing.gmacs:.2f} GMACs ({routing.cheapest_gmacs:.2f} to {routing.dearest_gmacs:.2f} possible)"


def _guess(guess: Guess) -> str:
    """``likely rain 93 %, snow 5 %``; or ``unknown`` with what is nearest."""
    nearest = [(task, share) for task, share in guess.probabilities.items() if share >= 0.01][:SHOWN_TASKS]
    listed = ", ".join(f"{task} {share:.0%}" for task, share in nearest)
    return f"degradation unknown (nearest: {listed})" if guess.precision is None else f"likely {listed}"


def _show_picture(console: Console, insight: PictureInsight) -> None:
    from rich.table import Table  # noqa: PLC0415 - keeps --help fast

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
        table.add_row(
            f"{number} (1/{2**block.level})",
            *cells,
            rank,
            reach,
            f"{cost:.3f}",
        )
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
    """A bar with its share, bold and marked if the expert worked."""
    full = round(share * BAR_CELLS)
    text = f"{'█' * full}{'░' * (BAR_CELLS - full)} {share:.0%}"
    return f"[bold green]{text}*[/]" if taken else text


def _show_usage(console: Console, pictures: Sequence[PictureInsight]) -> None:
    """Share of each expert over all blocks, by group."""
    from rich.table import Table  # noqa: PLC0415 - keeps --help fast

    from moceir.insight import usage_by_group  # noqa: PLC0415

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


def _write_json(path: Path, content: object) -> None:
    from moceir.files import whole_file  # noqa: PLC0415 - keeps --help fast

    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
