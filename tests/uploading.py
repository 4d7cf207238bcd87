"""Upload all files of folders, and mutated files, to a server, and print how often each status came.

    python tests/uploading.py --folder FOLDER --mutations 1000

Each answer must be a picture or a problem document with an expected status, and the server must be ready at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import mutating
import numpy as np
import torch
from serving import Served, running

from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.weights import ModelFile, save

EXPECTED = (200, 413, 415, 422)


def upload(server: Served, data: bytes, name: str) -> int:
    """Restore one file by the server and return the status.

    Raises:
        AssertionError: If the answer is not as it must be.
    """
    answer = server.restore(data, name)
    kind = answer.headers["content-type"]
    right = kind.startswith("image/") if answer.status_code == 200 else kind == "application/problem+json"
    if answer.status_code not in EXPECTED or not right:
        raise AssertionError(f"{name}: {answer.status_code} {kind} {answer.text[:200]}")
    return answer.status_code


def main() -> None:
    """Upload everything and print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, action="append", default=[])
    parser.add_argument("--mutations", type=int, default=0)
    options = parser.parse_args()
    counts: dict[str, Counter[int]] = {"files": Counter(), "mutations": Counter()}
    with tempfile.TemporaryDirectory() as model:
        torch.manual_seed(0)
        save(MoCEIR(preset("nano")), Path(model), ModelFile(model=preset("nano")))
        with running(models=(model,), options={"device": "cpu", "max_pixels": 2_000_000}, port=0) as server:
            server.http.timeout = 900
            for folder in options.folder:
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    counts["files"][upload(server, path.read_bytes(), path.name)] += 1
            rng, seeds = np.random.default_rng(1), mutating.seeds()
            for number in range(options.mutations):
                counts["mutations"][upload(server, mutating.mutated(rng, seeds), f"{number}")] += 1
            ready = server.http.get("/ready").json()
    sys.stdout.write(json.dumps({name: dict(count) for name, count in counts.items()} | {"ready": ready}) + "\n")


if __name__ == "__main__":
    main()
