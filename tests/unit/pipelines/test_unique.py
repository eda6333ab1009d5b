import numpy as np
import pyarrow as pa
import pytest

from pipelines.unique import _keys, date_names


def table(devices: list[str], times: list[int]) -> pa.Table:
    return pa.table({"device": pa.array(devices, pa.string()), "time": pa.array(times, pa.int64())})


@pytest.mark.parametrize("scale", [1, 2**60])
def test_keys_are_equal_exactly_where_device_and_time_are_and_sort_like_them(scale):
    left = table(["b", "a", "a", "c"], [3 * scale, 1, 3 * scale, 2])
    right = table(["a", "c", "d"], [3 * scale, 2, 2])
    first, second = _keys(left, right)
    pairs = [*zip(left["device"].to_pylist(), left["time"].to_pylist(), strict=True)]
    assert [pairs[n] for n in np.argsort(first)] == sorted(pairs)
    assert (second == [first[2], first[3], second[2]]).all()
    assert len({*first.tolist(), *second.tolist()}) == 5


def test_no_rows_have_no_keys():
    assert [len(part) for part in _keys(table([], []), table([], []))] == [0, 0]


def test_the_date_is_the_day_in_utc_also_before_1970():
    assert date_names(np.array([-1, 0, 1_763_985_600_000_000])).to_pylist() == [
        "1969-12-31",
        "1970-01-01",
        "2025-11-24",
    ]
