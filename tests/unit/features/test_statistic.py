import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.pane import EMPTY, empty, summarize
from features.statistic import STATISTICS
from tests.parity.oracle import ORACLES, Window, scale

statistics = pytest.mark.parametrize("name", STATISTICS)
DAY_US, LIMIT = 86.4e9, 3.0
NUMBERS = st.one_of(st.just(math.nan), st.floats(-1e3, 1e3).map(lambda number: round(number, 6)))


@statistics
@given(values=st.lists(NUMBERS, max_size=20), offset=st.sampled_from([0.0, 1e8]), step_us=st.integers(1, 10**8))
def test_a_statistic_is_what_raw_readings_say(name: str, values: list[float], offset: float, step_us: int) -> None:
    at = np.arange(len(values)) * float(step_us)
    readings = np.array(values, np.float64) + offset
    points = [
        (time / 3.6e9, value)
        for time, value in zip(at.tolist(), readings.tolist(), strict=True)
        if not math.isnan(value)
    ]
    found = float(STATISTICS[name].function(summarize(at, readings, LIMIT), DAY_US))
    expected = ORACLES[name](points, Window(len(values) - len(points), 24.0, LIMIT))
    assert math.isnan(found) == math.isnan(expected)
    assert math.isnan(found) or abs(found - expected) <= 1e-9 * scale(name, points)


@statistics
def test_a_statistic_works_over_any_leading_shape(name: str) -> None:
    random = np.random.default_rng(0)
    panes = np.stack([summarize(np.arange(5.0), random.normal(size=(5, 3))) for _ in range(4)])
    found = STATISTICS[name].function(panes, DAY_US)
    assert found.shape == (4, 3)
    assert found[2, 1] == STATISTICS[name].function(panes[2, 1], DAY_US)


@statistics
def test_a_statistic_of_nothing_is_nan_and_only_the_count_is_zero(name: str) -> None:
    found = float(STATISTICS[name].function(EMPTY, DAY_US))
    assert found == 0 if name == "count" else math.isnan(found)


@statistics
def test_the_result_does_not_share_memory_with_the_panes(name: str) -> None:
    panes = empty((2, 1))
    assert not np.shares_memory(STATISTICS[name].function(panes, DAY_US), panes)


def test_a_constant_signal_has_no_spread_however_large_it_is() -> None:
    state = summarize(np.arange(1000.0), np.full(1000, 1e8 + 0.1))
    assert float(STATISTICS["std"].function(state, DAY_US)) == 0.0
    assert float(STATISTICS["slope"].function(state, DAY_US)) == 0.0


def test_readings_of_one_time_have_no_trend() -> None:
    assert math.isnan(float(STATISTICS["slope"].function(summarize([5.0, 5.0], [1.0, 2.0]), DAY_US)))


def test_the_units_follow_the_signal() -> None:
    assert STATISTICS["slope"].unit("bar") == "bar/h"
    assert STATISTICS["mean"].unit("bar") == "bar"
    assert STATISTICS["missing_share"].unit("bar") == "1"
