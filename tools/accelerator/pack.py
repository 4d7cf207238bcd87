"""Put everything that a run needs into two folders that git ignores, each small enough for one transfer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from moceir import image_io
from moceir.data.photographs import picture_files
from moceir.errors import DataError
from moceir.recipe import load_recipe
from moceir.training.stretch import STATE_FILE
from tools.accelerator.networks import RECIPE, overrides
from tools.accelerator.parcel import MOST_BYTES, send, small_state

QUALITIES = (95, 90, 85, 80, 75)
ROOT = Path(__file__).parents[2]
WHEELS = Path(__file__).with_name("wheels.txt")
PURE = "pyvips=="
"""Comes as source only, and is pure Python beside pyvips-binary."""


def pack(
    photographs: Path,
    output: Path,
    *,
    network: str,
    state: Path | None = None,
    start: str = "tiny",
    wheels: bool = True,
    limit_bytes: int = 45_000_000,
    changes: Sequence[str] = (),
) -> None:
    """Fill ``output/data`` (photographs, wheels) and ``output/state`` (recipe, and what to begin with).

    Args:
        photographs: Folder of clean photographs.
        output: Where the two folders are made anew.
        network: ``tiny`` or ``small``.
        state: Undecayed state to go on from.
        start: Model to begin with where there is no state; a smaller one is grown.
        wheels: Whether to fetch the packages of ``wheels.txt``.
        limit_bytes: Most bytes of photographs.
        changes: Further changes to the recipe, as ``tasks.rain=3``.

    Raises:
        DataError: If a folder would be too large to travel.
    """
    data, settings = output / "data", output / "state"
    for folder in (data, settings):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    if wheels:
        fetch_wheels(data / "wheels")
    room = MOST_BYTES - _size(data) - tree_bytes()
    pack_photographs(photographs, data / "photographs", min(limit_bytes, room))
    recipe = load_recipe(RECIPE, [f"model={network}", *overrides(network), *changes])
    (settings / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    if state is not None:
        send(STATE_FILE, small_state(state), settings)
    else:
        (settings / "start.txt").write_text(start + "\n")
    for folder in (data, settings):
        size = _size(folder) + tree_bytes()
        print(f"{folder}: {size / 1e6:.1f} MB together with the files of the project")
        if size > MOST_BYTES:
            raise DataError(f"{folder} and the project have {size / 1e6:.0f} MB and would not travel; lower --limit-mb")


def pack_photographs(photographs: Path, target: Path, limit_bytes: int) -> None:
    """Copy photographs, compressed again as far as the limit asks for.

    All of them, by their own names: which ones are held out follows from the names of all.

    Raises:
        DataError: If they are too large at the lowest quality.
    """
    files = picture_files(photographs)
    for path in files:
        place = target / path.relative_to(photographs)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    for quality in QUALITIES:
        if _size(target) <= limit_bytes:
            return
        print(f"photographs: {_size(target) / 1e6:.1f} MB, compressed again at quality {quality}")
        for path in files:
            _shrink(path, target / path.relative_to(photographs), quality)
    if _size(target) > limit_bytes:
        raise DataError(f"photographs take {_size(target) / 1e6:.0f} MB at quality {QUALITIES[-1]}; give smaller ones")


def tree_bytes() -> int:
    """Return the size of the files that git tracks or does not ignore: they travel too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - the words above
    paths = {ROOT / name for name in done.stdout.split("\0") if name}
    return sum(path.stat().st_size for path in paths if path.is_file())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _shrink(path: Path, place: Path, quality: int) -> None:
    """Compress a JPEG file again, unless that makes it larger."""
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return
    image_io.write(place, image_io.read(path), quality=quality, strip=True)
    if place.stat().st_size >= path.stat().st_size:
        shutil.copy2(path, place)


def fetch_wheels(folder: Path) -> None:
    """Fetch the packages that such a machine lacks, for its Python and system."""
    names = [line for line in WHEELS.read_text().splitlines() if line and not line.startswith("#")]
    versions = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = [f"{name}=={versions[name]}" for name in names]
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in (34, 28, 27, 26, 24, 17)]
    platforms += ["manylinux2014_x86_64", "manylinux1_x86_64"]
    pip = [sys.executable, "-m", "pip"]
    download = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    download += ["--python-version", "3.12", "--implementation", "cp"]
    download += [word for platform in platforms for word in ("--platform", platform)]
    subprocess.run([*download, *(name for name in pinned if not name.startswith(PURE))], check=True)  # noqa: S603
    build = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*build, *(name for name in pinned if name.startswith(PURE))], check=True)  # noqa: S603
