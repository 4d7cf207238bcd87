"""What a worker does: fetch pictures, restore them by the one path of a picture, write the results."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, TypeVar

import torch

from moceir.batch.pipeline import overlapped
from moceir.batch.report import result_row
from moceir.cluster.manifest import output_key
from moceir.cluster.results import FAILED, RESTORED, UNREACHED, Row, make_row
from moceir.cluster.stores import Entry, Store
from moceir.errors import ImageError, MoceirError, OutputError, StoreError, named
from moceir.image_io import Pixels
from moceir.image_io.formats import format_of
from moceir.machine.allocator import Heap, keep_freed_memory
from moceir.machine.devices import choose_device
from moceir.machine.memory import available_bytes
from moceir.restoration import RestorationResult, RestoreOptions, Restorer
from moceir.restoration.files import Opened

Made = TypeVar("Made")


class Worker:
    """Restores pictures of one store into another. Only their names and rows pass through the caller.

    Args:
        source: URL of the store with the pictures.
        target: URL of the store for the results.
        options: What is asked of every picture.
    """

    def __init__(self, source: str, target: str, options: RestoreOptions) -> None:
        self._source, self._target, self._options = Store(source), Store(target), options
        self._heap = Heap()

    def prepare(self) -> None:
        """Load the network.

        Raises:
            ConfigError: If an option does not suit this machine or the network.
            WeightsError: If the model is missing on this machine, damaged or unsafe.
        """
        keep_freed_memory()
        self._restorer = Restorer.from_options(_within_share(self._options))

    def restore(self, entries: Sequence[Entry]) -> list[Row]:
        """Restore pictures; while the network works on one, others are read and written.

        Returns:
            The row of each, in order. Nothing about a single picture raises.
        """
        stages = (_guarded(self._read), _guarded(self._work), _guarded(self._write))
        return [self._row(entry, outcome) for entry, outcome in overlapped(entries, *stages, Event())]

    def _read(self, entry: Entry) -> Opened:
        self._restorer.limits.check_bytes(entry.key, entry.size)  # before it is fetched
        try:
            data = self._source.read(entry.key)
        except FileNotFoundError as error:
            msg = f"{entry.key} is no longer in {self._source}; list the pictures again with --list-again"
            raise ImageError(msg) from error
        return self._restorer.open(data, name=entry.key)

    def _work(self, entry: Entry, opened: Opened) -> tuple[Opened, RestorationResult[Pixels]]:
        answer = self._restorer.work(opened)
        self._heap.settle()
        return opened, answer

    def _write(self, entry: Entry, worked: tuple[Opened, RestorationResult[Pixels]]) -> RestorationResult[int]:
        key = self._output(entry)
        # The format follows the name, as for files: a PNG file named .jpg becomes a JPEG file.
        how = self._restorer.with_options(format=format_of(key[key.rfind(".") :]))
        result = how.finish(*worked, None)
        self._target.write(key, result.restored)
        return result.with_restored(len(result.restored))

    def _row(self, entry: Entry, outcome: RestorationResult[int] | MoceirError) -> Row:
        key, here = self._output(entry), socket.gethostname()
        if isinstance(outcome, RestorationResult):
            return make_row(entry, key, RESTORED, worker=here, **result_row(outcome, outcome.restored))
        status = UNREACHED if is_of_store(outcome) else FAILED
        return make_row(entry, key, status, worker=here, error=named(entry.key, outcome))

    def _output(self, entry: Entry) -> str:
        return output_key(entry.key, self._options.format)


def is_of_store(error: MoceirError) -> bool:
    """Return whether an error says something about a store and nothing about the picture."""
    return isinstance(error, StoreError) or (isinstance(error, OutputError) and isinstance(error.__cause__, OSError))


def _within_share(options: RestoreOptions) -> RestoreOptions:
    """Return options with a memory limit: that of this worker's share of the cores, where none is given.

    A restoration alone on a machine may take nine tenths of what is free. Workers that share one would each take that.
    """
    free = available_bytes(torch.device("cpu"))
    if options.memory_limit is not None or options.threads is None or free is None:
        return options
    if choose_device(options.device).type != "cpu":
        return options
    share = min(options.threads / (os.cpu_count() or 1), 1)
    return options.changed(memory_limit=int(0.9 * free * share))


def _guarded(stage: Callable[..., Made]) -> Callable[..., Made]:
    """Make any error of a stage one of its picture: a job of days must not end with it."""

    def call(entry: Entry, *more: Any) -> Made:
        try:
            return stage(entry, *more)
        except (MoceirError, MemoryError):
            raise
        except Exception as error:
            msg = f"{entry.key} fails in a way that is not foreseen, please report it: {type(error).__name__}: {error}"
            raise ImageError(msg) from error

    return call
