"""Average the weights of two models of one shape, for example of a run and of the model that it started from.

    python tools/average_weights.py START RUN/best -o OUT --share 0.5

A short run gains most for the tasks that it is about and loses a little for others; the average keeps most of both
(Wortsman et al., arXiv 2109.01903). With ``--part decoder.0``, all other parts stay as in the first model: what a run
learned and what it forgot often lie in different parts of the network. The description is that of the second model,
with both named in ``start``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from moceir.errors import ConfigError, MoceirError
from moceir.weights import load, read_description, resolve, save


def average(first: str, second: str, target: Path, share: float, parts: Sequence[str] = ()) -> None:
    """Write a model folder with ``(1 - share) * first + share * second``.

    Args:
        first: Name or folder of a model.
        second: Likewise, of the same shape.
        target: Folder to write.
        share: Share of the second, in [0, 1].
        parts: Modules, for example ``decoder.0``, that are averaged, while all others stay as in ``first``; empty for
            the whole network.

    Raises:
        ConfigError: If the share is not in [0, 1], the models differ in shape, or the network has no such part.
    """
    networks = [load(name) for name in (first, second)]
    if not 0 <= share <= 1:
        raise ConfigError(f"the share is {share}; give a number from 0 (the first model) to 1 (the second)")
    if networks[0].config != networks[1].config:
        raise ConfigError(f"{first} and {second} have different shapes; only weights of one shape can be averaged")
    if unknown := set(parts).difference(name for name, _ in networks[0].named_modules()):
        large = ", ".join(name for name, _ in networks[0].named_children())
        raise ConfigError(f"the network has no part {min(unknown)!r}; parts are {large}, and modules inside them")
    with torch.no_grad():
        for ours, (name, theirs) in zip(networks[0].parameters(), networks[1].named_parameters(), strict=True):
            if not parts or name.startswith(tuple(f"{part}." for part in parts)):
                ours.lerp_(theirs, share)
    description = read_description(resolve(second))
    where = f" in {', '.join(parts)}" if parts else ""
    start = f"{1 - share:g} of {Path(first).name} and {share:g} of {Path(second).name}{where}"
    description = description.model_copy(update={"provenance": description.provenance | {"start": start}})
    save(networks[0], target, description)


def main() -> None:
    """Read the options, and average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="name or folder of a model")
    parser.add_argument("second", help="name or folder of another")
    parser.add_argument("--share", type=float, default=0.5, help="of the second, from 0 to 1")
    parser.add_argument(
        "--part", action="append", default=[], help="average only this module, as decoder.0; repeatable"
    )
    parser.add_argument("--output", "-o", type=Path, required=True, help="model folder to write")
    given = parser.parse_args()
    try:
        average(given.first, given.second, given.output, given.share, given.part)
    except MoceirError as error:
        raise SystemExit(f"average_weights: {error}") from error


if __name__ == "__main__":
    main()
