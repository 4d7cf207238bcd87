"""The reference of settings: keys of recipes and networks, and the options of a restoration, with their docstrings."""

from __future__ import annotations

import re
import types
import typing
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from moceir.config import ModelConfig
from moceir.recipe import Recipe
from moceir.restoration import RestoreOptions


def recipe_keys() -> str:
    """Return tables of the keys of a recipe, one for each of its sections."""
    sections = [("Recipe", "", Recipe)]
    for name, field in Recipe.model_fields.items():
        section = _inner_model(field.annotation)
        if section is not None and section is not ModelConfig:
            sections.append((f"`{name}`", f"{name}.", section))
    return "\n".join(line for title, prefix, model in sections for line in _section(title, prefix, model))


def network_keys() -> str:
    """Return the table of the keys that describe a network."""
    return "\n".join(_table("", ModelConfig))


def options() -> str:
    """Return the table of the options of a restoration."""
    return "\n".join(_table("", RestoreOptions))


def _section(title: str, prefix: str, model: type[BaseModel]) -> list[str]:
    return [f"## {title}", "", _code(model.__doc__ or ""), "", *_table(prefix, model), ""]


def _table(prefix: str, model: type[BaseModel]) -> list[str]:
    rows = [
        f"| `{prefix}{name}` | {_kind(field)} | {_default(field)} | {_code(field.description or '')} |"
        for name, field in model.model_fields.items()
    ]
    return ["| key | type | default | |", "| --- | --- | --- | --- |", *rows]


def _kind(field: FieldInfo) -> str:
    """Format the type of a field with its range, for example ``int, 1 or more``."""
    limits = {type(limit).__name__: limit for limit in field.metadata}
    words = [_type_name(field.annotation)]
    words += [f"above {limits['Gt'].gt:g}"] if "Gt" in limits else []
    words += [f"{limits['Ge'].ge:g} or more"] if "Ge" in limits else []
    words += [f"below {limits['Lt'].lt:g}"] if "Lt" in limits else []
    words += [f"at most {limits['Le'].le:g}"] if "Le" in limits else []
    return ", ".join(words).replace("|", "\\|")


def _type_name(kind: Any) -> str:
    if kind is type(None):
        return "none"
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type_name(inside[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inside)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(_type_name(part) for part in inside))
    if origin is tuple:
        return f"list of {_type_name(inside[0])}"
    if origin is dict:
        return f"{_type_name(inside[1])} by name"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "keys below"
    return {"str": "text", "bool": "true or false", "Path": "path", "float": "number", "int": "integer"}.get(
        kind.__name__, kind.__name__
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel) or value in ((), {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _inner_model(kind: Any) -> type[BaseModel] | None:
    """Return the model that a type is or contains."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((model for part in typing.get_args(kind) if (model := _inner_model(part))), None)


def _code(text: str) -> str:
    """Turn a docstring into a cell of a Markdown table: single backticks, one line, and no bars."""
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split())).replace("|", "\\|")
