"""Brightness of pictures, by hand."""

import numpy as np
import pytest

from isdm.metrics.light import light


def test_mean_and_spread_are_shares_of_the_range() -> None:
    values = np.array([0, 51, 153], np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    found = light(values)
    assert found == {"mean": pytest.approx(0.8 / 3), "spread": pytest.approx(np.std([0, 0.2, 0.6]))}
    assert light(values.astype(np.uint16) * 257) == pytest.approx(found)
