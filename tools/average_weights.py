"""Average the weights of two models of one shape, for example of a run and of the model that it started from.

    python tools/average_weights.py START RUN/best -o OUT --share 0.5

A short run gains most for the tasks that it is about and loses a little for others; the average keeps most of both
(Wortsman et al., arXiv 2109.01903). The description is that of the second model, with both named in ``start``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from moceir.errors import ConfigError, MoceirError
from moceir.weights import load, read_description, resolve, save


def average(first: str, second: str, target: Path, share: float) -> None:
    """Write a model folder with ``(1 - share) * first + share * second``.

    Raises:
        ConfigError: If the share is not in [0, 1], or the models differ in shape.
    """
    networks = [load(name) for name in (first, second)]
    if not 0 <= share <= 1:
        raise ConfigError(f"the share is {share}; give a number from 0 (the first model) to 1 (the second)")
    if networks[0].config != networks[1].config:
        raise ConfigError(f"{first} and {second} have different shapes; only weights of one shape can be averaged")
    with torch.no_grad():
        for ours, theirs in zip(networks[1].parameters(), networks[0].parameters(), strict=True):
            ours.lerp_(theirs, 1 - share)
    description = read_description(resolve(second))
    start = f"{1 - share:g} of {Path(first).name} and {share:g} of {Path(second).name}"
    description = description.model_copy(update={"provenance": description.provenance | {"start": start}})
    save(networks[1], target, description)


def main() -> None:
    """Read the options, and average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="name or folder of a model")
    parser.add_argument("second", help="name or folder of another")
    parser.add_argument("--share", type=float, default=0.5, help="of the second, from 0 to 1")
    parser.add_argument("--output", "-o", type=Path, required=True, help="model folder to write")
    given = parser.parse_args()
    try:
        average(given.first, given.second, given.output, given.share)
    except MoceirError as error:
        raise SystemExit(f"average_weights: {error}") from error


if __name__ == "__main__":
    main()
