"""What the OpenAPI document says about each operation."""

from __future__ import annotations

from typing import Any

from moceir.image_io.formats import DEFAULT_QUALITY
from moceir.web import problems
from moceir.web.service import MEDIA_TYPES

_TEXT, _NUMBER, _INTEGER, _BOOLEAN = ({"type": name} for name in ("string", "number", "integer", "boolean"))
_FILE = {"type": "string", "format": "binary", "description": "A JPEG, PNG, WebP, TIFF or AVIF file."}
_ROUTES: dict[str, Any] = {
    "model": {"type": "string", "description": "Name of a model from /v1/models; the default is the first."},
    "effort": {
        "anyOf": [{"enum": ["low", "auto", "high"]}, _NUMBER],
        "description": "Shifts the routers' choice to cheap (below 0) or expensive experts (above 0).",
    },
    "experts": {
        "type": "string",
        "pattern": r"^(auto|cheapest|dearest|\d+([+,]\d+)*)$",
        "description": "Fixes the expert of each decoder block, deepest block first, for example 0,2,1.",
    },
}
_OPTIONS: dict[str, Any] = {
    **_ROUTES,
    "strength": {"type": "number", "minimum": 0, "maximum": 1, "description": "How much of the restoration to take."},
    "keep_tones": {"type": "boolean", "description": "Keep brightness and colours at large scales."},
    "upscale": {
        "type": "integer",
        "minimum": 1,
        "maximum": 4,
        "description": "Enlarge: both sides grow by this factor. Without a model, one that enlarges enough is taken.",
    },
    "format": {"enum": list(MEDIA_TYPES), "description": "Format of the result; by default that of the picture."},
    "quality": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": f"Of JPEG and WebP; {DEFAULT_QUALITY} by default.",
    },
    "metadata": {"enum": ["keep", "strip"], "description": "strip leaves out EXIF, XMP, IPTC and comments."},
}
_PROBLEMS = {
    400: "The form or an option is wrong.",
    401: "The token is missing or wrong.",
    403: "The request names another host, and the server has no token.",
    408: "The upload took too long.",
    413: "The body or the picture is above a limit.",
    415: "The file is not in one of the formats that are read.",
    422: "The picture is damaged, or of a kind that is not restored.",
    429: "The queue is full; Retry-After says when to try again.",
    503: "The server is about to stop.",
    504: "The answer took too long.",
}
_ROUTING = {
    "type": "object",
    "description": "The decisions of the routers, and the cost of the picture in 10^9 multiply-accumulates.",
    "required": ["blocks", "gmacs", "cheapest_gmacs", "dearest_gmacs"],
    "properties": {
        "blocks": {"type": "array", "items": {"type": "object"}},
        "gmacs": _NUMBER,
        "cheapest_gmacs": _NUMBER,
        "dearest_gmacs": _NUMBER,
    },
}
_HEADERS = {
    "X-Moceir-Model": "Name of the model.",
    "X-Moceir-Route": "Experts of each decoder block, deepest block first.",
    "X-Moceir-Seconds": "Seconds that the picture took, without waiting.",
    "X-Moceir-Notes": "What the result lacks of the picture, for example: 16 bits became 8.",
}


def _body(picture: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["picture"],
        "properties": {"picture": picture, **options},
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _answers(ok: dict[str, Any], *statuses: int) -> dict[int | str, Any]:
    content = {problems.MEDIA_TYPE: {"schema": problems.SCHEMA}}
    failures: dict[int | str, dict[str, Any]] = {
        status: {"description": _PROBLEMS[status], "content": content} for status in statuses
    }
    if 429 in failures:
        retry = {"Retry-After": {"description": "Seconds to wait.", "schema": _INTEGER}}
        failures[429] = failures[429] | {"headers": retry}
    return {200: ok, **failures}


def _json(description: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def restore_operation(many: bool) -> dict[str, Any]:
    """Describe ``/v1/restore``, or ``/v1/restore/batch`` for many pictures."""
    if many:
        picture: dict[str, Any] = {"type": "array", "items": _FILE, "minItems": 1}
        binary = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
        ok: dict[str, Any] = {"description": "A zip with the pictures and report.jsonl.", "content": binary}
    else:
        picture = _FILE
        headers = {name: {"description": text, "schema": _TEXT} for name, text in _HEADERS.items()}
        content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()}
        ok = {"description": "The restored picture.", "content": content, "headers": headers}
    return {"openapi_extra": _body(picture, _OPTIONS), "responses": _answers(ok, *_PROBLEMS)}


INSPECT: dict[str, Any] = {
    "openapi_extra": _body(_FILE, _ROUTES),
    "responses": _answers(
        _json(
            "Route, cost and likely degradation.",
            model=_TEXT,
            width=_INTEGER,
            height=_INTEGER,
            routing=_ROUTING,
            guess={"type": ["object", "null"]},
        ),
        *_PROBLEMS,
    ),
}
_MODEL = {
    "name": _TEXT,
    "default": _BOOLEAN,
    "parameters": _INTEGER,
    "experts": _INTEGER,
    "decoder_blocks": _INTEGER,
    "upscale": _INTEGER,
    "guesses_degradations": _BOOLEAN,
}
_MODELS = {"type": "array", "items": {"type": "object", "required": list(_MODEL), "properties": _MODEL}}
MODELS: dict[str, Any] = {"responses": _answers(_json("The models.", models=_MODELS), 401, 403)}
HEALTH: dict[str, Any] = {"responses": _answers(_json("It runs.", status=_TEXT), 403)}
READY: dict[str, Any] = {
    "responses": _answers(_json("It takes pictures.", status=_TEXT, queue=_INTEGER), 403, 429, 503)
}
METRICS: dict[str, Any] = {
    "responses": _answers({"description": "The counters.", "content": {"text/plain": {"schema": _TEXT}}}, 401, 403)
}
