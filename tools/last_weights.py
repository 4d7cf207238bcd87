"""Save the weights at the end of a run as a model.

    python tools/last_weights.py RUN -o OUT

``RUN/best`` holds the weights with the best score on crops of few held-out pictures. Where these scores differ by less
than they scatter, the end of the schedule, when the learning rate has decayed, is the better choice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from moceir.config import ModelConfig
from moceir.errors import MoceirError, WeightsError
from moceir.models.presets import preset
from moceir.recipe import load_recipe
from moceir.training.run import LAST, RECIPE_FILE, network_of_checkpoint
from moceir.weights import ModelFile, save


def save_last(run: Path, target: Path) -> None:
    """Write the network of the last checkpoint of a run as a model folder.

    Raises:
        WeightsError: If the folder has no last checkpoint.
        ConfigError: If its recipe is missing or damaged.
    """
    if not (run / LAST).is_file():
        raise WeightsError(f"{run} has no {LAST}; give the folder of a run of moceir train")
    recipe = load_recipe(run / RECIPE_FILE, [])
    shape = recipe.model if isinstance(recipe.model, ModelConfig) else preset(recipe.model)
    network = network_of_checkpoint(run / LAST, shape)
    save(network, target, ModelFile(model=shape, training=recipe.model_dump(mode="json")))


def main() -> None:
    """Read the options, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--output", "-o", type=Path, required=True, help="model folder to write")
    given = parser.parse_args()
    try:
        save_last(given.run, given.output)
    except MoceirError as error:
        raise SystemExit(f"last_weights: {error}") from error


if __name__ == "__main__":
    main()
