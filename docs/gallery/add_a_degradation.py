# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Add a degradation
#
# A degradation is a frozen record of parameters with two functions: `draw` chooses the parameters of one sample, and
# `_apply` changes a batch of pictures. This example adds a vignette: light that falls off towards the corners.

# %%
import numpy as np
import pydantic
import torch
from PIL import Image

from moceir.degradations import DEGRADATIONS, Degradation, degrade, parse
from moceir.degradations.base import linear_to_srgb, per_image, srgb_to_linear, uniform


class Vignette(Degradation):
    """Light that falls off towards the corners."""

    strength: float = pydantic.Field(default=0.6, ge=0, le=1)
    """Fraction of the light that is missing in the corners."""

    @classmethod
    def draw(cls, generator):
        """Draw weak to strong vignettes."""
        return cls(strength=uniform(generator, 0.2, 0.9))

    @classmethod
    def _apply(cls, images, params, generator):
        height, width = images.shape[-2:]
        y = torch.linspace(-1, 1, height, device=images.device)[:, None]
        x = torch.linspace(-1, 1, width, device=images.device)[None, :]
        falloff = (x.square() + y.square()) / 2  # 0 in the centre, 1 in the corners
        return linear_to_srgb(srgb_to_linear(images) * (1 - per_image([p.strength for p in params], images) * falloff))


# %% [markdown]
# With a name in `DEGRADATIONS`, it works wherever degradations are written as text: in composites, with fixed
# parameters, and in the `tasks` of a recipe.

# %%
DEGRADATIONS["vignette"] = Vignette

clean = np.asarray(Image.open("examples/clean/noise25_chelsea.png"))
images = torch.from_numpy(clean).permute(2, 0, 1)[None] / 255
generator = torch.Generator().manual_seed(3)
print(parse("vignette").draw(generator))

# %%
strong = degrade(images, "vignette:strength=0.9", generator)
noisy = degrade(images, parse("vignette:strength=0.9").draw(generator), generator)
noisy = degrade(noisy, "noise:sigma=25", generator)


def to_pixels(batch):
    return (batch[0].permute(1, 2, 0) * 255).round().byte().numpy()


Image.fromarray(np.hstack([clean, to_pixels(strong), to_pixels(noisy)]))

# %% [markdown]
# A degradation that you want to keep is one file in `src/moceir/degradations`, with its name in the same table. The
# tests there check every degradation: same seed, same result; shape and range; JSON and back.
# [Degradations](../degradations.md) describes those that exist.
