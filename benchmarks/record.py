"""Run a benchmark and keep its result, which the documentation site then draws over time.

    python benchmarks/record.py inference --preset tiny --size 256x256 --threads 1

The result goes to ``benchmarks/results/NAME/DATE-COMMIT.json`` with the keys ``machine``, ``commit``, ``command`` and
``rows``. All arguments after the name go to the benchmark, which must write ``rows`` with ``--json``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from moceir.files import write_json

HERE = Path(__file__).parent


def main() -> None:
    """Run the benchmark and write its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the records")
    parser.add_argument("name", help="benchmark, the name of a script beside this one")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the benchmark")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out.json"
        script = str(HERE / f"{options.name}.py")
        subprocess.run([sys.executable, script, *options.arguments, "--json", str(out)], check=True)  # noqa: S603 - ours
        content = json.loads(out.read_text(encoding="utf-8"))
    target = options.results / options.name / f"{datetime.date.today()}-{commit()[:7]}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, record(content, options.name, options.arguments))
    print(f"wrote {target}")


def record(content: dict[str, Any], name: str, arguments: list[str]) -> dict[str, Any]:
    """Split what a benchmark wrote into the machine and the rows, and add the commit and the command."""
    command = " ".join(["python", f"benchmarks/{name}.py", *arguments])
    machine = {key: value for key, value in content.items() if key != "rows"}
    return {"machine": machine, "commit": commit(), "command": command, "rows": content["rows"]}


def commit() -> str:
    """Return the commit of the working tree, with ``+`` if it has changes in the package."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)  # noqa: S607
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "../src"], cwd=HERE, check=False)  # noqa: S607
    return found.stdout.strip() + ("+" if changed.returncode else "")


if __name__ == "__main__":
    main()
