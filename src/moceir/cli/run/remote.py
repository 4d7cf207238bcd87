"""Restore files on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import typer

from moceir import image_io
from moceir.batch.planning import Job
from moceir.cli.restore import RestoreArguments
from moceir.cli.run.serve import read_token
from moceir.files import whole_file
from moceir.image_io import Limits
from moceir.image_io.formats import format_of
from moceir.restoration import RestorationResult, RestoreOptions
from moceir.web.client import CLIENT_OPTIONS, Client

STREAM = Path("-")


class ServerStages:
    """The three stages of a file that a server restores, for ``moceir.batch.pipeline.overlapped``; a context manager.

    Args:
        url: Address of the server.
        token_file: File whose first line is the token; None for none.
        options: What is asked of every picture.

    Raises:
        ConfigError: If the token cannot be read, or the address is not one.
        MissingExtraError: If httpx is not installed.
    """

    together: None = None
    """The server is given one file at a time."""

    def __init__(self, url: str, token_file: Path | None, options: RestoreOptions) -> None:
        self._client = Client(url, token=None if token_file is None else read_token(token_file))
        self._limits = Limits(max_bytes=options.max_bytes)
        asked = options.model_fields_set & {"model", *CLIENT_OPTIONS}
        self._asked = {name: getattr(options, name) for name in sorted(asked)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def read(self, job: Job) -> bytes:
        """First stage: read."""
        return image_io.read_bytes(job.source, self._limits)

    def work(self, job: Job, data: bytes) -> RestorationResult[bytes]:
        """Second stage: send the picture, and wait for the answer."""
        asked = self._asked | {"format": format_of(job.target.suffix)}
        return self._client.restore_bytes(data, name=job.source.name, **asked)

    def write(self, job: Job, answer: RestorationResult[bytes]) -> RestorationResult[None]:
        """Third stage: write."""
        image_io.protect_original(job.source, job.target)
        with whole_file(job.target) as part:
            part.write_bytes(answer.restored)
        return answer.with_restored(None, source=job.source, target=job.target)


def check_server_usage(arguments: RestoreArguments) -> None:
    """Refuse options that a server does not take.

    Raises:
        typer.BadParameter: If there are any.
    """
    if STREAM in (*arguments.inputs, arguments.output):
        raise typer.BadParameter("--server is for files and folders; for a pipe, send the picture with curl")
    plain = RestoreOptions()
    own = ("device", "precision", "compiled", "threads", "memory_limit", "max_pixels")
    given = [name for name in own if arguments.asked[name] not in (None, getattr(plain, name))]
    given += [name for name in ("sequence", "reference") if getattr(arguments, name)]
    if given:
        names = {"compiled": "compile", "max_pixels": "max-megapixels"}
        shown = ", ".join("--" + names.get(name, name).replace("_", "-") for name in given)
        raise typer.BadParameter(f"{shown} cannot be asked of a server; leave it out")
