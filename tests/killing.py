"""Kill ``moceir restore`` at random moments, go on with --skip-existing, and print what was found.

    python tests/killing.py FOLDER --model MODEL --kills 50 --seed 0

FOLDER/in holds the pictures. Every run is the real command in a process of its own, forked from this one, which has
everything imported: a second is for many kills that way.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from moceir import image_io
from moceir.cli import app
from moceir.cli.run import restore

SKIPPED_OR_DONE = ("skipped", "restored")


def start(arguments: list[str]) -> int:
    """Run the command in a child, in silence; gives its process id."""
    child = os.fork()
    if child:
        return child
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    code = 3
    try:
        app(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def wait_for_progress(out: Path) -> None:
    """Until the child writes, or is through: a kill while it starts is no great danger."""
    before, deadline = sorted(out.glob("*")), time.monotonic() + 3
    while time.monotonic() < deadline and sorted(out.glob("*")) == before:
        time.sleep(0.001)


def state(out: Path) -> dict[str, tuple[int, int]]:
    """What identifies each finished file: another write would give it another number or time."""
    whole = [path for path in out.glob("*") if not path.name.startswith(".")] if out.exists() else []
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in whole}


def check(folder: Path, before: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Fail if a file is not whole or one that was there was written again; gives the new state."""
    after = state(folder / "out")
    for name, identity in before.items():
        if after.get(name) != identity:
            raise AssertionError(f"{name} was written again or lost")
    return after


def main() -> None:
    """Kill and go on, several batches if need be, and print a summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, moments = options.folder, random.Random(options.seed)  # noqa: S311 - moments, not secrets
    arguments = ["restore", str(folder / "in"), "-o", str(folder / "out"), "--model", options.model, "--device", "cpu"]
    arguments += ["--skip-existing", "--report", str(folder / "report.jsonl")]
    expected = sorted(path.name for path in (folder / "in").iterdir())
    kills = batches = leftovers = between = 0
    while kills < options.kills:
        batches += 1
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "report.jsonl").unlink(missing_ok=True)
        known: dict[str, tuple[int, int]] = {}
        while kills < options.kills:
            child = start(arguments)
            if kills % 5:  # now and then in the beginning
                wait_for_progress(folder / "out")
            time.sleep(moments.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            known = check(folder, known)
            if not os.WIFSIGNALED(status):
                break  # it was through before the moment came
            kills += 1
            between += 0 < len(known) < len(expected)
            leftovers += sum(path.name.startswith(".") for path in folder.glob("out/.*"))
        _, status = os.waitpid(start(arguments), 0)
        if os.waitstatus_to_exitcode(status):
            raise AssertionError(f"the last run failed: {os.waitstatus_to_exitcode(status)}")
        check(folder, known)
        if sorted(path.name for path in (folder / "out").iterdir()) != expected:
            raise AssertionError("something is missing or left over")
        rows = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
        restored = [row["output"] for row in rows if row["status"] == "restored"]
        if len(restored) != len(set(restored)) or any(row["status"] not in SKIPPED_OR_DONE for row in rows):
            raise AssertionError("something was done twice, or failed")
    # Only now, for this starts threads that a fork would lack.
    for name in expected:
        image_io.read(folder / "out" / name)
    summary = {"kills": kills, "batches": batches, "leftovers": leftovers, "between": between}
    sys.stdout.write(json.dumps(summary))


if __name__ == "__main__":
    _ = restore  # imported for the children
    main()
