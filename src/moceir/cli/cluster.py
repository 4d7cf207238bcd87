"""``moceir cluster``: millions of pictures on several machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import (
    Backend,
    BackendOption,
    Device,
    EffortOption,
    FileFormat,
    ForceExpert,
    Format,
    KeepTones,
    MaxFileSize,
    MaxMegapixels,
    MemoryLimit,
    Model,
    Precision,
    Quality,
    RouteOption,
    Strength,
    StripMetadata,
    Upscale,
    asked_options,
)
from moceir.errors import require_extra

cluster_app = typer.Typer(help="Restore millions of pictures on several machines, with Ray.", no_args_is_help=True)
WORKERS = "Workers"


@dataclass(frozen=True)
class ClusterArguments:
    """What ``moceir cluster restore`` was called with.

    Attributes:
        source: Folder or URL of the pictures.
        target: Folder or URL of the results.
        address: Where the cluster is.
        actors: Number of workers, or the least and the most, ``2:16``.
        threads: Cores of each worker.
        gpus: GPUs of each worker.
        retry_failed: Whether to try failed pictures again.
        list_again: Whether to list the source again.
        force_expert: ``cheapest`` or ``dearest``.
        asked: Fields of ``moceir.RestoreOptions``; None where an option was left out.
    """

    source: str
    target: str
    address: str | None
    actors: str | None
    threads: int
    gpus: float
    retry_failed: bool
    list_again: bool
    force_expert: str | None
    asked: dict[str, Any]


@cluster_app.command("restore")
def restore_command(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Folder of pictures, or a URL such as s3://BUCKET/FOLDER.")],
    target: Annotated[str, typer.Argument(help="Folder or URL for the results: empty, or that of an earlier run.")],
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="The cluster: ray://HOST:10001 from outside, HOST:6379 or auto on one of its machines.",
            show_default="RAY_ADDRESS, else this machine's, else a new one",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    actors: Annotated[
        str | None,
        typer.Option(
            metavar="N|MIN:MAX",
            help="Number of workers, or the least and the most: more are added while work waits.",
            show_default="as many as there is room for",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option("--threads", metavar="N", min=1, help="Cores of each worker.", rich_help_panel=WORKERS),
    ] = 1,
    gpus: Annotated[
        float,
        typer.Option(
            "--gpus-per-actor",
            metavar="NUMBER",
            min=0,
            help="GPUs of each worker; 0.5 lets two share one.",
            rich_help_panel=WORKERS,
        ),
    ] = 0.0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", metavar="", help="Try pictures again that failed or were set aside.")
    ] = False,
    list_again: Annotated[
        bool, typer.Option("--list-again", metavar="", help="List SOURCE again, to find new and changed pictures.")
    ] = False,
    model: Model = "tiny",
    upscale: Upscale = None,
    backend: BackendOption = Backend.auto,
    device: Device = "auto",
    strength: Strength = 1.0,
    keep_tones: KeepTones = False,
    file_format: FileFormat = Format.auto,
    quality: Quality = None,
    strip_metadata: StripMetadata = False,
    memory_limit: MemoryLimit = None,
    max_megapixels: MaxMegapixels = None,
    max_file_size: MaxFileSize = None,
    effort: EffortOption = "auto",
    experts: RouteOption = None,
    force_expert: ForceExpert = None,
    precision: Precision = "auto",
) -> None:
    r"""Restore all pictures of a folder or object store into another one.

    The pictures are listed once. Workers fetch, restore and write them; results
    are those of moceir restore, byte for byte, under the same names. A picture
    that fails is named and recorded, and the others go on.

    The same command goes on after any interruption. What is recorded, listing
    and one row per picture as Parquet, is in the folder .moceir of TARGET.

    Examples:

        On this machine, two workers with one core each:
            moceir cluster restore scans/ restored/ --actors 2

        On a cluster, with a quarter of a GPU for each worker:
            moceir cluster restore s3://archive/scans s3://archive-restored \
                --address ray://head:10001 --actors 8:64 --gpus-per-actor 0.25

    Exit codes:

        0  all pictures were restored
        1  something failed or is left to do; standard error says what
        2  wrong usage; nothing was written

    More is in docs/scale.md.
    """
    for library in ("ray", "fsspec", "pyarrow"):
        require_extra(library, "cluster")
    asked = asked_options(context.params)
    arguments = ClusterArguments(
        source, target, address, actors, threads, gpus, retry_failed, list_again, force_expert, asked
    )
    implementation("cluster").run(arguments)
