"""The HTTP API: pictures in, pictures or what the network saw in them out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect

from moceir.errors import ConfigError
from moceir.web import schemas
from moceir.web.archive import write_archive
from moceir.web.jobs import Job
from moceir.web.service import MEDIA_TYPES, Service, Upload, shown_name

PICTURE = "picture"
"""Name of the form field with a file."""
MOST_FIELDS = 20
LONGEST_FIELD = 10_000

Result = TypeVar("Result")
router = APIRouter()


@router.post("/v1/restore", **schemas.restore_operation(many=False))
async def restore(request: Request) -> Response:
    """Restore one picture. The answer is byte for byte what `moceir restore` writes with the same options."""
    service = service_of(request)
    async with _form(request) as form:
        uploads = await _uploads(form, 1)
        options = _options(form)
    jobs = service.restore(uploads, **options)
    del uploads
    await _finish(request, jobs)
    result = jobs[0].future.result()
    headers = {
        "X-Moceir-Model": _model_name(service, options),
        "X-Moceir-Route": ",".join("+".join(map(str, block)) for block in result.report.experts),
        "X-Moceir-Seconds": f"{result.seconds:.3f}",
        "X-Moceir-Notes": "; ".join(result.notes),
    }
    # Names of blocks, which notes quote, may hold anything.
    printable = {name: text.encode("unicode_escape").decode("ascii") for name, text in headers.items()}
    return Response(result.restored, media_type=MEDIA_TYPES[result.format], headers=printable)


@router.post("/v1/restore/batch", **schemas.restore_operation(many=True))
async def restore_batch(request: Request) -> Response:
    """Restore several pictures. The zip has those that succeeded, and a line in report.jsonl for each."""
    service = service_of(request)
    async with _form(request) as form:
        uploads = await _uploads(form, service.settings.queue_length)
        options = _options(form)
    names = [upload.name for upload in uploads]
    jobs = service.restore(uploads, **options)
    del uploads
    await _finish(request, jobs)
    data = await asyncio.to_thread(write_archive, names, jobs, _model_name(service, options))
    return Response(data, media_type="application/zip")


@router.post("/v1/inspect", **schemas.INSPECT)
async def inspect(request: Request) -> dict[str, Any]:
    """Say which experts work on a picture, at what cost, and which degradation it probably has."""
    service = service_of(request)
    async with _form(request) as form:
        (upload,) = await _uploads(form, 1)
        options = _options(form)
    job = service.inspect(upload, **options)
    await _finish(request, [job])
    seen = job.future.result()
    return {
        "model": _model_name(service, options),
        "width": seen.width,
        "height": seen.height,
        "routing": seen.routing.to_json(),
        "guess": None if seen.guess is None else seen.guess.to_json(),
    }


@router.get("/v1/models", **schemas.MODELS)
async def models(request: Request) -> dict[str, Any]:
    """List the models of this server."""
    service = service_of(request)
    listed = [
        {
            "name": name,
            "default": number == 0,
            "parameters": sum(weight.numel() for weight in model.restorer.model.parameters()),
            "experts": model.restorer.model.config.experts,
            "decoder_blocks": model.restorer.model.config.routed_blocks,
            "upscale": model.restorer.config.scale,
            "guesses_degradations": model.signatures is not None,
        }
        for number, (name, model) in enumerate(service.models.items())
    ]
    return {"models": listed}


@router.get("/health", **schemas.HEALTH)
async def health() -> dict[str, str]:
    """Say that the server runs."""
    return {"status": "ok"}


@router.get("/ready", **schemas.READY)
async def ready(request: Request) -> dict[str, Any]:
    """Say whether the server takes pictures now; 429 if its queue is full, 503 if it is about to stop."""
    queue = service_of(request).queue
    queue.check_room()
    return {"status": "ready", "queue": len(queue)}


@router.get("/metrics", **schemas.METRICS)
async def metrics(request: Request) -> Response:
    """Return counters in the text format of Prometheus."""
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4")


def service_of(request: Request) -> Service:
    """Return the service behind an application."""
    return request.app.state.service


@asynccontextmanager
async def _form(request: Request) -> AsyncGenerator[FormData]:
    """Parse the body as a form; its files are closed at the end of the block."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        detail = f"the body is {kind or 'of an unknown type'}; send multipart/form-data with a file named {PICTURE}"
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    files = service_of(request).settings.queue_length + 1
    async with request.form(max_files=files, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD) as form:
        yield form


async def _uploads(form: FormData, most: int) -> list[Upload]:
    """Read the pictures of a form.

    Raises:
        ConfigError: If there is none, there are too many, or another field holds a file.
    """
    given = form.getlist(PICTURE)
    files = [file for file in given if isinstance(file, UploadFile)]
    others = [name for name, value in form.multi_items() if isinstance(value, UploadFile) and name != PICTURE]
    if not files or len(files) != len(given) or others:
        raise ConfigError(f"the form holds {_described(form)}; give a file in the field {PICTURE}")
    if len(files) > most:
        raise ConfigError(f"the form holds {len(files)} files; give at most {most} in the field {PICTURE}")
    return [Upload(await file.read(), shown_name(file.filename)) for file in files]


def _options(form: FormData) -> dict[str, str]:
    """Read the options of a form.

    Raises:
        ConfigError: If one is given twice.
    """
    options: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            continue
        if name in options:
            raise ConfigError(f"the option '{name}' is given twice; give it once")
        options[name] = value
    return options


def _model_name(service: Service, options: Mapping[str, str]) -> str:
    return service.model(options.get("model"), options.get("upscale")).name


def _described(form: FormData) -> str:
    fields = sorted({f"'{shown_name(name)}'" for name in form})
    return f"the fields {', '.join(fields)}" if fields else "nothing"


async def _finish(request: Request, jobs: Sequence[Job[Any]]) -> None:
    """Wait until jobs are done; cancel them if the client leaves or the time is over.

    Raises:
        ClientDisconnect: If the client left.
    """
    done = asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs), return_exceptions=True)
    gone = asyncio.ensure_future(_disconnection(request))
    try:
        await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise ClientDisconnect
    finally:
        gone.cancel()
        for job in jobs:
            job.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _disconnection(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
