# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Inspect routes
#
# Each decoder block sends a picture to one of four experts. This example shows the choice, its cost, and what happens
# when you choose yourself.

# %%
import numpy as np
from PIL import Image

import moceir

restorer = moceir.Restorer.from_pretrained("tiny")
rainy = np.asarray(Image.open("examples/degraded/rain_rocket.png"))
restored, report = restorer.restore(rainy, return_routing=True)

Image.fromarray(np.hstack([rainy, restored]))

# %% [markdown]
# The report has one entry per decoder block, from deep to full resolution. `experts` is the route, and the costs are in
# 10⁹ multiply-accumulates.

# %%
print("route:", report.experts)
print(f"cost: {report.gmacs:.2f} GMACs, between {report.cheapest_gmacs:.2f} and {report.dearest_gmacs:.2f}")

# %%
figure = report.plot().figure
figure.set_size_inches(9, 5)

# %% [markdown]
# `effort` shifts the routers' scores towards cheap or expensive experts, and `experts` fixes the route. Both are
# options of a single call. See [Routing](../routing.md) for what this gains: with the bundled weights, very little.

# %%
for asked in ({"effort": "low"}, {"effort": "high"}, {"experts": "cheapest"}, {"experts": "dearest"}):
    other, other_report = restorer.restore(rainy, return_routing=True, **asked)
    difference = np.abs(other.astype(float) - restored.astype(float)).mean()
    print(f"{asked}: {other_report.gmacs:.2f} GMACs, {difference:.3f} levels from the routers' own choice")
