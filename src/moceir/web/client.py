"""A client for servers: ``Restorer.restore`` on another machine."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, Self, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moceir import errors, image_io
from moceir.errors import ConfigError, MoceirError, ServerError, require_extra
from moceir.files import whole_file
from moceir.image_io import Picture
from moceir.image_io.formats import format_of
from moceir.restoration import RestorationResult, RestoreOptions
from moceir.restoration.files import as_bytes, as_path, check_target
from moceir.restoration.pixels import like, to_batch, to_picture
from moceir.restoration.reports import RoutingReport
from moceir.restoration.restorer import NAMELESS

Image = TypeVar("Image")

CLIENT_OPTIONS = ("experts", "effort", "strength", "keep_tones", "upscale", "format", "quality", "metadata")
"""Fields of ``RestoreOptions`` that a client may set; the others belong to whoever runs the server."""
REPORT = "report.jsonl"
"""Name of the report in the answer to a batch."""
BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Client:
    """A connection to ``moceir serve``.

    Arrays travel as PNG: 8 and 16 bits come back exactly as from a `Restorer` with the same model, floats are rounded
    to 16 bits on the way.

    Args:
        url: Address of the server, for example ``http://127.0.0.1:7860``.
        token: The server's token, if it has one.
        timeout_s: Longest time to wait for an answer.
        patience_s: How long to try again while the queue of the server is full.

    Raises:
        ConfigError: If the address is not one.
        MissingExtraError: If httpx is not installed.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 900.0, patience_s: float = 600.0
    ) -> None:
        require_extra("httpx", "client")
        import httpx  # noqa: PLC0415 - an extra, only this class needs it

        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"'{url}' is not the address of a server; write it as http://127.0.0.1:7860")
        self.url = url.rstrip("/")
        self.patience_s = patience_s
        self._failures = (httpx.HTTPError, httpx.InvalidURL)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(headers=headers, timeout=httpx.Timeout(timeout_s, connect=10.0), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    @overload
    def restore(self, image: Image, /, *, return_routing: Literal[False] = False, **changes: Any) -> Image: ...

    @overload
    def restore(
        self, image: Tensor, /, *, return_routing: Literal[True], **changes: Any
    ) -> tuple[Tensor, list[RoutingReport]]: ...

    @overload
    def restore(
        self, image: NDArray[Any], /, *, return_routing: Literal[True], **changes: Any
    ) -> tuple[NDArray[Any], RoutingReport]: ...

    def restore(self, image: Any, /, *, return_routing: bool = False, **changes: Any) -> Any:
        """Restore one picture, or a batch of tensors; see `moceir.Restorer.restore`.

        Args:
            image: An array, a PIL image or a float tensor, as for `moceir.Restorer.restore`.
            return_routing: Also say which experts worked on it.
            **changes: Any of `CLIENT_OPTIONS`, and ``model``: a name that the server offers.

        Returns:
            The restored picture, of the same kind, ``upscale`` times as high and wide; with ``return_routing`` also
            the report, or a list for tensors.

        Warns:
            UserWarning: If it was restored in tiles, because it did not fit into the server's memory whole.

        Raises:
            ConfigError: If an option is wrong.
            ImageError: If the image cannot be one, or is too large for the server.
            ServerError: If the server cannot be reached, refuses the token, or stays busy.
        """
        arrays = to_batch(image).permute(0, 2, 3, 1).cpu().numpy() if isinstance(image, Tensor) else [image]
        pictures = [to_picture(array) for array in arrays]
        asked = changes | {"format": "png"}
        files = [(NAMELESS, image_io.encode(_whole_numbers(picture), "png")) for picture in pictures]
        results = self._send(files, asked)
        for result in results:
            if result.tile_px is not None:
                size = f"{result.width // result.upscale}x{result.height // result.upscale} pixels"
                warnings.warn(f"{size} were restored in tiles of {result.tile_px} for lack of memory", stacklevel=2)
        restored = [
            like(array, _typed_as(image_io.decode(result.restored, NAMELESS), picture))
            for array, picture, result in zip(arrays, pictures, results, strict=True)
        ]
        reports = [result.report for result in results]
        if not isinstance(image, Tensor):
            return (restored[0], reports[0]) if return_routing else restored[0]
        batch = torch.from_numpy(np.stack(restored)).permute(0, 3, 1, 2).to(image.device, image.dtype)
        return (batch, reports) if return_routing else batch

    def restore_file(
        self, source: str | os.PathLike[str], target: str | os.PathLike[str], /, **changes: Any
    ) -> RestorationResult[None]:
        """Restore a picture file into another file; see `moceir.Restorer.restore_file`.

        Raises:
            ConfigError: As `restore`.
            ImageError: If the source cannot be read.
            OutputError: If the target is the source or cannot be written.
            ServerError: As `restore`.
        """
        source, target = as_path(source), as_path(target)
        check_target(source, target, RestoreOptions(**changes))
        asked = changes | {"format": format_of(target.suffix)}
        result = self.restore_bytes(image_io.read_bytes(source), name=source.name, **asked)
        with whole_file(target) as part:
            part.write_bytes(result.restored)
        return result.with_restored(None, source=source, target=target)

    def restore_bytes(self, data: bytes, /, *, name: str = NAMELESS, **changes: Any) -> RestorationResult[bytes]:
        """Restore the content of a picture file; see `moceir.Restorer.restore_bytes`.

        Raises:
            ConfigError: As `restore`.
            ImageError: If the data cannot be read.
            OutputError: If the format cannot hold the picture.
            ServerError: As `restore`.
        """
        return self._send([(name, as_bytes(data))], changes)[0]

    def _send(self, files: Sequence[tuple[str, bytes]], options: Mapping[str, Any]) -> list[RestorationResult[bytes]]:
        """Restore files in one batch, whose answer has everything there is to say about them."""
        form = {name: _as_text(name, value) for name, value in options.items() if value is not None}
        answer = self._post("/v1/restore/batch", form, files)
        with zipfile.ZipFile(io.BytesIO(answer)) as archive:
            rows = [json.loads(line) for line in archive.read(REPORT).splitlines()]
            return [_result(row, archive) for row in rows]

    def _post(self, path: str, form: Mapping[str, str], files: Sequence[tuple[str, bytes]]) -> bytes:
        give_up_at_s = time.monotonic() + self.patience_s
        while True:
            try:
                answer = self._http.post(self.url + path, data=form, files=[("picture", file) for file in files])
            except self._failures as error:
                reason = str(error) or type(error).__name__
                msg = f"no answer from {self.url}: {reason}; check the address, and that moceir serve runs there"
                raise ServerError(msg) from error
            wait_s = float(answer.headers.get("Retry-After", "1"))
            if answer.status_code not in BUSY or time.monotonic() + wait_s > give_up_at_s:
                break
            time.sleep(wait_s)
        if answer.status_code == HTTPStatus.OK:
            return answer.content
        raise _error(_problem(answer.content, answer.status_code, self.url))


def _problem(content: bytes, status: int, url: str) -> dict[str, Any]:
    """Return the problem document of an answer, or one that says that there is none."""
    try:
        problem: Any = json.loads(content)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "detail" in problem:
        return problem
    return {"detail": f"{url} answered with status {status}; check that moceir serve runs there"}


def _error(problem: Mapping[str, Any]) -> MoceirError:
    """Return the error that a problem document describes."""
    kind = getattr(errors, str(problem.get("error", "")), ServerError)
    is_error = isinstance(kind, type) and issubclass(kind, MoceirError)
    return (kind if is_error else ServerError)(problem["detail"])


def _result(row: Mapping[str, Any], archive: zipfile.ZipFile) -> RestorationResult[bytes]:
    """Return the result of one picture from its line in the report.

    Raises:
        MoceirError: If it failed.
    """
    if row["status"] != "restored":
        raise _error(row["problem"])
    return RestorationResult(
        archive.read(row["file"]),
        (RoutingReport.from_json(row["routing"]),),
        row["width"],
        row["height"],
        row["network_seconds"],
        row["seconds"],
        precision=row["precision"],
        tile_px=row["tile_px"],
        notes=tuple(row["notes"]),
        format=row["format"],
        upscale=row["upscale"],
    )


def _as_text(name: str, value: Any) -> str:
    """Return the value of an option as a form holds it.

    Raises:
        ConfigError: If it is wrong.
    """
    checked: Any = getattr(RestoreOptions(**{name: value}), name)
    if isinstance(checked, tuple):
        return ",".join("+".join(map(str, block)) for block in checked)
    return str(checked).lower() if isinstance(checked, bool) else str(checked)


def _whole_numbers(picture: Picture) -> Picture:
    """Return a picture of floats in [0, 1] as one of 16 bits, and any other as it is."""
    if picture.rgb.dtype.kind == "u":
        return picture
    rgb, alpha = (
        None if part is None else np.rint(part.astype(np.float64) * 65535).astype(np.uint16)
        for part in (picture.rgb, picture.alpha)
    )
    return dataclasses.replace(picture, rgb=rgb, alpha=alpha)


def _typed_as(restored: Picture, given: Picture) -> Picture:
    """Return a picture of 16 bits in the type of the one that was given."""
    if given.rgb.dtype.kind == "u":
        return restored
    rgb, alpha = (
        None if part is None else (part / np.float64(65535)).astype(given.rgb.dtype)
        for part in (restored.rgb, restored.alpha)
    )
    return dataclasses.replace(restored, rgb=rgb, alpha=alpha)
