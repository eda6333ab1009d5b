import math
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.sketch import QUANTILES, Counts, Sketch, buckets_of, quantiles
from tests.unit.features.readings import TWINS

LARGEST = 60.0
SIZES = st.one_of(st.floats(-LARGEST, LARGEST), st.sampled_from([0.0, -0.0, LARGEST, -LARGEST, 1e-300, 0.125, 32.0]))
BOTH = [Sketch(LARGEST, signed=True), Sketch(LARGEST, signed=False)]
SHARES = list(QUANTILES.values())


def sketched(values: list[float], sketch: Sketch) -> Counts:
    present = np.array([value for value in values if not math.isnan(value)], np.float64)
    return np.bincount(buckets_of(present, sketch), minlength=sketch.buckets).astype(np.uint32)


@given(values=st.lists(SIZES, min_size=1, max_size=60), sketch=st.sampled_from(BOTH))
def test_an_answer_is_within_its_bound_of_the_exact_quantile(values: list[float], sketch: Sketch) -> None:
    sizes = values if sketch.signed else [abs(value) for value in values]
    for share, found in zip(SHARES, quantiles(sketched(sizes, sketch), sketch, SHARES), strict=True):
        exact = sorted(sizes)[math.floor(share * (len(sizes) - 1))]
        assert abs(found - exact) <= (0.01 * abs(exact) if abs(exact) >= LARGEST / 512 else LARGEST / 512)


@given(values=st.lists(SIZES, max_size=40), cut=st.integers(0, 40))
def test_counts_of_parts_add_up_to_the_counts_of_the_whole(values: list[float], cut: int) -> None:
    sketch = Sketch(LARGEST, signed=True)
    parts = sketched(values[cut:], sketch) + sketched(values[:cut], sketch)
    np.testing.assert_array_equal(parts, sketched(values[::-1], sketch))


@given(one=SIZES, other=SIZES)
def test_larger_values_never_fall_into_lower_buckets(one: float, other: float) -> None:
    low, high = buckets_of(np.array(sorted([one, other])), Sketch(LARGEST, signed=True))
    assert low <= high


@pytest.mark.parametrize("sketch", BOTH)
def test_each_answer_falls_into_its_own_bucket(sketch: Sketch) -> None:
    np.testing.assert_array_equal(buckets_of(sketch.answers, sketch), np.arange(sketch.buckets))


def test_values_beyond_the_largest_count_at_the_edge_and_missing_ones_nowhere() -> None:
    sketch = Sketch(LARGEST, signed=True)
    counts = sketched([1e300, -1e300, math.inf, -math.inf, math.nan], sketch)
    assert (counts[-1], counts[0], counts.sum()) == (2, 2, 4)
    assert sketched([-5.0], Sketch(LARGEST, signed=False))[0] == 1  # a range that forbids it counts it as nothing


def test_nothing_counted_answers_nothing() -> None:
    sketch = Sketch(LARGEST, signed=False)
    assert np.isnan(quantiles(np.zeros((2, 3, sketch.buckets), np.uint32), sketch, SHARES)).all()


def counted(kernel: ModuleType, sketch: Sketch, values: np.ndarray, parts: int) -> np.ndarray:
    """Readings dealt out to panes by turns, as columns."""
    counts = np.zeros((parts, 1, sketch.buckets), np.uint32)
    begin = np.arange(len(values) + 1, dtype=np.uint32)
    group = np.arange(len(values), dtype=np.uint32) % parts
    kernel.sketch_runs(counts, begin, group, ((values, None, 0),), np.array([sketch.key], np.int32), sketch.zero)
    return counts[:, 0]


@pytest.mark.parametrize("kernel", TWINS)
@given(
    values=st.lists(st.floats(-2000, 2000) | st.floats(allow_nan=True, allow_infinity=True), max_size=40),
    parts=st.integers(1, 5),
    kind=st.sampled_from([Sketch(1000.0, signed=True), Sketch(1000.0, signed=False)]),
)
def test_columns_are_counted_as_values_are_bit_for_bit(
    kernel: ModuleType, values: list[float], parts: int, kind: Sketch
) -> None:
    sketch, readings = kind, np.array(values, np.float64)
    expected = np.stack([sketched(values[part::parts], sketch) for part in range(parts)])
    found = counted(kernel, sketch, readings, parts)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found.sum(axis=0), counted(kernel, sketch, readings, 1)[0])


@pytest.mark.parametrize("kernel", TWINS)
def test_sketching_refuses_what_does_not_fit(kernel: ModuleType) -> None:
    sketch = Sketch(1.0, signed=False)
    counts, column, tops = np.zeros((2, 1, 501), np.uint32), (np.ones(2), None, 0), np.array([sketch.key], np.int32)
    begin = np.array([0, 1, 2], np.uint32)
    kernel.sketch_runs(counts, begin, None, (column,), tops, 0)
    for group, columns, top, below in (
        (np.array([0, 2], np.uint32), (column,), tops, 0),
        (np.array([0], np.uint32), (column,), tops, 0),
        (None, (), tops, 0),
        (None, (column,), tops + 10**6, 0),
        (None, (column,), tops, 500),
        (None, ((np.ones(1), None, 0),), tops, 0),
    ):
        with pytest.raises(ValueError, match="must"):
            kernel.sketch_runs(counts, begin, group, columns, top, below)
