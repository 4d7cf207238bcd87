"""``python -m tools.accelerator pack|run|measure|accept``; see README.md beside this file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from moceir.errors import MoceirError


def parser() -> argparse.ArgumentParser:
    """Describe the four commands."""
    top = argparse.ArgumentParser(prog="python -m tools.accelerator", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    pack = commands.add_parser("pack", help="here: fill accelerator/data and accelerator/state")
    pack.add_argument("photographs", type=Path)
    pack.add_argument("--network", choices=("tiny", "small"), required=True)
    pack.add_argument("--state", type=Path, help="undecayed state to go on from")
    pack.add_argument("--start", default="tiny", help="model to begin with where there is no state")
    pack.add_argument("--output", "-o", type=Path, default=Path("accelerator"))
    pack.add_argument("--limit-mb", type=float, default=45.0, help="most megabytes of photographs")
    pack.add_argument("--no-wheels", action="store_true")
    pack.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")

    run = commands.add_parser("run", help="there: train one stretch")
    run.add_argument("--seconds", type=float, required=True, help="for everything, to the last file")
    run.add_argument("--network", choices=("tiny", "small"), required=True)
    run.add_argument("--packed", type=Path, default=Path("accelerator"))
    run.add_argument("--output", "-o", type=Path, required=True, help="folder whose files travel back")
    run.add_argument("--device", default="cuda")
    run.add_argument("--save-every", type=float, default=120.0, metavar="SECONDS")
    run.add_argument("--least", type=int, help="patches per second below which the run ends; else those of the table")
    run.add_argument("--device-layers", action="store_true", help="if `measure` shows that they are faster")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")

    measure = commands.add_parser("measure", help="there: time inference and layers")
    measure.add_argument("--model", default="tiny")
    measure.add_argument("--device", default="cuda")
    measure.add_argument("--output", "-o", type=Path, required=True)
    measure.add_argument("--seconds", type=float, default=110.0)

    accept = commands.add_parser("accept", help="here: judge what came back, install it or refuse it")
    accept.add_argument("files", type=Path, help="folder of the files that came back, or a model folder")
    accept.add_argument("--photographs", type=Path, required=True, help="folder that the model was trained on")
    accept.add_argument("--best", default="tiny", help="best model so far")
    accept.add_argument("--real", type=Path, help="folder of folders with degraded and clean pictures")
    accept.add_argument("--pictures", type=int, default=8)
    accept.add_argument("--task", action="append", help="in place of the usual ones; repeatable")
    accept.add_argument("--output", "-o", type=Path, help="where files that came back are put together")
    accept.add_argument("--install", type=Path, help="where an accepted model goes")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns 1 if `accept` refuses or something fails."""
    options = parser().parse_args(arguments)
    try:
        return _commands[options.command](options)
    except MoceirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _pack(options: argparse.Namespace) -> int:
    from tools.accelerator.pack import pack  # noqa: PLC0415 - each command needs other libraries

    pack(
        options.photographs,
        options.output,
        network=options.network,
        state=options.state,
        start=options.start,
        wheels=not options.no_wheels,
        limit_bytes=int(options.limit_mb * 1e6),
        changes=options.set,
    )
    return 0


def _run(options: argparse.Namespace) -> int:
    from tools.accelerator.run import run  # noqa: PLC0415

    run(
        options.packed,
        options.output,
        network=options.network,
        seconds=options.seconds,
        device=options.device,
        save_every_s=options.save_every,
        changes=tuple(options.set),
        least=options.least,
        device_layers=options.device_layers,
    )
    return 0


def _measure(options: argparse.Namespace) -> int:
    from tools.accelerator.measure import measure  # noqa: PLC0415

    measure(options.model, options.device, options.output, seconds=options.seconds)
    return 0


def _accept(options: argparse.Namespace) -> int:
    from moceir.weights.folders import WEIGHTS_FILE  # noqa: PLC0415
    from tools.accelerator.accept import accept  # noqa: PLC0415
    from tools.accelerator.parcel import receive  # noqa: PLC0415

    folder = options.files
    if not (folder / WEIGHTS_FILE).exists():
        folder = options.output or folder.with_name(folder.name + "-received")
        receive(options.files, folder)
        print(f"files put together in {folder}")
    settings = {"tasks": options.task} if options.task else {}
    verdict = accept(
        folder,
        options.best,
        options.photographs,
        real=options.real,
        pictures=options.pictures,
        install=options.install,
        report=folder / "verdict.json",
        **settings,
    )
    return 0 if verdict.accepted else 1


_commands = {"pack": _pack, "run": _run, "measure": _measure, "accept": _accept}

if __name__ == "__main__":
    sys.exit(main())
