# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Export to ONNX
#
# Write a model as an ONNX file for pictures of any size, and run it with onnxruntime instead of torch. Each expert is a
# branch of the graph, so only the chosen ones work.

# %%
import numpy as np
import onnxruntime
from PIL import Image

import moceir
from moceir.export import to_onnx

network = moceir.load("tiny")
exported = to_onnx(network, "tiny.onnx")
print(exported)

# %% [markdown]
# The file was already compared with torch before it appeared. Compare it once more, on a photograph, with what
# `Restorer` gives.

# %%
noisy = np.asarray(Image.open("examples/degraded/noise25_chelsea.png"))
session = onnxruntime.InferenceSession("tiny.onnx")
image = np.moveaxis(noisy, 2, 0)[None].astype(np.float32) / 255
(result,) = session.run(None, {"image": image})
restored = np.moveaxis((result[0].clip(0, 1) * 255).round().astype(np.uint8), 0, 2)

expected = moceir.Restorer(network).restore(noisy)
print("largest difference in 8-bit levels:", np.abs(restored.astype(int) - expected.astype(int)).max())
Image.fromarray(np.hstack([noisy, restored]))

# %% [markdown]
# [Use other programs](../interop.md) compares bytes, seconds and memory, and says what does not work.
