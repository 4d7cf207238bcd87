"""Many picture files: the three steps of each, with the restorer of its own and the picture to measure against."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from moceir import image_io
from moceir.batch.pipeline import Together
from moceir.batch.planning import Job
from moceir.errors import ImageError
from moceir.image_io import Pixels
from moceir.machine.allocator import Heap
from moceir.restoration import RestorationResult, Restorer
from moceir.restoration.files import Opened

MOST_TOGETHER = 16
"""Most files to work on at a time."""


class FileStages:
    """The three stages of restoring a file, for ``moceir.batch.pipeline.overlapped``.

    Args:
        restorer: Restores the files.
        by_source: Restorers of files that have one of their own, as frames of a shot do.
        reference: Folder of clean pictures of the same places and names (suffixes may differ), to measure against.

    Raises:
        ImageError: If the reference is not a folder or holds no pictures.
    """

    def __init__(
        self,
        restorer: Restorer,
        *,
        by_source: Mapping[Path, Restorer] = MappingProxyType({}),
        reference: Path | None = None,
    ) -> None:
        self._restorer = restorer
        self._by_source = by_source
        if reference is not None and not reference.is_dir():
            raise ImageError(
                f"the reference {reference} is not a folder; give one with clean pictures named as the inputs"
            )
        references = image_io.find([reference]) if reference else []
        self._references = {image_io.matching_name(place): path for path, place in references}
        self._heap = Heap()

    def read(self, job: Job) -> Opened:
        """First stage: read and decode."""
        return self._restorer.open(job.source)

    def work(self, job: Job, opened: Opened) -> tuple[Opened, RestorationResult[Pixels]]:
        """Second stage: the network, and as little else as can be."""
        answer = self._by_source.get(job.source, self._restorer).work(opened)
        self._heap.settle()
        return opened, answer

    @property
    def together(self) -> Together[Job, Opened, tuple[Opened, RestorationResult[Pixels]]] | None:
        """How to work on several small files of one size at a time; None where that is not faster."""
        if not self._restorer.batch_pixels:
            return None
        return Together(MOST_TOGETHER, self._key, self._work_together)

    def _key(self, job: Job, opened: Opened) -> Hashable:
        height, width = opened.seen.shape[:2]
        small = height * width <= self._restorer.batch_pixels // MOST_TOGETHER
        return (height, width, opened.seen.dtype, self._by_source.get(job.source)) if small else None

    def _work_together(
        self, jobs: Sequence[Job], opened: Sequence[Opened]
    ) -> list[tuple[Opened, RestorationResult[Pixels]]]:
        answers = self._by_source.get(jobs[0].source, self._restorer).work_together(opened)
        self._heap.settle()
        return list(zip(opened, answers, strict=True))

    def write(self, job: Job, worked: tuple[Opened, RestorationResult[Pixels]]) -> RestorationResult[None]:
        """Third stage: carry back, measure and write."""
        path = self._references.get(image_io.matching_name(job.place))
        clean = image_io.read(path, self._restorer.limits) if path else None
        return self._restorer.finish(*worked, job.target, clean=clean)
