# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Train on your own pairs
#
# If you have pictures before and after a fault (scans of the same slide, two exposures, renderings with and without an
# effect), you can fine-tune a model for exactly this fault. Pairs are matched by name. This example makes its pairs
# with `moceir degrade`, trains for a few steps only, and restores with the result.

# %%
import shutil
import subprocess
import sys
from pathlib import Path


def moceir(*arguments):
    """Run the command line, and show the end of what it prints."""
    done = subprocess.run([sys.executable, "-m", "moceir", *arguments], capture_output=True, text=True, check=True)
    print("\n".join(done.stdout.splitlines()[-6:]))


Path("mine/clean").mkdir(parents=True)
for name in ("noise25_chelsea", "rain_rocket", "low_light_coffee"):
    shutil.copy(f"examples/clean/{name}.png", "mine/clean")
moceir("degrade", "mine/clean", "-o", "mine/degraded", "--with", "haze+noise:sigma=15", "--seed", "1")

# %% [markdown]
# The recipe `finetune.yaml` reads the folders `degraded` and `clean` below `--data`. `--set` changes any value: here a
# run of 12 small steps, where a real one has thousands.

# %%
moceir(
    *("train", "recipes/finetune.yaml", "--data", "mine", "-o", "runs/mine", "--start", "tiny", "--device", "cpu"),
    *("--set", "steps=12", "--set", "epoch_steps=6", "--set", "stages.0.patch_px=64", "--set", "stages.0.batch=2"),
)
print(sorted(path.name for path in Path("runs/mine/best").iterdir()))

# %% [markdown]
# `best` is a model folder, which every `--model` takes. Compare it with the weights it started from. Twelve steps
# change little; the command is the same for a long run.

# %%
moceir("evaluate", "--pairs", "mine/degraded", "mine/clean", "--model", "tiny")
moceir("evaluate", "--pairs", "mine/degraded", "mine/clean", "--model", "runs/mine/best")

# %% [markdown]
# [Train a network](../training.md) has the whole procedure: published data sets, several GPUs, interruptions,
# comparisons.
