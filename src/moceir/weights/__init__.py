"""Loading and saving of weights: model folders, published checkpoints, growth into larger shapes."""

from moceir.weights.folders import (
    BUNDLED,
    CONFIG_FILE,
    WEIGHTS_FILE,
    ModelFile,
    bundled_models,
    load,
    read_description,
    resolve,
    save,
)

__all__ = [
    "BUNDLED",
    "CONFIG_FILE",
    "WEIGHTS_FILE",
    "ModelFile",
    "bundled_models",
    "load",
    "read_description",
    "resolve",
    "save",
]
