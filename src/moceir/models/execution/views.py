"""Other ways to run a network, beside the plain one: views of it, whose layers compute the same by other means.

A view is a network of the same modules with the same parameters, of which chosen modules have another class. The plain
network stays as it is, so that training, export and comparisons can have it. Weights that are loaded, moved or trained
in one are those of the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def view(network: Network, choose: Callable[[nn.Module], type[nn.Module] | None]) -> Network:
    """Create a view of a network.

    Args:
        network: The network; it does not change.
        choose: Given a module, returns the class it is to have in the view: a subclass of its own that adds no
            parameters. None keeps its class.
    """
    twin = copy.copy(network)
    # A shallow copy shares the dicts of parameters and buffers, so that both always hold the same tensors.
    children = {name: child and view(child, choose) for name, child in vars(network)["_modules"].items()}
    vars(twin)["_modules"] = children
    chosen = choose(network)
    if chosen is not None:
        twin.__class__ = chosen  # pyright: ignore[reportAttributeAccessIssue] - a subclass, as the caller promises
    return twin
