"""Build what is published, and try it as a stranger would.

    python tools/release.py

1. Builds sdist and wheel into ``dist/``, the wheel from the sdist.
2. Installs the wheel into a fresh virtual environment without constraints, and there shows the help and the version,
   restores an example picture from the command line and from Python, and checks that a missing extra is named.
3. Writes an SBOM of that environment (CycloneDX) and the SHA-256 checksums of all files in ``dist/``.

Torch is installed first, in the version of ``constraints.txt``: where an index offers builds for the processor only,
the plain requirement of the wheel would fetch gigabytes of CUDA instead.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
RESTORE = """
import moceir, numpy
picture = numpy.full((24, 40, 3), 128, numpy.uint8)
assert moceir.Restorer.from_pretrained("tiny", device="cpu").restore(picture).shape == picture.shape
"""


def main() -> None:
    """Build, try, and describe the release."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,) = DIST.glob("*.whl")
    with tempfile.TemporaryDirectory() as place:
        python = fresh_environment(Path(place), wheel)
        try_wheel(python, Path(place))
        # The SBOM lists what is installed, which in this environment is what the wheel needs.
        sbom = DIST / f"{wheel.stem.split('-py3')[0]}.cdx.json"
        tool = Path(sys.executable).with_name("cyclonedx-py")
        run(tool, "environment", "--output-reproducible", "--of", "JSON", "--output-file", sbom, python)
    files = sorted(path for path in DIST.iterdir())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (DIST / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    print("".join(sums), end="")


def fresh_environment(place: Path, wheel: Path) -> Path:
    """Make a virtual environment with the wheel and what it needs, and return its interpreter."""
    run(sys.executable, "-m", "venv", place / "venv")
    python = place / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    (torch,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*install, torch)
    run(*install, wheel)
    return python


def try_wheel(python: Path, place: Path) -> None:
    """Use the installed wheel away from the repository.

    Raises:
        SystemExit: If a missing extra is not named.
    """
    picture = ROOT / "examples" / "degraded" / "rain_rocket.png"
    moceir = python.with_name("moceir")
    for arguments in (("--version",), ("--help",), ("restore", picture, "-o", "restored.png")):
        run(moceir, *arguments, cwd=place)
    run(python, "-c", RESTORE, cwd=place)
    missing = subprocess.run(  # noqa: S603 - the program that was just installed
        [moceir, "inspect", picture, "--figure", "routes.png"], cwd=place, capture_output=True, text=True, check=False
    )
    if "pip install 'moceir[inspect]'" not in missing.stderr:
        raise SystemExit(f"a missing extra is not named: {missing.stderr}")


def run(*command: object, cwd: Path = ROOT) -> None:
    """Run a command, and stop if it fails. The working folder of the repository is not on its path."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    subprocess.run([str(word) for word in command], check=True, cwd=cwd, env=clean)  # noqa: S603 - all commands are ours


if __name__ == "__main__":
    main()
