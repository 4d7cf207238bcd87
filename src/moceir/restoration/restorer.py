"""Restoring pictures: arrays, tensors, PIL images, files and bytes in, the same kind out.

The contract: the result has the size (or a multiple of it), type and range of the input, from 1x1 up. Files keep bit
depth (as far as the format holds it), grey or colour, alpha, ICC profile, EXIF, XMP, IPTC and the way they are stored.
The network sees them upright and in sRGB; its change is carried over to the colours of the file.

Pictures are restored whole where memory allows. Else they are restored in tiles (see
``moceir.restoration.tiling``), and the caller is told; where not even that fits, they are refused.

torch computes the network, or another program computes an exported file; see ``moceir.restoration.backends``.
"""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from numpy.typing import NDArray

from moceir import image_io
from moceir.config import ModelConfig
from moceir.errors import ConfigError
from moceir.image_io import Limits, Picture, Pixels
from moceir.machine.memory import describe_bytes
from moceir.restoration.backends import Backend, open_backend
from moceir.restoration.files import (
    Opened,
    as_bytes,
    as_path,
    carry_back,
    check_target,
    finish_picture,
    limits_that_fit,
    open_picture,
)
from moceir.restoration.options import FIXED_OPTIONS, Experts, RestoreOptions
from moceir.restoration.pixels import from_network_batch, is_tensor, like, to_batch, to_network_batch, to_picture
from moceir.restoration.result import RestorationResult

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from moceir.models.network import MoCEIR
    from moceir.restoration.reports import RoutingReport

Image = TypeVar("Image")
"""What `Restorer.restore` takes and gives back: an array, a tensor or a PIL image."""

NAMELESS = "the picture"
IN_MEMORY = "(a network in memory)"


