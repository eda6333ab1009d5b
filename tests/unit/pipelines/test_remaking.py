"""A backfill makes the panes and rows of its dates again, from what is stored, and touches nothing else."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from features.feature import grid
from features.featureset import FeatureSet
from pipelines.errors import PanesBehindError, PartitionError, TableMissingError
from pipelines.materialize import load_features, materialize
from pipelines.remaking import remake
from tests.fakes.fleets import FAN_FEATURES, FANS, HOUR, HOUR_US, NOON_US, Plant
from tests.unit.pipelines.test_partitions import NOW, assert_same, late_readings, steady, three_days

DAY = "2025-11-24"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Three days of telemetry, before and after they were materialized; to be copied, or only read."""
    raw, done = (tmp_path_factory.mktemp("plant") / name for name in ("raw", "done"))
    raw.mkdir()
    three_days(Plant(raw))
    shutil.copytree(raw, done)
    materialize(Plant(done).lake, FAN_FEATURES)
    return raw, done


def copied(folder, where):
    plant = Plant(shutil.copytree(folder, where))
    plant._written = 100  # new objects get new names
    return plant


@pytest.fixture
def plant(stored, tmp_path):
    return copied(stored[1], tmp_path / "plant")


@pytest.fixture
def raw(stored, tmp_path):
    """Not materialized yet."""
    return copied(stored[0], tmp_path / "raw")


@pytest.fixture
def expected(stored):
    """What is right, only to be read."""
    return Plant(stored[1])


def bytes_of(table, date):
    return [Path(table.uri, file.path).read_bytes() for file in table.open().files([date])]


def tables(plant):
    return plant.lake.panes(FAN_FEATURES), plant.lake.features(FAN_FEATURES)


def test_a_date_is_made_again_and_no_other(plant):
    untouched = [{f.path for f in table.open().files() if f.date != DAY} for table in tables(plant)]
    before = [{f.path for f in table.open().files([DAY])} for table in tables(plant)]
    summary = remake(plant.lake, FAN_FEATURES, DAY, DAY)
    assert summary.dates == (DAY,)
    assert summary.rows > 0
    assert [{f.path for f in table.open().files() if f.date != DAY} for table in tables(plant)] == untouched
    after = [{f.path for f in table.open().files([DAY])} for table in tables(plant)]
    assert all(old.isdisjoint(new) for old, new in zip(before, after, strict=True))


def test_what_is_made_again_is_what_was_there(plant, expected):
    remake(plant.lake, FAN_FEATURES, "2025-11-01", "2025-11-30")
    assert_same(plant.lake, expected.lake)


def test_doing_it_twice_writes_the_same_bytes(plant):
    remake(plant.lake, FAN_FEATURES, DAY, DAY)
    first = [bytes_of(table, DAY) for table in tables(plant)]
    remake(plant.lake, FAN_FEATURES, DAY, DAY)
    assert [bytes_of(table, DAY) for table in tables(plant)] == first
    assert all(first)


def test_panes_that_were_spoilt_are_right_again(plant, expected):
    panes = plant.lake.panes(FAN_FEATURES)
    spoilt = panes.open().read()
    spoilt = spoilt.filter(pa.compute.equal(spoilt["date"], DAY)).slice(0, 3)
    panes.open().adopt(panes.folder.write(spoilt), [DAY])
    remake(plant.lake, FAN_FEATURES, DAY, DAY)
    assert_same(plant.lake, expected.lake)


def test_what_is_behind_is_still_done_by_the_next_run(plant, raw):
    late_readings(plant, hour=30)
    plant.write(steady("fan-3", NOON_US - HOUR_US, 26))
    plant.ingest(NOW)
    remake(plant.lake, FAN_FEATURES, DAY, DAY)
    materialize(plant.lake, FAN_FEATURES)
    late_readings(raw, hour=30)
    raw.write(steady("fan-3", NOON_US - HOUR_US, 26))
    raw.ingest(NOW)
    materialize(raw.lake, FAN_FEATURES)
    assert_same(plant.lake, raw.lake)


def test_dates_without_telemetry_are_nothing_to_do(plant):
    versions = [table.version() for table in tables(plant)]
    summary = remake(plant.lake, FAN_FEATURES, "2024-01-01", "2024-01-31")
    assert (summary.panes, summary.rows, summary.dates) == (0, 0, ())
    assert [table.version() for table in tables(plant)] == versions


def test_two_runs_on_different_dates_do_not_get_in_each_others_way(plant):
    rows = plant.lake.features(FAN_FEATURES)
    before = load_features(plant.lake, FAN_FEATURES)
    opened = rows.open()
    remake(plant.lake, FAN_FEATURES, "2025-11-23", "2025-11-23")
    opened.adopt(rows.folder.write(opened.read(dates=["2025-11-25"])), ["2025-11-25"])
    assert load_features(plant.lake, FAN_FEATURES).to_pandas().equals(before.to_pandas())


def test_what_was_never_brought_up_to_date_is_refused(raw, tmp_path):
    with pytest.raises(TableMissingError):
        remake(Plant(tmp_path).lake, FAN_FEATURES, DAY, DAY)
    with pytest.raises(PanesBehindError, match=r"tidemill materialize fans"):
        remake(raw.lake, FAN_FEATURES, DAY, DAY)


def test_panes_that_do_not_divide_a_day_are_refused(raw):
    odd = FeatureSet(FANS, 7 * HOUR, 7 * HOUR, grid(["speed"], ["mean"], [7 * HOUR]))
    with pytest.raises(PartitionError, match="divides 24 hours"):
        remake(raw.lake, odd, DAY, DAY)
