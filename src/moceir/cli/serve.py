"""``moceir serve``: a page and an HTTP API on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import LIMITS, Compiled, Device, MaxMegapixels, MemoryLimit, Precision, Threads


@dataclass(frozen=True)
class ServeArguments:
    """What ``moceir serve`` was called with.

    Attributes:
        token_file: File whose first line is the token.
        settings: Fields of ``moceir.web.settings.ServeSettings``; None where an option was left out.
        options: Fields of ``moceir.RestoreOptions``; None where an option was left out.
    """

    token_file: Path | None
    settings: dict[str, Any]
    options: dict[str, Any]


def serve_command(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen at. Any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="NUMBER", help="Port to listen at; 0 takes a free one.")] = 7860,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with a secret that every request must carry.", show_default=False),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Model to offer, as for restore; repeat it to offer several. The first is the default; others that "
            "enlarge serve requests for it.",
            show_default="tiny, tiny-x2 and tiny-x4",
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Compiled = False,
    threads: Threads = None,
    max_body: Annotated[
        str, typer.Option(metavar="SIZE", help="Refuse larger requests, as 100MB.", rich_help_panel=LIMITS)
    ] = "100MB",
    max_megapixels: MaxMegapixels = None,
    memory_limit: MemoryLimit = None,
    queue_length: Annotated[
        int, typer.Option(metavar="N", help="Most pictures that wait or are worked on.", rich_help_panel=LIMITS)
    ] = 16,
    seconds: Annotated[
        float, typer.Option(metavar="NUMBER", help="Longest time for a request.", rich_help_panel=LIMITS)
    ] = 600.0,
    drain_seconds: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="Longest time to finish accepted pictures after a signal to terminate.",
            rich_help_panel=LIMITS,
        ),
    ] = 60.0,
) -> None:
    r"""Serve a page and an HTTP API on this machine.

    The page is at the printed address, the description of the API at /docs.
    Pictures are restored here, one at a time, and nothing leaves the machine.
    They stay in memory until they are answered.

    Ctrl-C, or a signal to terminate, finishes accepted pictures and takes no
    new ones; the second stops at once.

    Examples:

        For yourself:
            moceir serve

        For others in the network, behind a secret:
            moceir serve --host 0.0.0.0 --token-file token.txt

        From a script:
            curl -F picture=@photo.jpg -o restored.jpg \
                http://127.0.0.1:7860/v1/restore

    The API, limits, logs, nginx and systemd are in docs/serve.md.
    """
    settings = {
        "host": host,
        "port": port,
        "models": tuple(model) if model else None,
        "max_body": max_body,
        "queue_length": queue_length,
        "seconds": seconds,
        "drain_seconds": drain_seconds,
    }
    options = {
        "device": device,
        "precision": precision,
        "compiled": compiled,
        "threads": threads,
        "memory_limit": memory_limit,
        "max_pixels": None if max_megapixels is None else max_megapixels * 1e6,
    }
    implementation("serve").run(ServeArguments(token_file, settings, options))
