"""Restoring pictures: arrays, tensors and files in, the same kind out.

The contract: the result has the size, type and range of the input, whatever the size, from 1x1 up. Files keep bit depth
(as far as the format holds it), grey or colour, alpha, ICC profile, EXIF and XMP; the EXIF orientation is applied.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moceir import image_io
from moceir.errors import ConfigError, ImageError
from moceir.models.network import MoCEIR
from moceir.weights import load

Image = TypeVar("Image", Tensor, NDArray[Any])
"""What `Restorer.restore` takes and gives back."""

WHOLE_TYPES = ("uint8", "uint16")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclasses.dataclass(frozen=True)
class FileResult:
    """What happened to one file.

    Attributes:
        source: The degraded file.
        target: The restored file.
        width: Pixels.
        height: Pixels.
        seconds: Time for reading, restoring and writing.
    """

    source: Path
    target: Path
    width: int
    height: int
    seconds: float


class Restorer:
    """A network on a device, with everything around it that a picture needs.

    Args:
        model: The network; it is moved to the device and set to evaluation mode.
        device: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ConfigError: If the device is unknown or not there.
    """

    def __init__(self, model: MoCEIR, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path = "tiny", device: str = "auto") -> Self:
        """Load a bundled model by name, a model folder, or a published ``.ckpt``.

        Raises:
            ConfigError: If the device is unknown or not there.
            WeightsError: If the model is missing, damaged or unsafe.
        """
        return cls(load(name_or_folder), device)

    def restore(self, image: Image) -> Image:
        """Restore one picture or a batch of tensors.

        Args:
            image: ``(H, W, 3)`` RGB array of uint8, uint16 or floats in [0, 1]; or a float tensor ``(B, 3, H, W)`` in
                [0, 1], each image of which gets what it would get alone.

        Returns:
            The restored picture: same kind, shape, type, range and (for tensors) device.

        Raises:
            ImageError: If shape, type or values are other than these, or the picture does not fit into memory.
        """
        if isinstance(image, Tensor):
            _check_values(image.shape, (image.ndim == 4 and image.shape[1] == 3), image.is_floating_point(), image)
            return self._run(image.to(self.device, torch.float32)).to(image.device, image.dtype)
        kind = image.dtype
        whole = kind.name in WHOLE_TYPES
        top = float(np.iinfo(kind).max) if whole else 1.0
        _check_values(
            image.shape, image.ndim == 3 and image.shape[-1] == 3, whole or kind.kind == "f", None if whole else image
        )
        scaled = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32) / np.float32(top))
        restored = self._run(scaled.permute(2, 0, 1)[None].to(self.device))[0].permute(1, 2, 0).cpu().numpy()
        return np.rint(restored * top).astype(kind) if whole else restored.astype(kind)

    def restore_file(self, source: Path, target: Path) -> FileResult:
        """Restore a picture file into another file; the format follows the target's suffix.

        Raises:
            ImageError: If the source cannot be read or does not fit into memory.
            OutputError: If the target is the source or cannot be written.
        """
        began = time.perf_counter()
        image_io.protect_original(source, target)
        picture = image_io.read(source)
        restored = dataclasses.replace(picture, rgb=self.restore(picture.rgb))
        if picture.grey:
            grey = restored.rgb.astype(np.float32).mean(axis=2, keepdims=True).round().astype(restored.rgb.dtype)
            restored = dataclasses.replace(restored, rgb=np.repeat(grey, 3, axis=2))
        image_io.write(target, restored)
        height, width = picture.rgb.shape[:2]
        return FileResult(source, target, width, height, time.perf_counter() - began)

    def _run(self, images: Tensor) -> Tensor:
        try:
            with torch.inference_mode():
                return self.model(images).clamp(0, 1)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            # On the CPU a failed allocation is a plain RuntimeError that only its text tells apart.
            if not isinstance(error, torch.OutOfMemoryError) and "memory" not in str(error):
                raise
            height, width = images.shape[-2:]
            raise ImageError(
                f"a picture of {width}x{height} does not fit into the memory of {self.device}; "
                "make it smaller or use another device"
            ) from error


def choose_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there.

    Raises:
        ConfigError: If the name is unknown or the machine has no such device.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if present[kind]))
    if name not in present:
        raise ConfigError(f"unknown device '{name}'; choose from {', '.join(DEVICES)}")
    if not present[name]:
        raise ConfigError(f"this machine has no usable {name} device; use --device auto or cpu")
    return torch.device(name)


def _check_values(
    shape: tuple[int, ...], shape_fits: bool, type_fits: bool, floats: Tensor | NDArray[Any] | None
) -> None:
    """Refuse what is no picture in the sense of `Restorer.restore`."""
    wanted = "(H, W, 3) uint8, uint16 or float arrays, or (B, 3, H, W) float tensors, floats in [0, 1]"
    if not shape_fits or 0 in shape or not type_fits:
        raise ImageError(f"cannot restore a picture of shape {tuple(shape)} and this type; expected {wanted}")
    if floats is None:
        return
    low, high = float(floats.min()), float(floats.max())
    if not (low >= 0 and high <= 1):
        raise ImageError(f"float pictures hold values in [0, 1], but these run from {low:g} to {high:g}; rescale them")
