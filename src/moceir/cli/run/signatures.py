"""Run ``moceir signatures``."""

from __future__ import annotations

import typer

from moceir.cli.run.terminal import progress_bar
from moceir.cli.signatures import SignaturesArguments
from moceir.evaluation.report import markdown_table
from moceir.insight.learning import Amount, make_signatures
from moceir.insight.signatures import SIGNATURES_FILE, UNKNOWN, confusion_rows
from moceir.machine.allocator import keep_freed_memory
from moceir.weights import resolve


def run(arguments: SignaturesArguments) -> None:
    """Learn signatures, write them beside the weights, and print the confusion table."""
    keep_freed_memory()
    amount = Amount(arguments.pictures, arguments.held_out, arguments.patch_px, arguments.seed)
    with progress_bar("learning") as advance:
        learnt, *_ = make_signatures(arguments.model, arguments.photographs, amount, arguments.device, advance)
    target = resolve(arguments.model) / SIGNATURES_FILE
    learnt.save(target)
    rows = confusion_rows(learnt.confusion, learnt.tasks)
    for line in markdown_table(("", "right", *learnt.tasks, UNKNOWN), rows):
        typer.echo(line)
    typer.echo(f"learnt from {learnt.fitted_on} pictures per task; written to {target}")
