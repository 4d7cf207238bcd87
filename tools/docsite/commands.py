"""The reference of the command line, from the Typer application."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from moceir.cli import app


def reference() -> str:
    """Return a section for each command: usage, help text, and a table of arguments and options."""
    root: Any = get_command(app)
    lines: list[str] = []
    for name, command, context in _walk(root, typer.Context(root, info_name="moceir")):
        usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
        lines += [f"## {name}", "", "```text", usage, "```", "", inspect.cleandoc(command.help or ""), ""]
        lines += _tables(command)
    return "\n".join(lines)


def _walk(command: Any, context: typer.Context) -> Iterator[tuple[str, Any, typer.Context]]:
    """Yield the name, the command and its context for all commands below a group."""
    for name, child in command.commands.items():
        inner = typer.Context(child, info_name=name, parent=context)
        if hasattr(child, "commands"):
            yield from _walk(child, inner)
        else:
            yield inner.command_path, child, inner


def _tables(command: Any) -> list[str]:
    """Return a Markdown table for each panel of options."""
    panels: dict[str, list[str]] = {}
    for parameter in command.params:
        if parameter.name != "help":
            panel = parameter.rich_help_panel or ("Options" if parameter.opts[0].startswith("-") else "Arguments")
            panels.setdefault(panel, []).append(_row(parameter))
    lines: list[str] = []
    for panel in sorted(panels, key=lambda name: name != "Arguments"):
        lines += [f"**{panel}**", "", "| | default | |", "| --- | --- | --- |", *panels[panel], ""]
    return lines


def _row(parameter: Any) -> str:
    named = parameter.opts[0].startswith("-")
    names = (
        ", ".join(f"`{option}`" for option in parameter.opts)
        if named
        else f"`{parameter.metavar or parameter.name.upper()}`"
    )
    value = f" `{parameter.metavar}`" if named and parameter.metavar else ""
    if parameter.required:
        default = "required"
    elif isinstance(parameter.show_default, str):
        default = parameter.show_default
    elif parameter.default in (None, False, "", ()):
        default = ""
    else:
        default = f"`{getattr(parameter.default, 'value', parameter.default)}`"
    # Patterns such as **/*.tif are not emphasis.
    text = " ".join((parameter.help or "").split()).replace("|", "\\|").replace("*", "\\*")
    return f"| {names}{value} | {default} | {text} |"
