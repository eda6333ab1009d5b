import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bench import agreement
from tests.bench.fleet import SIGNALS

TIMES = np.array([0.0, 0.05, 0.1, 0.15])
VALUES = np.array([50.0, 70.0, 55.0, 65.0])


def sums(signal: str) -> dict[str, list[float]]:
    found = {
        "count": 4.0,
        "sum": VALUES.sum(),
        "square": (VALUES**2).sum(),
        "time": TIMES.sum(),
        "time_square": (TIMES**2).sum(),
        "time_value": (TIMES * VALUES).sum(),
        "above": 2.0,
        "low": 50.0,
        "high": 70.0,
        "first": 50.0,
        "last": 65.0,
    }
    return {f"{signal}.{name}": [value] for name, value in found.items()}


def ours(signal: str) -> dict[str, list[float]]:
    found = {
        "count": 4.0,
        "missing_share": 0.2,
        "mean": VALUES.mean(),
        "std": VALUES.std(ddof=1),
        "min": 50.0,
        "max": 70.0,
        "first": 50.0,
        "last": 65.0,
        "slope": np.polyfit(TIMES, VALUES, 1)[0],
        "rms": np.sqrt((VALUES**2).mean()),
        "above_share": 0.5,
    }
    return {f"{signal}.{name}": [value] for name, value in found.items()}


@pytest.fixture
def written(tmp_path):
    keys = {"device": ["device-0"], "start": [0]}
    mine, theirs = keys.copy(), keys | {"records": [5]}
    for signal in SIGNALS:
        mine |= ours(signal)
        theirs |= sums(signal)

    def write(**changed: list[float]) -> float:
        pq.write_table(pa.table(mine), tmp_path / "ours.parquet")
        pq.write_table(pa.table(theirs | changed), tmp_path / "peer.parquet")
        return agreement.largest_difference(tmp_path / "ours.parquet", tmp_path / "peer.parquet")

    return write


def test_the_same_panes_agree(written):
    assert written() < 1e-12


@pytest.mark.parametrize("name", ["count", "sum", "square", "time_value", "above", "low", "high", "first", "last"])
def test_one_other_number_is_found(written, name):
    assert written(**{f"s3.{name}": [sums("s3")[f"s3.{name}"][0] * 1.01]}) > 1e-4


def test_other_panes_do_not_agree(written):
    assert written(start=[600_000_000]) == np.inf


def test_a_value_where_the_other_has_none_does_not_agree():
    assert agreement.difference(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == np.inf
