"""``moceir data``: list the published data sets, check that they are complete, and pack them to load fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation

data_app = typer.Typer(help="List, check and pack data sets for training and evaluation.", no_args_is_help=True)


@data_app.command("list")
def list_command() -> None:
    """List the published data sets: name, use, task, size, folders below the data root, and where to get them."""
    implementation("data").show_list()


@data_app.command("check")
def check_command(
    root: Annotated[Path, typer.Argument(help="Folder that holds the data sets.")],
    names: Annotated[
        list[str] | None, typer.Option("--set", help="Check this set, even if it is missing. Repeatable.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compare only names and counts; read no picture.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the full results to this file.")] = None,
) -> None:
    """Check that data sets are complete: counts, partners by name, readable files, equal sizes in each pair.

    The exit code is 0 if every set that was found or asked for is complete, and
    1 otherwise.

    Examples:

        moceir data check datasets/

        moceir data check datasets/ --set rain100l-train --set rain100l --quick
    """
    implementation("data").check(root, names or [], quick=quick, json_file=json_file)


@data_app.command("pack")
def pack_command(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, searched with its sub-folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The pack to write, NAME.pack.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a pack that exists already.")] = False,
) -> None:
    """Decode the pictures of a folder into one file, which training reads without decoding.

    Training accepts the pack wherever it accepts a folder, including the root
    folder of the published sets. A pack needs three bytes per pixel.

    Examples:

        moceir data pack photographs/ -o photographs.pack

        moceir train recipes/tiny.yaml --data photographs.pack
    """
    implementation("data").pack(folder, output, overwrite=overwrite)
