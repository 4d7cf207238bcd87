"""Keep the results of benchmarks: one JSON file per run, with the machine, the commit and the command.

``tools/performance_page.py`` makes docs/performance.md from the newest file of each benchmark.
"""

from __future__ import annotations

import datetime
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from moceir.evaluation.profiling import describe_machine
from moceir.files import write_json

RESULTS = Path(__file__).parent / "results"
MATTERING = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_bf16", "neon", "bf16", "sve", "sve_bf16")
"""Instruction sets, by torch's names, that make a difference to this network's speed."""
KEEP_HELP = "write the results to benchmarks/results as well, for docs/performance.md"


def describe_processor(threads: int | None = None) -> dict[str, Any]:
    """Describe the machine that a benchmark runs on, with the instruction sets of its processor.

    Args:
        threads: Threads of torch; None for the current number.
    """
    # torch 2.13 is the first version tested here that reports them.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    sets = [name for name in MATTERING if capabilities.get(name)]
    return describe_machine("cpu", threads, "float32") | {"instruction_sets": sets}


def print_machine(machine: dict[str, Any]) -> None:
    """Print one line about the machine."""
    shown = {key: " ".join(value) if isinstance(value, list) else value for key, value in machine.items()}
    print(", ".join(f"{key} {value}" for key, value in shown.items() if value), end="\n\n", flush=True)


def save_results(
    name: str, machine: dict[str, Any], rows: list[dict[str, Any]], json: Path | None = None, *, keep: bool = False
) -> None:
    """Write the results of this script.

    Args:
        name: Name of the results, as ``tools/performance_page.py`` knows it.
        machine: Result of `describe_processor`.
        rows: Results, one row per case.
        json: File to write; None for none.
        keep: Whether to write them to ``benchmarks/results/NAME/DATE-COMMIT.json`` as well, with a number if that
            exists.
    """
    # Where a folder is on this machine tells nobody anything.
    given = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *given])
    content = {"machine": machine, "commit": _commit(), "command": command, "rows": rows}
    files = [json] if json else []
    if keep:
        day = datetime.datetime.now(tz=datetime.UTC).date()
        endings = ("", *(f"-{number}" for number in range(2, 100)))
        names = (RESULTS / name / f"{day}-{content['commit']}{ending}.json" for ending in endings)
        files.append(next(path for path in names if not path.exists()))
    for file in files:
        write_json(file, content)


def _commit() -> str:
    """Return the short name of the commit, with ``+`` if files differ from it; ``unknown`` outside a repository."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)  # noqa: S603, S607 - the git of the developer
        return done.stdout.strip()

    commit = git("rev-parse", "--short=8", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../src", "../benchmarks")
    return f"{commit}{'+' if changed else ''}" if commit else "unknown"
