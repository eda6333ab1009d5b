import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import kernel
from features.pane import EMPTY, empty, summarize
from features.statistic import STATISTICS, Statistic, field, read, read_columns
from tests.parity.oracle import ORACLES, Window, scale
from tests.parity.paths import numpy_kernel
from tests.unit.features.readings import NO_COMPILER

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


def _states(seed: int) -> np.ndarray:
    """Panes of three signals: far from zero, constant, and mostly missing; some of one reading, some of none."""
    random = np.random.default_rng(seed)
    panes = []
    for _ in range(150):
        count = int(random.integers(0, 6))
        values = random.normal(size=(count, 3)) * [1.0, 0.0, 1.0] + [1e8, 5.0, 0.0]
        values[random.random((count, 3)) < [0.1, 0.1, 0.8]] = np.nan
        panes.append(summarize(np.arange(count) * 7e6, values, LIMIT))
    return np.stack(panes)


@NO_COMPILER
@pytest.mark.parametrize("name", kernel.STATISTICS)
def test_the_twin_in_c_says_what_numpy_says(name: str) -> None:
    states = _states(1)
    for window in (DAY_US, np.linspace(1e9, 2e9, len(states))):
        found = read_columns(states, [(signal, name) for signal in range(3)], window)
        for signal in range(3):
            expected = STATISTICS[name].function(states[:, signal], window)
            np.testing.assert_allclose(found[signal], expected, rtol=1e-12, atol=0.0)


def test_every_statistic_with_a_twin_is_one_there_is() -> None:
    assert set(kernel.STATISTICS) <= set(STATISTICS)


def test_a_statistic_without_a_twin_is_read_beside_those_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = Statistic("spread", lambda state, _: field(state, "high") * 2.0, "", lambda unit: unit)
    monkeypatch.setitem(STATISTICS, "spread", spread)
    states, names = _states(2).reshape(50, 3, 3, -1), ["spread", "mean", "spread", "max"]
    found = read(states, names, DAY_US)
    assert found.shape == (50, 3, 3, 4)
    for place, name in enumerate(names):
        np.testing.assert_array_equal(found[..., place], STATISTICS[name].function(states, DAY_US))
    with numpy_kernel():
        np.testing.assert_allclose(read(states, names, DAY_US), found, rtol=1e-12)


def test_windows_of_their_own_length_are_read_over_any_shape() -> None:
    states = _states(3).reshape(50, 3, 3, -1)
    found = read(states, ["since_last"], np.arange(1.0, 51.0)[:, None, None] * 1e9)
    np.testing.assert_allclose(
        found[..., 0], STATISTICS["since_last"].function(states, np.arange(1.0, 51.0)[:, None, None] * 1e9)
    )
