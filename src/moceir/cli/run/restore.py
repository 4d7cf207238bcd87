"""What ``moceir restore`` does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import typer

from moceir.batch.pipeline import Together
from moceir.batch.planning import Job, Naming, check_reports, check_target, plan
from moceir.batch.report import Report
from moceir.batch.shots import routes_by_shot
from moceir.batch.stages import FileStages
from moceir.cli.options import Existing, existing_policy
from moceir.cli.restore import RestoreArguments
from moceir.cli.run.jobs import Stages, run_jobs
from moceir.cli.run.terminal import echo, progress_bar
from moceir.errors import MoceirError, OutputError
from moceir.image_io.formats import FORMATS, LOSSY, format_of
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration import RestorationResult, RestoreOptions, Restorer

STREAM = Path("-")


class _FileStages(Protocol):
    """The three stages of a file, here or on a server."""

    def read(self, job: Job, /) -> Any: ...

    def work(self, job: Job, read: Any, /) -> Any: ...

    def write(self, job: Job, worked: Any, /) -> RestorationResult[None]: ...

    @property
    def together(self) -> Together[Job, Any, Any] | None: ...


def run(arguments: RestoreArguments) -> None:
    """Restore the inputs.

    Raises:
        typer.BadParameter: If options contradict each other.
        typer.Exit: With code 1 if anything failed or is left to do.
        MoceirError: If nothing can be begun, or the one picture of a pipe fails.
    """
    _check_usage(arguments)
    existing = existing_policy(arguments.overwrite, arguments.skip_existing)
    options = restore_options(arguments.asked, arguments.force_expert)
    if arguments.sequence and (options.experts != "auto" or options.shift):
        raise typer.BadParameter("--sequence chooses the experts itself; leave out --effort, --experts, --force-expert")
    if STREAM in (*arguments.inputs, arguments.output):
        _restore_stream(arguments, options, existing)
        return
    jobs, problems = plan(arguments.inputs, Naming(arguments.output, options.format, arguments.suffix))
    kinds = {format_of(job.target.suffix) for job in jobs}
    _check_quality(options, kinds or {options.format})
    check_reports(arguments.report)
    if arguments.server is not None:
        # Only a server needs the client, and with it torch.
        from moceir.cli.run.remote import ServerStages  # noqa: PLC0415

        with ServerStages(arguments.server, arguments.token_file, options) as remote:
            _restore_files(remote, jobs, problems, existing, arguments)
        return
    restorer = _load(options)
    by_source = _restorers_by_shot(restorer, jobs) if arguments.sequence else {}
    stages = FileStages(restorer, by_source=by_source, reference=arguments.reference)
    _restore_files(stages, jobs, problems, existing, arguments)


def _check_usage(arguments: RestoreArguments) -> None:
    """Refuse options that contradict each other.

    Raises:
        typer.BadParameter: If they do.
    """
    suffix = arguments.suffix
    if arguments.server is not None:
        from moceir.cli.run.remote import check_server_usage  # noqa: PLC0415 - as above

        check_server_usage(arguments)
    elif arguments.token_file is not None:
        raise typer.BadParameter("--token-file is for --server; leave it out")
    if STREAM in (*arguments.inputs, arguments.output):
        of_names = ("sequence", "report", "reference", "suffix", "skip_existing")
        given = ["--" + name.replace("_", "-") for name in of_names if getattr(arguments, name)]
        if len(arguments.inputs) > 1:
            raise typer.BadParameter("- stands for one picture; give no other input")
        if given:
            raise typer.BadParameter(f"- stands for one picture without a name; leave out {', '.join(given)}")
    elif arguments.output is None and not suffix:
        raise typer.BadParameter("say where results go: -o OUTPUT, or --suffix for names beside the inputs")
    if "/" in suffix or "\\" in suffix:
        raise typer.BadParameter(f"'{suffix}' is added to names and cannot hold a slash; give -o OUTPUT for a folder")


def restore_options(asked: Mapping[str, Any], force_expert: str | None) -> RestoreOptions:
    """Build the options from those that were given.

    Args:
        asked: Fields of the options; None where one was left out.
        force_expert: ``cheapest`` or ``dearest``.

    Raises:
        typer.BadParameter: If experts are given twice.
        ConfigError: If a value is wrong.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    if force_expert is not None:
        if "experts" in given:
            raise typer.BadParameter("give one of --experts and --force-expert")
        given["experts"] = force_expert
    return RestoreOptions(**given)


