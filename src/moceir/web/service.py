"""What a server does with pictures: loaded models around one queue. The page and the API are two faces of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from moceir.errors import ConfigError, TooLargeError, WeightsError, did_you_mean
from moceir.image_io.formats import FORMATS
from moceir.insight import Guess, Signatures, load_signatures, observe_and_guess
from moceir.machine.allocator import keep_freed_memory
from moceir.machine.memory import is_out_of_memory
from moceir.restoration import RestorationResult, RestoreOptions, Restorer
from moceir.restoration.reports import RoutingReport
from moceir.restoration.restorer import NAMELESS
from moceir.web.client import CLIENT_OPTIONS
from moceir.web.jobs import Job, JobQueue
from moceir.web.metrics import Metrics
from moceir.web.settings import ServeSettings
from moceir.web.views import View, restore_for_view

MEDIA_TYPES = {name: f"image/{name}" for name in FORMATS}
"""Media type of each format that is written."""
LONGEST_NAME = 100


@dataclass(frozen=True)
class Upload:
    """A picture file as it came from a client.

    Attributes:
        data: Its whole content.
        name: What error messages call it. It is never used as a path.
    """

    data: bytes
    name: str = NAMELESS


@dataclass(frozen=True)
class Inspection:
    """Route and likely degradation of a picture.

    Attributes:
        width: Pixels.
        height: Pixels.
        routing: The experts that worked on it.
        guess: The likely degradation; None if the model has no signatures.
    """

    width: int
    height: int
    routing: RoutingReport
    guess: Guess | None


@dataclass(frozen=True)
class ServedModel:
    """A loaded model.

    Attributes:
        name: Its public name.
        restorer: Restores pictures with it.
        signatures: Used to guess degradations; None if the model has none.
    """

    name: str
    restorer: Restorer
    signatures: Signatures | None


class Service:
    """Loaded models and one queue.

    Args:
        settings: Which models, and the limits.

    Attributes:
        models: The models by their public names; the first is the default.
        queue: The pictures that wait or are worked on.
        metrics: What was counted since the start.
        in_hand: Requests with an upload that are not answered yet.

    Raises:
        ConfigError: If two models have one name, one is an exported file, or an option is wrong.
        WeightsError: If a model cannot be loaded.
    """

    def __init__(self, settings: ServeSettings) -> None:
        keep_freed_memory()
        self.settings = settings
        self.queue = JobQueue(settings.queue_length)
        self.models: dict[str, ServedModel] = {}
        for model in settings.models:
            name = public_name(model)
            if name in self.models:
                raise ConfigError(f"two models would both be called '{name}'; rename one of the folders")
            self.models[name] = self.queue.prepare(partial(_load, name, model, settings.options))
        self.metrics = Metrics(self.queue)
        self.in_hand = 0

    @property
    def most_upscale(self) -> int:
        """Largest factor by which a model enlarges."""
        return max(model.restorer.config.scale for model in self.models.values())

    def model(self, name: str | None, upscale: Any = None) -> ServedModel:
        """Return a model by its public name.

        Args:
            name: Its name. None stands for the default model, or with ``upscale`` for the one with the smallest
                sufficient factor.
            upscale: The factor that a client asks for, also as text.

        Raises:
            ConfigError: If there is none of that name, no model enlarges enough, or the factor is wrong.
        """
        if name is not None:
            if name not in self.models:
                suggestion = did_you_mean(name, self.models) or f"choose from {', '.join(self.models)}"
                raise ConfigError(f"unknown model '{name}'; {suggestion}")
            return self.models[name]
        factor = RestoreOptions(upscale=upscale).upscale
        if factor is None:
            return next(iter(self.models.values()))
        enough = [model for model in self.models.values() if model.restorer.config.scale >= factor]
        if not enough:
            there = " or ".join(str(smaller) for smaller in range(1, self.most_upscale + 1))
            raise ConfigError(f"upscale is {factor}, but no model of this server enlarges by as much; give {there}")
        return min(enough, key=lambda model: model.restorer.config.scale)

    def _chosen(self, model: str | None, options: Mapping[str, Any]) -> tuple[ServedModel, Restorer]:
        """Return the model for the options of a client, and its restorer with these options.

        Raises:
            ConfigError: If an option is wrong, or not for clients.
        """
        for name in options:
            if name not in CLIENT_OPTIONS:
                suggestion = did_you_mean(name, CLIENT_OPTIONS) or f"choose from {', '.join(CLIENT_OPTIONS)}"
                raise ConfigError(f"unknown option '{name}'; {suggestion}")
        served = self.model(model, options.get("upscale"))
        return served, served.restorer.with_options(**options)

    def restore(
        self, uploads: Sequence[Upload], /, model: str | None = None, **options: Any
    ) -> list[Job[RestorationResult[bytes]]]:
        """Queue pictures to be restored, all or none; each result is byte for byte what ``moceir restore`` writes.

        Args:
            uploads: The pictures.
            model: Public name; None as for `model`.
            **options: Any of `CLIENT_OPTIONS`.

        Raises:
            ConfigError: If an option or the model is wrong.
            DrainingError: If the server is about to stop.
            QueueFullError: If there is no place for all of them.
        """
        served, restorer = self._chosen(model, options)

        def work(upload: Upload) -> RestorationResult[bytes]:
            with _out_of_memory_explained(upload.name):
                result = restorer.restore_bytes(upload.data, name=upload.name)
            self.metrics.count_picture(served.name, result.width * result.height, result.report)
            return result

        return self.queue.submit_all([lambda upload=upload: work(upload) for upload in uploads])

    def view(self, data: bytes, /, model: str | None = None, **options: Any) -> Job[View]:
        """Queue a picture of the page.

        Args:
            data: The picture file.
            model: Public name; None as for `model`.
            **options: Any of `CLIENT_OPTIONS`.

        Raises:
            ConfigError: If an option or the model is wrong.
            DrainingError: If the server is about to stop.
            QueueFullError: If there is no place for it.
        """
        served, restorer = self._chosen(model, options)

        def work() -> View:
            with _out_of_memory_explained(NAMELESS):
                view = restore_for_view(restorer, data, served.signatures)
            result = view.result
            self.metrics.count_picture(served.name, result.width * result.height, result.report)
            return view

        return self.queue.submit(work)

    def inspect(self, upload: Upload, /, model: str | None = None, **options: Any) -> Job[Inspection]:
        """Queue a picture to be inspected.

        Args:
            upload: The picture.
            model: Public name; None as for `model`.
            **options: ``experts`` and ``effort``.

        Raises:
            ConfigError: If an option or the model is wrong.
            DrainingError: If the server is about to stop.
            QueueFullError: If there is no place for it.
        """
        served, restorer = self._chosen(model, options)

        def work() -> Inspection:
            with _out_of_memory_explained(upload.name):
                picture = restorer.open(upload.data, name=upload.name).picture
                seen, guess = observe_and_guess(restorer, picture, served.signatures)
            height, width = picture.rgb.shape[:2]
            return Inspection(width, height, seen.routing, guess)

        return self.queue.submit(work)


def shown_name(given: str | None) -> str:
    """Return what messages call an upload: the last part of the client's name, printable and short."""
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[-LONGEST_NAME:] or NAMELESS


def public_name(model: str) -> str:
    """Return the name of a model for clients, which does not tell where it lies on this machine."""
    return Path(model).name.removesuffix(".ckpt") or Path(model).resolve().name


def _load(name: str, model: str, options: Mapping[str, Any]) -> ServedModel:
    asked = RestoreOptions(model=model, **options)
    if asked.chosen_backend != "torch":
        raise ConfigError(f"{model} is an exported file, which tells no routes; serve the model it came from")
    return ServedModel(name, Restorer.from_options(asked), _signatures(model))


def _signatures(model: str) -> Signatures | None:
    try:
        return load_signatures(model)
    except WeightsError:
        return None


@contextmanager
def _out_of_memory_explained(name: str) -> Generator[None]:
    """Turn the many errors of exhausted memory into one that names the picture.

    Raises:
        TooLargeError: If memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TooLargeError(f"{name} does not fit into the memory of this machine; make it smaller") from error
