"""The command line: parse, call the library, print, exit.

Exit codes (docs/errors.md): 0 if everything succeeded, 1 if something failed or is left to do, 2 for wrong usage. Each
command is declared in a module of its own, which imports nothing heavy. Its work is in the module of the same name in
``run``, which is loaded when the command is called.
"""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from moceir.cli.benchmark import benchmark_command
from moceir.cli.cluster import cluster_app
from moceir.cli.convert import convert_command
from moceir.cli.data import data_app
from moceir.cli.degrade import degrade_command
from moceir.cli.evaluate import evaluate_command
from moceir.cli.export import export_command
from moceir.cli.inspect import inspect_command
from moceir.cli.loading import implementation
from moceir.cli.log import show_log
from moceir.cli.restore import restore_command
from moceir.cli.serve import serve_command
from moceir.cli.signatures import signatures_command
from moceir.cli.train import train_command
from moceir.errors import ConfigError, MoceirError

app = typer.Typer(
    name="moceir",
    help="Give it any degraded photograph and it gives back a clean one, without being told what is wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("restore")(restore_command)
app.command("inspect")(inspect_command)
app.command("serve")(serve_command)
app.command("degrade")(degrade_command)
app.command("train")(train_command)
app.command("evaluate")(evaluate_command)
app.command("benchmark")(benchmark_command)
app.command("export")(export_command)
app.command("convert")(convert_command)
app.command("signatures")(signatures_command)
app.add_typer(data_app, name="data")
app.add_typer(cluster_app, name="cluster")


def _print_version(wanted: bool) -> None:
    if wanted:
        implementation("version").run()
        raise typer.Exit


@app.callback()
def moceir(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print versions, device and weights, and stop."
        ),
    ] = False,
) -> None:
    """Give it any degraded photograph and it gives back a clean one, without being told what is wrong."""
    show_log()


def main() -> None:
    """Run the command line; expected errors become one line and an exit code."""
    gc.disable()  # until the modules of the command are there; see moceir.cli.loading
    try:
        app()
    except MoceirError as error:
        typer.echo(f"moceir: {error}", err=True)
        sys.exit(exit_code(error))


def exit_code(error: MoceirError) -> int:
    """Return the exit code for an error that ends a command: 2 for an impossible setting, 1 for any other failure."""
    return 2 if isinstance(error, ConfigError) else 1
