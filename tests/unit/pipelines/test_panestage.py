import itertools
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feature import grid
from features.featureset import FeatureSet
from features.panetable import PaneTable, panes_of
from features.schema import Fleet, Signal
from pipelines import panestage
from pipelines.devices import Devices
from pipelines.panestage import panes_of_files

HOUR = timedelta(hours=1)
MINUTE_US = 60_000_000
FLEET = Fleet(
    "vans",
    "",
    (Signal("speed", "km/h", 0, 130, limit=80.0), Signal("load", "kg", 0, 3000)),
    timedelta(minutes=1),
    HOUR,
    HOUR,
    HOUR,
)
FEATURES = FeatureSet(FLEET, timedelta(minutes=10), HOUR, grid(FLEET.signal_names, ["mean", "slope"], [HOUR]))


def readings(devices: int = 4, minutes: int = 90) -> pa.Table:
    """By device and time, with some missing values."""
    random = np.random.default_rng(7)
    size = devices * minutes
    names = np.repeat([f"van-{number}" for number in range(devices)], minutes)
    columns = {"device": pa.array(names.tolist()), "time": np.tile(np.arange(minutes) * MINUTE_US, devices)}
    for signal in FLEET.signal_names:
        columns[signal] = pa.array(random.uniform(0, 100, size), mask=random.random(size) < 0.1)
    return pa.table(columns)


def whole(rows: pa.Table) -> dict[tuple[str, int], np.ndarray]:
    """The panes of all rows, made at once."""
    devices = rows["device"].combine_chunks().dictionary_encode()
    values = np.column_stack([rows[name].fill_null(np.nan).to_numpy() for name in FLEET.signal_names])
    table = panes_of(FEATURES, devices.indices.to_numpy(), rows["time"].to_numpy(), values)
    return keyed([table], devices.dictionary.to_pylist())


def keyed(tables: list[PaneTable], names: list[str]) -> dict[tuple[str, int], np.ndarray]:
    found = {}
    for table in tables:
        assert (np.lexsort((table.start, table.device)) == np.arange(len(table.start))).all()
        for device, start, state in zip(table.device, table.start.tolist(), table.state, strict=True):
            key = (names[device], start)
            assert key not in found
            found[key] = state
    return found


