"""Files of any size as a few small ones, because only those travel back from an accelerator.

A state that is too large is rounded: weights to float16, the optimiser's squares to a mean per output channel. What is
forgotten within some steps (the mean of the gradients, the average of the weights) is left out. Whatever moment a run
is killed at, the manifest lists parts that belong together.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from moceir.errors import DataError
from moceir.files import whole_file
from moceir.training.state import load_state, save_state

PART_BYTES = 15 * 2**20
MOST_BYTES = 63 * 2**20
"""Most bytes of a transfer, either way; a little less than 64 MiB."""
ROOM_FOR_STATE = 30 * 2**20
"""States beyond this are rounded, so that the model fits beside them."""
MANIFEST = "manifest.json"


def send(name: str, content: bytes, folder: Path) -> None:
    """Put a file into a folder of small files, in place of an earlier version of it.

    Args:
        name: Name of the file.
        content: What it holds.
        folder: Where the parts and the manifest lie.
    """
    manifest = _manifest(folder)
    before = manifest.get(name, {"parts": []})["parts"]
    digest = hashlib.sha256(content).hexdigest()
    pieces = [content[i : i + PART_BYTES] for i in range(0, len(content), PART_BYTES)] or [b""]
    names = [f"{name}.{digest[:8]}.{number}" for number in range(len(pieces))]
    for part, piece in zip(names, pieces, strict=True):
        with whole_file(folder / part) as place:
            place.write_bytes(piece)
    manifest[name] = {"sha256": digest, "parts": names}
    with whole_file(folder / MANIFEST) as place:
        place.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for part in set(before) - set(names):
        (folder / part).unlink(missing_ok=True)


def receive(folder: Path, output: Path) -> list[Path]:
    """Put the files of a folder of small files together again.

    Raises:
        DataError: If the manifest or a part is missing, or a file is not what was sent.
    """
    made: list[Path] = []
    for name, entry in _manifest(folder, needed=True).items():
        try:
            content = b"".join((folder / part).read_bytes() for part in entry["parts"])
        except OSError as error:
            raise DataError(f"a part of {name} is missing in {folder} ({error}); fetch the files again") from error
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise DataError(f"{name} in {folder} is damaged; fetch the files again")
        with whole_file(output / name) as place:
            place.write_bytes(content or b"\n")
        made.append(output / name)
    return made


def _manifest(folder: Path, *, needed: bool = False) -> dict[str, Any]:
    path = folder / MANIFEST
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    if needed:
        raise DataError(f"{folder} holds no {MANIFEST}; give the folder of the files that came back")
    return {}


def small_state(path: Path, room: int = ROOM_FOR_STATE) -> bytes:
    """Return a state file's content, rounded if it is larger than ``room`` bytes."""
    if path.stat().st_size <= room:
        return path.read_bytes()
    state = load_state(path)
    rounded = dataclasses.replace(
        state,
        weights={name: value.half() for name, value in state.weights.items()},
        average={},
        means={},
        squares={name: _mean_of_rows(value) for name, value in state.squares.items()},
    )
    with tempfile.TemporaryDirectory() as folder:
        save_state(rounded, Path(folder, "state"))
        return Path(folder, "state").read_bytes()


def _mean_of_rows(squares: Tensor) -> Tensor:
    """One value for each output channel, in a shape that spreads to that of the parameter."""
    return squares.mean(dim=tuple(range(1, squares.ndim)), keepdim=True) if squares.ndim > 1 else squares
