# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Restore a folder
#
# Load a model once, restore every file of a folder, and measure how much better the pictures got. This example uses the
# seven degraded photographs of the repository, whose clean versions are known.

# %%
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

import moceir

restorer = moceir.Restorer.from_pretrained("tiny")

# %% [markdown]
# `restore_file` reads a file, restores it, and writes the result with the size, bit depth, colours and metadata of the
# input. It returns a `RestorationResult`, which says how long it took and what the result lacks.

# %%
results = {}
for source in sorted(Path("examples/degraded").glob("*.png")):
    results[source.name] = restorer.restore_file(source, Path("restored") / source.name)

# %% [markdown]
# Compare with the clean pictures. The PSNR here comes from scikit-image.


# %%
def pixels(folder, name):
    return np.asarray(Image.open(Path(folder) / name))


for name, result in results.items():
    clean = pixels("examples/clean", name)
    before = peak_signal_noise_ratio(clean, pixels("examples/degraded", name))
    after = peak_signal_noise_ratio(clean, pixels("restored", name))
    print(f"{name:24} {result.width}x{result.height}  {before:.2f} -> {after:.2f} dB")

# %%
shown = ["noise50_astronaut.png", "rain_rocket.png", "haze_astronaut.png", "low_light_coffee.png"]
rows = [np.hstack([pixels("examples/degraded", name), pixels("restored", name)]) for name in shown]
width = min(row.shape[1] for row in rows)
Image.fromarray(np.vstack([row[:, :width] for row in rows]))

# %% [markdown]
# The command line does the same, reads and writes while the network works, and can continue after an interruption:
#
# ```console
# $ moceir restore examples/degraded -o restored --skip-existing --report report.jsonl
# ```
