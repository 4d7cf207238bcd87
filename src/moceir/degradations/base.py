"""Base class of degradations: frozen records of parameters, with separate functions to draw and to apply them.

The parameters of one sample are plain data (``model_dump`` gives JSON) and can be stored in recipes, logs and bug
reports. Random *fields* (noise samples, streak positions, depth maps) come from the generator passed to ``apply``: the
same images, parameters and generator state give the same result.
"""

import math
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import pydantic
import torch
from torch import Tensor

T = TypeVar("T")


class Degradation(pydantic.BaseModel):
    """Parameters of one degraded sample; subclasses add their fields, ``draw`` and ``_apply``."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw the parameters of one sample from the training distribution.

        Args:
            generator: Source of randomness. A CPU generator avoids one GPU synchronisation per number.

        Returns:
            Parameters of one sample.
        """
        raise NotImplementedError

    @classmethod
    def apply(
        cls, images: Tensor, params: Sequence[Self], generator: torch.Generator, depth: Tensor | None = None
    ) -> Tensor:
        """Degrade a batch of pictures.

        Args:
            images: Clean pictures, ``(B, 3, H, W)`` float RGB in [0, 1], H and W at least 1.
            params: One parameter record per picture.
            generator: Source of the random fields, on the device of ``images``.
            depth: Depth of the scenes if known, ``(B, 1, H, W)``, at least 0, where 1 is the far end of a typical
                scene. Haze uses it; degradations that do not depend on depth ignore it.

        Returns:
            Degraded pictures of the same shape, dtype and device, in [0, 1].

        Raises:
            ValueError: If ``images`` is not ``(B, 3, H, W)``, ``params`` does not have B records, or ``depth``
                does not match ``images``.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"images must be floating point (B, 3, H, W), got {images.dtype} {tuple(images.shape)}")
        if len(params) != images.shape[0]:
            raise ValueError(f"{images.shape[0]} images need as many parameter records, got {len(params)}")
        check_depth(images, depth)
        if images.numel() == 0:
            return images.clone()
        return cls._apply_at_depth(images, params, generator, depth).clamp(0, 1)

    @classmethod
    def _apply_at_depth(
        cls, images: Tensor, params: Sequence[Any], generator: torch.Generator, depth: Tensor | None
    ) -> Tensor:
        """Implement ``apply`` on checked arguments; depth-dependent subclasses override this instead of ``_apply``."""
        del depth
        return cls._apply(images, params, generator)

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Any], generator: torch.Generator) -> Tensor:
        """Implement ``apply`` on checked arguments; the result need not be clamped."""
        # `Any`, so that subclasses can annotate their own record type; `apply` guarantees it.
        raise NotImplementedError

    def override(self, fixed: dict[str, object]) -> Self:
        """Replace some of the drawn values.

        Args:
            fixed: Values by field name.

        Returns:
            A validated copy with the values of ``fixed``.
        """
        return type(self).model_validate(self.model_dump() | fixed)


def check_depth(images: Tensor, depth: Tensor | None) -> None:
    """Raise ``ValueError`` if depth maps do not match the pictures."""
    if depth is not None and depth.shape != images[:, :1].shape:
        raise ValueError(f"depth must be (B, 1, H, W) to fit images {tuple(images.shape)}, got {tuple(depth.shape)}")


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """Draw one number uniformly from [low, high)."""
    return low + (high - low) * torch.rand((), generator=generator, device=generator.device, dtype=torch.float64).item()


def log_uniform(generator: torch.Generator, low: float, high: float) -> float:
    """Draw one number with a uniform logarithm: 1 to 2 is as likely as 10 to 20."""
    return math.exp(uniform(generator, math.log(low), math.log(high)))


def chance(generator: torch.Generator, probability: float) -> bool:
    """Return True with the given probability."""
    return uniform(generator, 0, 1) < probability


def choice(generator: torch.Generator, options: Sequence[T]) -> T:
    """Draw one of the options with equal probability."""
    return options[int(uniform(generator, 0, len(options)))]


def per_image(values: Sequence[float], images: Tensor) -> Tensor:
    """Arrange one number per picture so that it broadcasts.

    Args:
        values: B numbers.
        images: Pictures ``(B, 3, H, W)`` that define dtype and device.

    Returns:
        The numbers as ``(B, 1, 1, 1)``.
    """
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(-1, 1, 1, 1)


def normal_like(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal samples with the shape, dtype and device of ``images``."""
    return torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)


def srgb_to_linear(images: Tensor) -> Tensor:
    """Decode sRGB values in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    return torch.where(images <= 0.04045, images / 12.92, ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: Tensor) -> Tensor:
    """Encode linear light as sRGB (IEC 61966-2-1); values outside [0, 1] are clipped first."""
    light = light.clamp(0, 1)
    # The clamp inside the power keeps its gradient finite at zero, where the linear branch is used.
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
