"""Readings for laws, the kernels under test, and what it means that two pane states are the same."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.kernel import columns_reference, reference
from features.kernel.reference import CHANGE
from features.pane import PANE_FIELDS, empty

try:
    from features.kernel import _pane as compiled
except ImportError:  # pragma: no cover - a machine without a compiler
    compiled = None  # type: ignore[assignment] # then the C rows of the tables below skip

NO_COMPILER = pytest.mark.skipif(compiled is None, reason="the C kernel is not compiled here")
TWINS = [pytest.param(compiled, id="c", marks=NO_COMPILER), pytest.param(columns_reference, id="numpy")]
KERNELS = [pytest.param(compiled, id="c", marks=NO_COMPILER), pytest.param(reference, id="numpy")]

MINUTE_US = 60_000_000
PANE_US = 10 * MINUTE_US
LIMIT = np.array([20.0])

Readings = tuple[NDArray[np.float64], NDArray[np.float64]]


@st.composite
def readings(draw: Any, most: int = 12) -> Readings:
    """Times within a pane, any or whole minutes (so that ties happen), and values with offset and gaps."""
    count = draw(st.integers(0, most))
    offset = draw(st.sampled_from([0.0, 20.0, 1e8, -1e5]))
    noise = st.one_of(st.just(np.nan), st.floats(-100, 100), st.sampled_from([0.0, 1.0]))
    times = draw(st.lists(st.integers(0, PANE_US - 1), min_size=count, max_size=count))
    coarse = draw(st.booleans())
    at = np.array([time // MINUTE_US * MINUTE_US if coarse else time for time in times], np.float64)
    values = np.array(draw(st.lists(noise, min_size=count, max_size=count)), np.float64) + offset
    return at, values


def summary(kernel: ModuleType, given: Readings) -> NDArray[np.float64]:
    """The state of the readings of one pane, shape ``(FIELDS,)``."""
    at, values = given
    panes = empty((1, 1))
    kernel.add(panes, np.zeros(len(at), np.int64), at, np.ascontiguousarray(values[:, None]), LIMIT)
    state: NDArray[np.float64] = panes[0, 0]
    return state


def merged(
    kernel: ModuleType, left: NDArray[np.float64], right: NDArray[np.float64], shift: float
) -> NDArray[np.float64]:
    """The state of both panes, by the kernel under test."""
    union = left.copy()
    kernel.merge(union, right, np.array([shift], np.float64))
    return union


def assert_same(
    found: NDArray[np.float64], expected: NDArray[np.float64], span_us: float = 4 * PANE_US, *, in_order: bool = True
) -> None:
    """Equal field by field: exactly where nothing is added up, else within 1e-9 of the size of what was added.

    Where the readings did not come in the order of time, ``change`` has to be right only where it is known.
    """
    if not in_order:
        known = ~np.isnan(found[..., CHANGE]) & ~np.isnan(expected[..., CHANGE])
        found, expected = found.copy(), expected.copy()
        found[~known, CHANGE] = expected[~known, CHANGE] = 0.0
    field = dict(zip(PANE_FIELDS, np.moveaxis(expected, -1, 0), strict=True))
    distance = np.nan_to_num(field["high"] - field["low"])
    scales = {
        "sum": distance,
        "square": distance**2,
        "time": span_us,
        "time_square": span_us**2,
        "time_value": distance * span_us,
        "change": distance,
    }
    for index, name in enumerate(PANE_FIELDS):
        bound = 1e-9 * scales[name] * field["count"] if name in scales else 0.0
        error = np.abs(found[..., index] - field[name])
        assert np.array_equal(np.isnan(found[..., index]), np.isnan(field[name])), name
        assert (np.nan_to_num(error) <= bound).all(), f"{name}: {found[..., index]} is not {field[name]}"
