"""Progress of restorations: honest, whole and in tiles; and the way to stop one."""

from __future__ import annotations

import numpy as np
import pytest

from moceir import Restorer
from moceir.models.network import MoCEIR
from moceir.restoration.memory import needed_bytes
from moceir.restoration.progress import on_progress

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)


class StopError(Exception):
    """Raised by a listener."""


def test_shares_rise_from_zero_to_exactly_one(nano: MoCEIR) -> None:
    restorer = Restorer(nano, device="cpu")
    in_tiles = restorer.with_options(memory_limit=needed_bytes(nano.config, 300, 400, 256, 1, "cpu"))
    for way, tile_px in ((restorer, None), (in_tiles, 256)):
        shares: list[float] = []
        with on_progress(shares.append):
            result = way.run(PIXELS)
        assert result.tile_px == tile_px
        assert shares == sorted(shares)
        assert len(shares) > 30
        assert shares[0] == 0
        assert shares[-2] < shares[-1] == 1
        np.testing.assert_array_equal(result.restored, way.run(PIXELS).restored)


def test_a_listener_stops_a_restoration_and_leaves_no_trace(nano: MoCEIR) -> None:
    restorer = Restorer(nano, device="cpu")
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if share > 0.3:
            raise StopError

    with on_progress(stop), pytest.raises(StopError):
        restorer.run(PIXELS)
    assert 0.3 < shares[-1] < 0.6
    heard = len(shares)
    np.testing.assert_array_equal(restorer.run(PIXELS).restored, Restorer(nano, device="cpu").run(PIXELS).restored)
    assert len(shares) == heard
