import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipelines.unique import date_names, pair_keys


def part(devices: list[str], times: list[int]) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    return pa.chunked_array([devices], pa.string()), np.array(times, np.int64)


@pytest.mark.parametrize("scale", [1, 2**60])
def test_keys_are_equal_exactly_where_device_and_time_are_and_sort_like_them(scale):
    left, right = part(["b", "a", "a", "c"], [3 * scale, 1, 3 * scale, 2]), part(["a", "c", "d"], [3 * scale, 2, 2])
    first, second = pair_keys(left, right)
    pairs = [*zip(left[0].to_pylist(), left[1].tolist(), strict=True)]
    assert [pairs[n] for n in np.argsort(first)] == sorted(pairs)
    assert (second == [first[2], first[3], second[2]]).all()
    assert len({*first.tolist(), *second.tolist()}) == 5


def test_no_rows_have_no_keys():
    assert [len(keys) for keys in pair_keys(part([], []), part([], []))] == [0, 0]


def test_the_date_is_the_day_in_utc_also_before_1970():
    assert date_names(np.array([-1, 0, 1_763_985_600_000_000])).to_pylist() == [
        "1969-12-31",
        "1970-01-01",
        "2025-11-24",
    ]
