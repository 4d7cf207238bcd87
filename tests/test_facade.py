"""The package itself: the names that it offers."""

from __future__ import annotations

from importlib.metadata import version

import pytest

import moceir


def test_the_facade_offers_what_it_promises() -> None:
    assert set(moceir.__all__) == set(dir(moceir))
    assert all(getattr(moceir, name) is not None for name in moceir.__all__)
    assert moceir.preset("tiny").dim == 16
    assert moceir.__version__ == version("moceir")
    with pytest.raises(AttributeError, match="it offers"):
        _ = moceir.Restorator  # type: ignore[attr-defined]