def _check_quality(options: RestoreOptions, kinds: set[str | None]) -> None:
    """Refuse a quality that would be ignored; a format of None is not known yet.

    Raises:
        typer.BadParameter: If no output has one.
    """
    if "quality" in options.model_fields_set and not kinds & {*LOSSY, None}:
        raise typer.BadParameter(
            "--quality is for JPEG and WebP, and no output is either; leave it out, or add --format"
        )


def _load(options: RestoreOptions) -> Restorer:
    keep_freed_memory()
    return Restorer.from_options(options)


def _restore_stream(arguments: RestoreArguments, options: RestoreOptions, existing: Existing) -> None:
    """Restore one picture from standard input, to standard output, or both.

    Raises:
        typer.BadParameter: If standard output is a terminal.
        MoceirError: If the picture cannot be restored or written.
    """
    source, output = arguments.inputs[0], arguments.output or STREAM
    target = None if output == STREAM else output
    if target is None and sys.stdout.isatty():
        raise typer.BadParameter("standard output is a terminal; lead it into a file or another command")
    if target is not None:
        check_target(target, exists_is_fine=existing is Existing.REPLACE)
    _check_quality(options, {options.format or format_of(output.suffix)})
    restorer = _load(options)
    if source == STREAM:
        opened = restorer.open(sys.stdin.buffer.read(options.max_bytes + 1), name="standard input")
    else:
        opened = restorer.open(source)
    answer = restorer.work(opened)
    if target is not None:
        result, place = restorer.finish(opened, answer, target), str(target)
    else:
        result = restorer.finish(opened, answer, None)
        place = f"standard output{FORMATS[result.format][0]}"
        _to_standard_output(result.restored)
    echo(f"restored {source} -> {place} ({_describe(result)})", err=True)


def _to_standard_output(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror}; check what reads it") from error


def _restorers_by_shot(restorer: Restorer, jobs: list[Job]) -> Mapping[Path, Restorer]:
    """Return the restorer of each frame, and print how many shots there are."""
    with progress_bar("looking for shots", len(jobs)) as advance:
        restorers, shots = routes_by_shot(restorer, jobs, advance)
    starts = ", ".join(shot[0].name for shot in shots[:5]) + (" ..." if len(shots) > 5 else "")
    echo(f"{len(restorers)} frames in {len(shots)} shots, which begin with {starts or 'none'}", err=True)
    return restorers


def _restore_files(
    stages: _FileStages, jobs: list[Job], problems: list[str], existing: Existing, arguments: RestoreArguments
) -> None:
    """Restore all jobs, with a line for each and in the report."""
    megapixels = network_seconds = 0.0
    with contextlib.ExitStack() as opened:
        report = opened.enter_context(Report(arguments.report)) if arguments.report else None

        def record(job: Job, outcome: RestorationResult[None] | MoceirError | None) -> None:
            nonlocal megapixels, network_seconds
            if report:
                report.add(job, outcome)
            if isinstance(outcome, RestorationResult):
                megapixels += outcome.width * outcome.height / 1e6
                network_seconds += outcome.network_seconds

        def describe(result: RestorationResult[None]) -> str:
            if arguments.reference is not None and result.psnr_db is None:
                return f"{_describe(result)}, no reference"
            return _describe(result)

        def summarize(seconds: float) -> str:
            share = f"{network_seconds / seconds:.0%} of the time in the network"
            return f", {megapixels / seconds:.3g} megapixels/s, {share}" if network_seconds else ""

        how = Stages(
            "restored", stages.read, stages.work, stages.write, describe, record, summarize, together=stages.together
        )
        run_jobs(jobs, problems, how, existing)


def _describe(result: RestorationResult[None] | RestorationResult[bytes]) -> str:
    """Format the status line of a restored picture."""
    parts = [f"{result.width}x{result.height}, {result.seconds:.2f} s"]
    if result.tile_px is not None:
        parts.append(f"in tiles of {result.tile_px} for lack of memory")
    parts += result.notes
    if result.psnr_db is not None:
        before, after = result.psnr_db
        parts.append(f"PSNR {before:.2f} -> {after:.2f} dB")
    return ", ".join(parts)
