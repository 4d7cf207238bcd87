"""A node for ComfyUI that restores photographs. See the README beside this file."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from moceir import Restorer
from moceir.restoration.options import EFFORTS
from moceir.weights import bundled_models


@lru_cache(maxsize=1)
def _restorer(model: str) -> Restorer:
    """Load a model, and keep the one that was used last."""
    return Restorer.from_pretrained(model)


class RestorePhoto:
    """Restore each image of a batch, as ``moceir restore`` does: routed by itself, and whole if memory allows."""

    DESCRIPTION = "Removes noise, rain, haze, blur, JPEG artifacts and darkness, without being told which."
    CATEGORY = "image/restoration"
    FUNCTION = "restore"
    RETURN_TYPES = ("IMAGE",)
    OUTPUT_TOOLTIPS = ("The restored images: the same size, in the same order.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple[Any, ...]]]:  # noqa: N802 - ComfyUI calls it by this name
        """Describe the inputs as ComfyUI expects: the type of each, and the options of its widget."""
        models = f"{', '.join(bundled_models())}, a model folder, a published .ckpt file, or user/name on the Hub."
        strength = {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}
        return {
            "required": {
                "image": ("IMAGE",),
                "model": ("STRING", {"default": "tiny", "tooltip": models}),
                "strength": (
                    "FLOAT",
                    strength | {"tooltip": "How much of the restoration to take. 0 changes nothing."},
                ),
                "keep_tones": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "Keep the brightness and colors of dusk, mist and the like."},
                ),
                "effort": (
                    list(EFFORTS),
                    {"default": "auto", "tooltip": "Prefer cheap (low) or expensive (high) experts."},
                ),
            }
        }

    def restore(self, image: Tensor, model: str, strength: float, keep_tones: bool, effort: str) -> tuple[Tensor]:
        """Restore a batch of images.

        Args:
            image: ``(B, H, W, C)`` float in [0, 1], with 1 (gray), 3 (RGB) or 4 channels (RGBA, whose alpha stays as
                it is). Values outside [0, 1], which other nodes can leave, are clamped.
            model: A bundled model, a model folder, a ``.ckpt`` file, or ``user/name`` on the Hub.
            strength: How much of the restoration to take, from 0 to 1.
            keep_tones: Keep the brightness and colors of the input at large scales.
            effort: ``low``, ``auto`` or ``high``.

        Returns:
            One tensor of the same shape, type and device.

        Raises:
            MoceirError: If the model cannot be loaded, an option is wrong, or an image does not fit into memory.
        """
        restorer = _restorer(model).with_options(strength=strength, keep_tones=keep_tones, effort=effort)
        pictures = image.clamp(0, 1).float().cpu().numpy()
        restored = torch.stack([torch.from_numpy(restorer.restore(picture)) for picture in pictures])
        return (restored.to(image),)


NODE_CLASS_MAPPINGS = {"MoCEIRRestorePhoto": RestorePhoto}
NODE_DISPLAY_NAME_MAPPINGS = {"MoCEIRRestorePhoto": "Restore photo (MoCE-IR)"}
