"""Arrays, tensors and PIL images: which ones are pictures, and how they become a `Picture` and come back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from moceir.errors import ImageError
from moceir.image_io import Picture
from moceir.image_io.colour import fits
from moceir.image_io.picture import ICC

if TYPE_CHECKING:
    from torch import Tensor

Images = NDArray[np.float32]
"""Images as the network sees them: ``(B, 3, H, W)`` RGB in [0, 1]."""

WHOLE_TYPES = ("uint8", "uint16")
ROUNDING = 2.0**-10
"""How far floats may leave [0, 1] by rounding: one step of float16 above 1, and a quarter of a level of 8 bits."""
PIL_MODES = ("L", "LA", "RGB", "RGBA", "I;16", "I;16L", "I;16B")
WANTED = (
    "an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16 or floats in [0, 1], a PIL image, or a float "
    "tensor (B, 3, H, W) in [0, 1]"
)


def to_picture(image: Any) -> Picture:
    """Turn an array or a PIL image into a picture; its pixels may be floats in [0, 1].

    Raises:
        ImageError: If it is neither, or its shape, type or values cannot be those of a picture.
    """
    if is_pil(image):
        return _pil_to_picture(image)
    if not isinstance(image, np.ndarray):
        path = "; for a file, use restore_file(source, target)" if isinstance(image, str) or _is_path(image) else ""
        raise ImageError(f"cannot restore a {type(image).__name__}{path}; expected {WANTED}")
    pixels: NDArray[Any] = np.asarray(image)
    fitting = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    if not fitting or 0 in pixels.shape or not (pixels.dtype.name in WHOLE_TYPES or pixels.dtype.kind == "f"):
        raise ImageError(f"cannot restore an array of shape {pixels.shape} and type {pixels.dtype}; expected {WANTED}")
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        _check_range(low, high)
        pixels = pixels if low >= 0 and high <= 1 else pixels.clip(0, 1)
    return _split(pixels if pixels.ndim == 3 else pixels[..., None])


def like(image: Any, picture: Picture) -> Any:
    """Turn a restored picture back into what `to_picture` was given: same kind, axes and type."""
    pixels = picture.rgb[..., :1] if picture.grey else picture.rgb
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    if is_pil(image):
        restored = _pil().fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
        restored.info = {key: value for key, value in image.info.items() if key != "transparency"}
        if "dpi" in restored.info:
            restored.info["dpi"] = tuple(value * restored.width / image.width for value in restored.info["dpi"])
        return restored
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], *image.shape[2:]))


def to_batch(tensor: Tensor) -> Tensor:
    """Check a batch, ``(B, 3, H, W)`` floats in [0, 1], and give it as float32 without gradients.

    Raises:
        ImageError: If it is something else.
    """
    if tensor.ndim != 4 or tensor.shape[1] != 3 or not tensor.numel() or not tensor.is_floating_point():
        raise ImageError(
            f"cannot restore a tensor of shape {tuple(tensor.shape)} and type {tensor.dtype}; expected {WANTED}"
        )
    tensor = tensor.detach()
    low, high = float(tensor.min()), float(tensor.max())
    _check_range(low, high)
    return (tensor if low >= 0 and high <= 1 else tensor.clamp(0, 1)).float()


def to_network_batch(first: NDArray[Any], *others: NDArray[Any]) -> Images:
    """Scale pictures of one size, ``(H, W, 3)`` pixels of any type each, to a batch in [0, 1]."""
    scaled = np.ascontiguousarray(first, dtype=np.float32) / np.float32(_top(first.dtype))
    batch = scaled.transpose(2, 0, 1)[None]
    return np.concatenate([batch, *map(to_network_batch, others)]) if others else batch


def from_network_batch(batch: Images, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Scale a batch of one back to ``(H, W, 3)`` pixels of a type."""
    pixels = batch[0].transpose(1, 2, 0)
    return np.rint(pixels * _top(dtype)).astype(dtype) if dtype.kind == "u" else pixels.astype(dtype)


def enlarge_pixels(pixels: NDArray[Any], scale: int) -> NDArray[Any]:
    """Enlarge ``(H, W, N)`` pixels of any type to ``(sH, sW, N)`` bicubically, within the range of their type."""
    # Only torch enlarges, and exported files do without it.
    import torch  # noqa: PLC0415

    from moceir.models.layers import bicubic  # noqa: PLC0415

    planes = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).permute(2, 0, 1)[None]
    larger = bicubic(planes, scale)[0].clamp_(0, _top(pixels.dtype)).permute(1, 2, 0)
    return (larger.round_() if pixels.dtype.kind == "u" else larger).numpy().astype(pixels.dtype)


def is_tensor(image: Any) -> TypeGuard[Tensor]:
    """Return whether something is a tensor of torch. torch is optional here: who has made a tensor has loaded it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def is_pil(image: Any) -> bool:
    """Return whether something is a PIL image. Pillow is optional: who has made one has loaded it."""
    return "PIL.Image" in sys.modules and isinstance(image, _pil().Image)


def _pil() -> Any:
    return sys.modules["PIL.Image"]


def _pil_to_picture(image: Any) -> Picture:
    if 0 in image.size:
        raise ImageError(f"cannot restore a PIL image of {image.width}x{image.height} pixels")
    if image.has_transparency_data and image.mode in ("P", "RGB", "L", "1"):
        image = image.convert("LA" if image.mode in ("L", "1") else "RGBA")
    elif image.mode in ("P", "1"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode not in PIL_MODES:
        expected = "L, LA, RGB, RGBA, I;16, P or 1"
        raise ImageError(
            f"cannot restore a PIL image of mode {image.mode}; expected {expected}: use image.convert('RGB')"
        )
    pixels: NDArray[Any] = np.asarray(image)
    picture = _split(pixels if pixels.ndim == 3 else pixels[..., None])
    profile = image.info.get("icc_profile")
    if profile and fits(profile, grey=picture.grey):
        picture.metadata[ICC] = profile
    return picture


def _split(pixels: NDArray[Any]) -> Picture:
    """Split ``(H, W, 1 to 4)`` pixels into colours and alpha."""
    channels = pixels.shape[2]
    grey = channels < 3
    rgb = np.repeat(pixels[..., :1], 3, axis=2) if grey else pixels[..., :3]
    return Picture(rgb, pixels[..., -1] if channels in (2, 4) else None, grey)


def _check_range(low: float, high: float) -> None:
    """Refuse floats that leave [0, 1] by more than rounding, and those that are not numbers."""
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ImageError(f"float pictures hold values in [0, 1], but these run from {low:g} to {high:g}; rescale them")


def _top(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def _is_path(image: Any) -> bool:
    return hasattr(image, "__fspath__")
