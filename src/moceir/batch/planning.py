"""Plan a batch: which file becomes which, decided before anything is written."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moceir import image_io
from moceir.errors import MoceirError, OutputError, named
from moceir.files import cannot_write
from moceir.image_io.formats import FORMATS, OTHER_SUFFIXES, SUFFIXES, WRITABLE_SUFFIXES, writable_format


@dataclass(frozen=True)
class Job:
    """One picture to make.

    Attributes:
        source: The file to read.
        target: The file to write.
        place: The source relative to the input it was found in, for example ``day 1/a.png``.
    """

    source: Path
    target: Path
    place: Path

    def __str__(self) -> str:
        return str(self.source)


@dataclass(frozen=True)
class Naming:
    """Rule for the name of an output, given that of its input.

    Attributes:
        output: A folder, in which sub-folders are mirrored, or (if `single_file`) a file for one input file; None for
            the folder of each input.
        format: ``jpeg``, ``png``, ``webp`` or ``tiff``; None keeps the input's (PNG for
            formats that are not written).
        addition: Added to the name before its suffix, for example ``_restored``.
        single_file: Whether the output may be a file.
    """

    output: Path | None
    format: str | None = None
    addition: str = ""
    single_file: bool = True

    def target(self, source: Path, place: Path) -> Path:
        """Return the output of one input."""
        suffix = place.suffix
        if self.format is None:
            suffix = suffix if suffix.lower() in WRITABLE_SUFFIXES else ".png"
        elif suffix.lower() not in FORMATS[self.format]:
            suffix = FORMATS[self.format][0]
        name = f"{place.stem}{self.addition}{suffix}"
        return source.with_name(name) if self.output is None else self.output / place.with_name(name)


def plan(inputs: Iterable[Path], naming: Naming) -> tuple[list[Job], list[str]]:
    """Decide which file becomes which.

    Args:
        inputs: Files, folders, and patterns such as ``scans/**/*.png`` (unless a file has that name).
        naming: How outputs are named. Files below an input folder that lie in the output folder, or are the output of
            another picture, are not inputs: an earlier run made them.

    Returns:
        The jobs, and a line for each input that cannot be used.

    Raises:
        OutputError: If the output is a file where a folder is needed, two inputs would write one output, or an output
            would replace an input.
    """
    problems: list[str] = []
    entries = list(_expanded(inputs, problems))
    alone = len(entries) == 1 and not entries[0][0].is_dir()
    if naming.output is not None:
        _refuse_other_formats(naming, alone)
        as_file = naming.output.suffix.lower() in WRITABLE_SUFFIXES and not naming.output.is_dir()
        if as_file and naming.single_file and alone and not naming.addition:
            return _one_job(entries[0][0], naming.output, naming.format), problems
        if as_file or naming.output.is_file():
            msg = f"{naming.output} is the name of a file, but this makes a folder of files; give a folder with -o"
            raise OutputError(msg)
    jobs = _distinct(_jobs(entries, naming, problems))
    _refuse_replaced_inputs(jobs)
    return jobs, problems


def _refuse_other_formats(naming: Naming, alone: bool) -> None:
    """Refuse an output such as ``a.gif``, which nobody means as the name of a folder.

    For one file no suffix is taken for part of a folder's name; for a folder or several files only those of pictures
    are refused.

    Raises:
        OutputError: If the output is to be of a format that is not written.
    """
    output = naming.output
    if output is None or output.exists():
        return
    suffix = output.suffix.lower()
    one_file = alone and naming.single_file and re.fullmatch(r"\.(?=.*[a-z])[a-z0-9]{1,6}", suffix)
    if suffix not in WRITABLE_SUFFIXES and (one_file or suffix in (*SUFFIXES, *OTHER_SUFFIXES)):
        expected = ", ".join(WRITABLE_SUFFIXES)
        raise OutputError(
            f"cannot write {output}: no {suffix} files are written; give one of {expected}, or a folder without a dot"
        )


def _one_job(source: Path, target: Path, kind: str | None) -> list[Job]:
    writable_format(target, kind)
    jobs = [Job(source, target, Path(source.name))]
    _refuse_replaced_inputs(jobs)
    return jobs


def _expanded(inputs: Iterable[Path], problems: list[str]) -> Iterable[tuple[Path, Path]]:
    """Yield each file or folder and the folder its place is relative to; patterns become the files they match."""
    for entry in inputs:
        text = str(entry)
        if not glob.has_magic(text) or os.path.lexists(entry):
            yield entry, entry if entry.is_dir() else entry.parent
            continue
        magic = next(i for i, part in enumerate(entry.parts) if glob.has_magic(part))
        fixed, pattern = Path(*entry.parts[:magic]), str(Path(*entry.parts[magic:]))
        found = image_io.sift((path for path in fixed.glob(pattern) if not path.is_dir()), fixed)
        found.report(entry)
        if not found.pictures:
            problems.append(f"{entry}: the pattern matches no picture; put it in quotes and mind its folder")
        for match in found.pictures:
            yield match, fixed


def _jobs(entries: list[tuple[Path, Path]], naming: Naming, problems: list[str]) -> list[Job]:
    """Make a job for each file, and for each picture in a folder that no earlier run made."""
    jobs: list[Job] = []
    for entry, base in entries:
        if not entry.is_dir():
            place = entry.relative_to(base) if base in entry.parents else Path(entry.name)
            jobs.append(Job(entry, naming.target(entry, place), place))
            continue

        def note(error: MoceirError, entry: Path = entry) -> None:
            problems.append(named(entry, error))

        found = image_io.find([entry], note)
        if naming.output is not None and entry.resolve() in naming.output.resolve().parents:
            found = [pair for pair in found if naming.output.resolve() not in pair[0].resolve().parents]
        here = [Job(source, naming.target(source, place), place) for source, place in found]
        made = {job.target for job in here if job.target != job.source}
        jobs += [job for job in here if job.source not in made]
    return jobs


def _distinct(jobs: list[Job]) -> list[Job]:
    """Return each job once.

    Raises:
        OutputError: If two sources would write one target.
    """
    by_target: dict[Path, Job] = {}
    for job in jobs:
        other = by_target.setdefault(job.target, job)
        if other.source != job.source:
            msg = (
                f"{other.source} and {job.source} would both be written to {job.target}; give them different output "
                "folders"
            )
            raise OutputError(msg)
    return list(by_target.values())


def _refuse_replaced_inputs(jobs: list[Job]) -> None:
    """Refuse to replace originals, whatever the options.

    Raises:
        OutputError: If a target is one of the sources.
    """
    sources = {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        if os.path.realpath(job.target) in sources and job.target.exists():
            msg = f"{job.target} is the input itself, and originals are never replaced; choose another folder or name"
            raise OutputError(msg)


def check_reports(*paths: Path | None) -> None:
    """Refuse reports that cannot be written, before the work is done; existing ones may be replaced.

    Raises:
        OutputError: If there is such a place.
    """
    for path in paths:
        if path is not None:
            check_target(path, exists_is_fine=True)


def check_target(target: Path, *, exists_is_fine: bool) -> None:
    """Refuse an output that exists or cannot be written, before the work is done.

    Raises:
        OutputError: If so, or if its name is too long.
    """
    try:
        if target.is_dir():
            raise OutputError(f"cannot write {target}: a folder has this name; give another output")
        if target.exists() and not exists_is_fine:
            raise OutputError(f"{target} exists already; add --overwrite or --skip-existing, or choose another output")
        folder = next(parent for parent in target.absolute().parents if parent.exists())
    except OSError as error:
        raise cannot_write(target, error) from error
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = "may not be written to" if folder.is_dir() else "is a file, not a folder"
        raise OutputError(f"cannot write {target}: {folder} {what}; give another output")
