"""Describe the machine of a benchmark and its speed, and keep the results: JSON with machine, commit, command and rows.

``tools/performance_page.py`` and ``tools/docsite`` make pages from the kept files.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# moceir tells threads how to wait, and that has no effect once torch is loaded.
from moceir.evaluation.profiling import describe_machine
from moceir.files import write_json

# isort: split
import torch

RESULTS = Path(__file__).parent / "results"
MATTERING = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_bf16", "neon", "bf16", "sve", "sve_bf16")
"""Instruction sets, by torch's names, that make a difference to this network's speed."""
GEMM_SIDE = 2048


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--keep``, which `save_results` reads."""
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results as well")


def describe_processor(threads: int | None = None, device: str = "cpu") -> dict[str, Any]:
    """Describe the machine that a benchmark runs on, with the instruction sets of its processor.

    Args:
        threads: Threads of torch; None for the current number.
        device: Device, as for ``Restorer``.
    """
    # torch 2.13 is the first version tested here that reports them.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    sets = [name for name in MATTERING if capabilities.get(name)]
    return describe_machine(device, threads, "float32") | {"instruction_sets": sets}


def print_machine(machine: dict[str, Any]) -> None:
    """Print one line about the machine."""
    shown = {key: " ".join(value) if isinstance(value, list) else value for key, value in machine.items()}
    print(", ".join(f"{key} {value}" for key, value in shown.items() if value), end="\n\n", flush=True)


def gemm_gflops(clock: Callable[[], float] = time.perf_counter) -> float:
    """Measure the rate of a product of 2048x2048 matrices in this process, in GFLOP/s.

    It says how fast the machine is at the moment, so that times of different minutes and machines can be compared.

    Args:
        clock: Function that returns seconds.
    """
    square = torch.rand(GEMM_SIDE, GEMM_SIDE)
    out = torch.empty_like(square)
    began = clock()
    torch.mm(square, square, out=out)
    return 2 * GEMM_SIDE**3 / (clock() - began) / 1e9


def save_results(machine: dict[str, Any], options: argparse.Namespace, **results: list[dict[str, Any]]) -> None:
    """Write the results of this script.

    Args:
        machine: Result of `describe_processor`.
        options: Options of the script, with those of `add_result_options`. ``json`` receives all rows. With ``keep``,
            each result that has rows is written to ``benchmarks/results/NAME/DATE-TIME-COMMIT.json``. The time has
            microseconds, so names sort by time and no result replaces another.
        results: Rows by the name of the result, one row per case.
    """
    # Where a folder is on this machine tells nobody anything.
    given = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *given])
    content = {"machine": machine, "commit": _commit(), "command": command}
    if options.json:
        write_json(options.json, content | {"rows": [row for rows in results.values() for row in rows]})
    now = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d-%H%M%S.%f")
    for name, rows in results.items():
        if options.keep and rows:
            write_json(RESULTS / name / f"{now}-{content['commit']}.json", content | {"rows": rows})


def _commit() -> str:
    """Return the short name of the commit, with ``+`` if files differ from it; ``unknown`` outside a repository."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)  # noqa: S603, S607 - the git of the developer
        return done.stdout.strip()

    commit = git("rev-parse", "--short=8", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../src", "../benchmarks")
    return f"{commit}{'+' if changed else ''}" if commit else "unknown"