class Restorer:
    """A network on a device, with everything around it that a picture needs.

    Args:
        model: The network; it is moved to the device, to 32-bit floats and to evaluation mode.
        **asked: Any of the other `RestoreOptions`, for example ``device="cuda:1"`` or ``memory_limit="4GB"``.

    Attributes:
        options: What is asked of every picture.
        limits: How large files may be.

    Raises:
        ConfigError: If an option is unknown or wrong, the device is not there or lacks the precision, or the experts
            do not fit the network.
    """

    def __init__(self, model: MoCEIR, **asked: Any) -> None:
        # Both need torch, which exported files do without.
        from moceir.models.network import MoCEIR  # noqa: PLC0415
        from moceir.restoration.engine import Engine  # noqa: PLC0415

        if not isinstance(model, MoCEIR):  # pyright: ignore[reportUnnecessaryIsInstance] - names are an easy mistake
            raise ConfigError(f"a {type(model).__name__} is not a MoCEIR network; use Restorer.from_pretrained(name)")
        options = RestoreOptions(model=IN_MEMORY, **asked)
        if options.chosen_backend != "torch":
            raise ConfigError(f"the backend {options.backend} needs a file; use Restorer.from_pretrained(name)")
        self._use(Engine(model, options), options)

    def _use(self, backend: Backend, options: RestoreOptions) -> None:
        backend.check(options)
        self.options = options
        self._backend = backend
        self.limits: Limits = limits_that_fit(options, self.upscale)

    @classmethod
    def from_pretrained(cls, model: str | os.PathLike[str] = "tiny", **asked: Any) -> Self:
        """Load a bundled model by name, a model folder, a published ``.ckpt``, or a file of ``moceir export``.

        Args:
            model: Which one.
            **asked: Any of the other `RestoreOptions`.

        Raises:
            ConfigError: As for the class.
            WeightsError: If the model is missing, damaged or unsafe.
        """
        asked["model"] = model
        return cls.from_options(RestoreOptions(**asked))

    @classmethod
    def from_options(cls, options: RestoreOptions) -> Self:
        """Load the model that options name.

        Raises:
            ConfigError: As for the class.
            MissingExtraError: If the backend is not installed.
            WeightsError: If the model is missing, damaged or unsafe.
        """
        restorer = cls.__new__(cls)
        restorer._use(open_backend(options), options)
        return restorer

    @property
    def config(self) -> ModelConfig:
        """Shape of the network."""
        return self._backend.config

    @property
    def model(self) -> MoCEIR:
        """The network.

        Raises:
            ConfigError: If an exported file restores.
        """
        return self._backend.model

    @property
    def device(self) -> torch.device:
        """Where the network computes.

        Raises:
            ConfigError: If an exported file restores.
        """
        return self._backend.device

    @property
    def upscale(self) -> int:
        """Factor by which pictures grow."""
        return self._backend.upscale(self.options)

    def with_options(self, **changes: Any) -> Self:
        """Return a restorer with the same network, not copied, of which other things are asked.

        Args:
            **changes: Any of the `RestoreOptions` but ``model``, ``backend``, ``device``, ``threads`` and
                ``compiled``.

        Raises:
            ConfigError: As for the class, or if one of these five would change.
        """
        other = copy.copy(self)
        other.options = self.options.changed(**changes)
        for name in FIXED_OPTIONS:
            if getattr(other.options, name) != getattr(self.options, name):
                raise ConfigError(f"{name} belongs to the loaded network; make another Restorer to change it")
        self._backend.check(other.options)
        if {"max_pixels", "max_bytes", "upscale"} & changes.keys():
            other.limits = limits_that_fit(other.options, other.upscale)
        return other

    def with_experts(self, experts: Experts) -> Self:
        """Return a restorer with the same network but other experts at work, and no effort that shifts them.

        Raises:
            ConfigError: If they do not fit the network.
        """
        return self.with_options(experts=experts, effort="auto")

    @overload
    def restore(self, image: Image, /, *, return_routing: Literal[False] = False, **changes: Any) -> Image: ...

    @overload
    def restore(
        self, image: Tensor, /, *, return_routing: Literal[True], **changes: Any
    ) -> tuple[Tensor, list[RoutingReport]]: ...

    @overload
    def restore(
        self, image: NDArray[Any], /, *, return_routing: Literal[True], **changes: Any
    ) -> tuple[NDArray[Any], RoutingReport]: ...

    def restore(self, image: Any, /, *, return_routing: bool = False, **changes: Any) -> Any:
        """Restore one picture, or a batch of tensors.

        Args:
            image: An RGB array ``(H, W, 3)`` of uint8, uint16 or floats in [0, 1]; the same with alpha ``(H, W, 4)``,
                which comes back unchanged; a grey one ``(H, W)`` or ``(H, W, 1)``; a PIL image; or a float tensor
                ``(B, 3, H, W)`` in [0, 1], each image of which gets what it would get alone. Floats that leave [0, 1]
                by rounding are clipped.
            return_routing: Also say which experts worked on it.
            **changes: Options for this picture, as for `with_options`, for example ``strength=0.5``.

        Returns:
            The restored picture: same kind, axes, type, range and (for tensors) device, without gradients; ``upscale``
            times as high and wide, where that is asked or the network enlarges. With
            ``return_routing`` a pair of that and the `RoutingReport`, or for tensors a list of reports, one per image.

        Warns:
            UserWarning: If it did not fit into memory whole and was restored in tiles.

        Raises:
            ConfigError: If an option is wrong, or this process is a fork in which the network would hang.
            ImageError: If kind, shape, type or values are other than these, or not even tiles fit into memory.
        """
        result = self.run(image, **changes)
        if result.tile_px is not None:
            height, width = result.height // result.upscale, result.width // result.upscale
            needed = self._backend.needed_bytes(height, width)
            warnings.warn(
                f"{width}x{height} pixels were restored in tiles of {result.tile_px}, which is close to "
                f"the whole but not the same; whole they need {describe_bytes(needed)} of memory",
                stacklevel=2,
            )
        if not return_routing:
            return result.restored
        return result.restored, list(result.routing) if is_tensor(image) else result.report

    def run(self, image: Image, /, **changes: Any) -> RestorationResult[Image]:
        """Do the same as `restore`, and return all there is to say of it, warning of nothing."""
        if changes:
            return self.with_options(**changes).run(image)
        began = time.perf_counter()
        if is_tensor(image):
            answer = self._backend.restore_tensor(to_batch(image), self.options)
            restored: Any = answer.restored.to(image.device, image.dtype)
            if restored.is_inference():  # autograd refuses such tensors
                restored = restored.clone()
        else:
            picture = to_picture(image)
            opened = Opened(picture, image_io.to_network(picture))
            answer = self.work(opened)
            restored = like(image, carry_back(opened, answer)[1])
        return answer.with_restored(restored, seconds=time.perf_counter() - began)

    def restore_file(
        self, source: str | os.PathLike[str], target: str | os.PathLike[str], /, **changes: Any
    ) -> RestorationResult[None]:
        """Restore a picture file into another file; the format follows the target's suffix.

        Args:
            source: The degraded file.
            target: The file to write; folders are made.
            **changes: Options for this picture, as for `with_options`.

        Raises:
            ConfigError: As `restore`.
            ImageError: If the source cannot be read or does not fit into memory.
            OutputError: If the target is the source or cannot be written.
        """
        if changes:
            return self.with_options(**changes).restore_file(source, target)
        source, target = as_path(source), as_path(target)
        check_target(source, target, self.options)
        opened = self.open(source)
        return self.finish(opened, self.work(opened), target)

    def restore_bytes(self, data: bytes, /, *, name: str = NAMELESS, **changes: Any) -> RestorationResult[bytes]:
        """Restore the content of a picture file: byte for byte what `restore_file` writes.

        Args:
            data: The whole content of the degraded file.
            name: What errors call it.
            **changes: Options for this picture, as for `with_options`.

        Returns:
            The restored file's content, in the format of the ``options``, else of the data (PNG if that is only read).

        Raises:
            ConfigError: As `restore`.
            ImageError: If the data cannot be read or do not fit into memory.
            OutputError: If the format cannot hold the picture.
        """
        if changes:
            return self.with_options(**changes).restore_bytes(data, name=name)
        opened = self.open(as_bytes(data), name=name)
        return self.finish(opened, self.work(opened), None)

    def open(self, source: Path | bytes, *, name: str = NAMELESS) -> Opened:
        """Read and decode a picture: the first of three steps, which may run beside the others.

        Args:
            source: A file or its content.
            name: What errors call content.

        Raises:
            ImageError: If it cannot be read or is above a limit.
        """
        return open_picture(source, name, self.limits)

    def work(self, opened: Opened) -> RestorationResult[Pixels]:
        """Restore what the network sees of a picture: the second step, with as little beside the network as can be.

        Raises:
            ConfigError: As `restore`.
            ImageError: If it does not fit into memory.
        """
        return self.work_together([opened])[0]

    @property
    def batch_pixels(self) -> int:
        """Pixels of the largest batch that is faster than its pictures one by one; 0 where no batch is."""
        return self._backend.batch_pixels

    def work_together(self, opened: Sequence[Opened]) -> list[RestorationResult[Pixels]]:
        """Do the same as `work` for several pictures of the same size and type, in one batch.

        Raises:
            ConfigError: As `restore`.
            ImageError: If not even one of them fits into memory.
        """
        began = time.perf_counter()
        answer = self._backend.restore(to_network_batch(*(each.seen for each in opened)), self.options)
        restored = [from_network_batch(answer.restored[i : i + 1], each.seen.dtype) for i, each in enumerate(opened)]
        seconds = (time.perf_counter() - began) / len(opened)
        return [
            answer.with_restored(
                pixels,
                routing=answer.routing[i : i + 1],
                seconds=each.seconds + seconds,
                network_seconds=answer.network_seconds / len(opened),
            )
            for i, (each, pixels) in enumerate(zip(opened, restored, strict=True))
        ]

    @overload
    def finish(
        self, opened: Opened, answer: RestorationResult[Pixels], target: Path, *, clean: Picture | None = None
    ) -> RestorationResult[None]: ...

    @overload
    def finish(
        self, opened: Opened, answer: RestorationResult[Pixels], target: None, *, clean: Picture | None = None
    ) -> RestorationResult[bytes]: ...

    def finish(
        self, opened: Opened, answer: RestorationResult[Pixels], target: Path | None, *, clean: Picture | None = None
    ) -> RestorationResult[Any]:
        """Carry the change over to the picture and write it: the last step.

        Args:
            opened: What the first step made.
            answer: What the second step made of it.
            target: The file to write; None for its content.
            clean: A clean picture of the same size to measure against.

        Raises:
            ImageError: If the clean picture is of another size.
            OutputError: If the target is the source or cannot be written.
        """
        return finish_picture(opened, answer, self.options, target, clean)
