"""Help and usage errors answer before anything heavy is loaded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

COMMANDS = (
    "restore",
    "inspect",
    "serve",
    "degrade",
    "train",
    "evaluate",
    "benchmark",
    "export",
    "convert",
    "signatures",
    "data",
    "data list",
    "data check",
    "data pack",
)
HEAVY = {"torch", "numpy", "lightning", "pyvips", "skimage", "PIL", "matplotlib"}
WRONG = (
    "degrade a.png -o out",
    "degrade a.png -o out --replay x.jsonl --seed 1",
    "evaluate --clean x",
    "benchmark --size big",
    "train recipe.yaml --data x --max-time soon",
    "data check",
)

RUN = """
import json, sys
from typer.testing import CliRunner
from moceir.cli import app

results = [CliRunner().invoke(app, line.split()) for line in sys.argv[1:]]
print(json.dumps([[r.exit_code, r.output] for r in results] + [list(sys.modules)]))
"""


def run_all(*lines: str) -> tuple[list[Any], set[str]]:
    """Exit code and output of each command line, and what a fresh interpreter has loaded after them."""
    done = subprocess.run([sys.executable, "-c", RUN, *lines], capture_output=True, text=True, timeout=60, check=True)
    *results, modules = json.loads(done.stdout)
    return results, set(modules)


def test_help_loads_nothing_heavy() -> None:
    results, modules = run_all("--help", *(f"{command} --help" for command in COMMANDS))
    for (code, output), command in zip(results, ("", *COMMANDS), strict=True):
        assert code == 0
        assert f"Usage: moceir {command}".strip() in output
    assert set(re.findall(r"^│ (\w+) ", results[0][1], re.MULTILINE)) == {command.split()[0] for command in COMMANDS}
    assert not modules & HEAVY
    assert not any(module.startswith("moceir.cli.run.") for module in modules)


def test_wrong_usage_is_refused_before_anything_heavy_is_loaded() -> None:
    results, modules = run_all(*WRONG)
    assert [code for code, _ in results] == [2] * len(WRONG)
    assert not modules & HEAVY