def assert_same(found: dict[tuple[str, int], np.ndarray], expected: dict[tuple[str, int], np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    keys = sorted(expected)
    left, right = np.stack([found[key] for key in keys]), np.stack([expected[key] for key in keys])
    scale = np.nanmax(np.abs(right), axis=(0, 1), initial=1.0)
    np.testing.assert_allclose(left / scale, right / scale, atol=1e-9, rtol=0)


def run(files: list[str], threads: int = 1) -> dict[tuple[str, int], np.ndarray]:
    devices = Devices()
    return keyed(list(panes_of_files(files, FEATURES, devices, threads)), devices.names.to_pylist())


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("order", ["device", "time", "any"])
def test_panes_of_files_are_the_panes_of_all_rows_whatever_the_order(tmp_path, monkeypatch, threads, order):
    monkeypatch.setattr(panestage, "_BATCH_ROWS", 17)
    rows = readings()
    by_time = [("time", "ascending"), ("device", "ascending")]
    arranged = {
        "device": rows,
        "time": rows.sort_by(by_time),
        "any": rows.take(pa.array(np.random.default_rng(3).permutation(len(rows)))),
    }[order]
    files = []
    for number, begin in enumerate(range(0, len(rows), 130)):
        files.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(arranged.slice(begin, 130), files[-1], row_group_size=50)
    assert_same(run(files, threads), whole(rows))


def test_a_pane_leaves_as_soon_as_no_row_group_to_come_can_hold_more_of_it(tmp_path):
    files = [str(tmp_path / "day.parquet")]
    pq.write_table(readings(), files[0], row_group_size=90)  # one device a row group
    devices = Devices()
    stage = panes_of_files(files, FEATURES, devices)
    first = next(stage)
    assert (len(first.start), devices.names.to_pylist()) == (9, ["van-0"])
    assert [len(table.start) for table in stage] == [9, 9, 9]


def test_panes_cut_by_a_row_group_wait_for_their_other_half_and_others_do_not(tmp_path):
    path = str(tmp_path / "day.parquet")
    rows = readings(devices=1, minutes=60)
    pq.write_table(rows, path, row_group_size=25)  # the third pane is cut after five of its ten readings
    sizes = [len(table.start) for table in panes_of_files([path], FEATURES, Devices())]
    assert sizes == [2, 2, 1, 1]
    assert_same(run([path]), whole(rows))


def test_a_file_without_statistics_holds_its_panes_back_and_loses_none(tmp_path):
    rows = readings()
    paths = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    pq.write_table(rows.slice(0, 155), paths[0], row_group_size=40)
    pq.write_table(rows.slice(155), paths[1], row_group_size=40, write_statistics=False)
    assert_same(run(paths), whole(rows))


def test_a_pane_over_midnight_is_whole_when_its_halves_lie_in_files_of_two_dates(tmp_path):
    day = 86_400_000_000
    seven = FeatureSet(
        FLEET, timedelta(minutes=7), timedelta(minutes=7), grid(["speed"], ["mean"], [timedelta(minutes=7)])
    )
    times = day + np.arange(-10, 10) * MINUTE_US
    rows = pa.table({"device": ["van"] * 20, "time": times, "speed": np.arange(20.0), "load": np.arange(20.0)})
    paths = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    pq.write_table(rows.slice(0, 10), paths[0])
    pq.write_table(rows.slice(10), paths[1])
    tables = list(panes_of_files(paths, seven, Devices()))
    assert sum(len(table.start) for table in tables) == len(set((times // (7 * MINUTE_US)).tolist()))


@pytest.mark.parametrize("batch", [7, 1000])
def test_changes_are_known_where_the_rows_of_one_row_group_come_in_no_order(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(panestage, "_BATCH_ROWS", batch)
    rows = readings()
    path = str(tmp_path / "day.parquet")
    pq.write_table(rows.take(pa.array(np.random.default_rng(3).permutation(len(rows)))), path)
    assert_same(run([path]), whole(rows))


def test_sketches_come_along_from_parts_of_panes(tmp_path, monkeypatch):
    monkeypatch.setattr(panestage, "_BATCH_ROWS", 17)
    asking = FeatureSet(FLEET, FEATURES.pane, HOUR, grid(["load"], ["p50"], [HOUR]))
    rows = readings(devices=2)
    path = str(tmp_path / "day.parquet")
    pq.write_table(rows, path, row_group_size=45)
    tables = list(panes_of_files([path], asking, Devices()))
    for table in tables:
        assert table.counts is not None
        assert table.counts[:, 0].sum(axis=1).tolist() == table.state[:, 1, 0].tolist()
    valued = len(rows) - rows["load"].null_count
    assert sum(int(table.counts.sum()) for table in tables if table.counts is not None) == valued


def test_no_files_give_no_panes():
    assert list(panes_of_files([], FEATURES, Devices())) == []


def test_files_without_rows_give_no_panes(tmp_path):
    path = str(tmp_path / "empty.parquet")
    pq.write_table(readings().slice(0, 0), path)
    assert list(panes_of_files([path], FEATURES, Devices(), threads=2)) == []


def test_codes_that_were_given_before_stay(tmp_path):
    path = str(tmp_path / "day.parquet")
    pq.write_table(readings(), path)
    devices = Devices(["van-9", "van-2"])
    tables = list(panes_of_files([path], FEATURES, devices))
    assert devices.names.to_pylist()[:2] == ["van-9", "van-2"]
    assert sorted(devices.names.to_pylist()) == ["van-0", "van-1", "van-2", "van-3", "van-9"]
    assert 0 not in np.concatenate([table.device for table in tables])


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 359), max_size=8), group=st.integers(5, 200), seed=st.integers(0, 99))
def test_how_rows_are_cut_into_files_and_row_groups_does_not_matter(tmp_path_factory, cuts, group, seed):
    folder = tmp_path_factory.mktemp("cut")
    rows = readings()
    bounds = [0, *sorted(set(cuts)), len(rows)]
    files = []
    for begin, end in itertools.pairwise(bounds):
        files.append(str(folder / f"{begin}.parquet"))
        pq.write_table(rows.slice(begin, end - begin), files[-1], row_group_size=group)
    np.random.default_rng(seed).shuffle(files)
    assert_same(run(files, threads=2), whole(rows))
