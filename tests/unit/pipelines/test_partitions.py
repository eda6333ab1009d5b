"""Materializing in parts gives what one run over everything gives, however the work is cut."""

import dataclasses
import itertools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feature import grid
from features.featureset import FeatureSet
from features.pane import PANE_FIELDS
from pipelines import partial
from pipelines.errors import CommitConflictError, PanesBehindError, PartitionError
from pipelines.lake import Lake
from pipelines.materialize import load_features, materialize
from pipelines.partitions import Alone, due, make_panes, make_rows, materialize_by
from tests.fakes.fleets import (
    DAY_US,
    FAN_FEATURES,
    FANS,
    HOUR,
    HOUR_US,
    MINUTE,
    MINUTE_US,
    NOON_US,
    Plant,
    reading,
)
from tests.fakes.rebuilt import event
from tests.unit.pipelines.test_materialize_kinds import KINDS, SERVICED

STATE = [f"{signal}.{field}" for signal in FANS.signal_names for field in PANE_FIELDS]
NOW = NOON_US + 3 * DAY_US
DATES = ("2025-11-23", "2025-11-24", "2025-11-25")
ALONE = Alone()
EVERYTHING = FeatureSet(SERVICED, 10 * MINUTE, HOUR, tuple(dict.fromkeys(itertools.chain(*KINDS.values()))))


def steady(device: str, begin_us: int, hours: float, every_us: int = 5 * MINUTE_US) -> list[Any]:
    times = range(begin_us, begin_us + int(hours * HOUR_US), every_us)
    return [reading(device, time, 1000 + (time // MINUTE_US) % 97 / 7, time) for time in times]


def three_days(plant: Plant) -> None:
    """Two fans, one with a pause, in batches that cut panes; then readings that come late, between stored ones."""
    first = NOON_US - DAY_US
    plant.write(steady("fan-1", first, 20.1) + steady("fan-2", first + 3 * HOUR_US, 5))
    plant.ingest(NOW)
    plant.write(steady("fan-1", first + 20 * HOUR_US + 5 * MINUTE_US, 30) + steady("fan-2", NOON_US, 20))
    plant.ingest(NOW)
    late_readings(plant)


def late_readings(plant: Plant, hour: int = 2) -> None:
    plant.write(steady("fan-1", NOON_US - DAY_US + hour * HOUR_US + MINUTE_US, 3))
    plant.ingest(NOW)


def tables(lake: Lake, features: FeatureSet = FAN_FEATURES) -> tuple[pd.DataFrame, pd.DataFrame]:
    panes = lake.panes(features).open().read(["device", "start", *STATE]).to_pandas()
    rows = load_features(lake, features).to_pandas()
    return panes.set_index(["device", "start"]).sort_index(), rows.set_index(["device", "end"]).sort_index()


def assert_same(found: Lake, expected: Lake, features: FeatureSet = FAN_FEATURES) -> None:
    for ours, theirs in zip(tables(found, features), tables(expected, features), strict=True):
        assert len(ours)
        assert ours.index.is_unique
        assert ours.index.equals(theirs.index)
        scale = 1 + np.nan_to_num(np.abs(theirs.to_numpy()))
        np.testing.assert_array_equal(ours.isna(), theirs.isna())
        assert (np.nan_to_num(np.abs(ours.to_numpy() - theirs.to_numpy())) <= 1e-9 * scale).all()


def copied(plant: Plant, folder: Path) -> Plant:
    shutil.copytree(plant.store.uri, folder)
    return Plant(folder)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    (tmp_path / "ours").mkdir()
    plant = Plant(tmp_path / "ours")
    three_days(plant)
    return plant


@pytest.fixture
def local(plant: Plant, tmp_path: Path) -> Plant:
    """The same telemetry, materialized by the local engine."""
    theirs = copied(plant, tmp_path / "theirs")
    materialize(theirs.lake, FAN_FEATURES)
    return theirs


def test_parts_give_the_tables_of_the_local_engine(plant, local):
    summary = materialize_by(plant.lake, FAN_FEATURES, ALONE)
    assert_same(plant.lake, local.lake)
    assert (summary.panes, summary.rows) == tuple(map(len, tables(local.lake)))
    assert summary.readings == len(plant.rows())
    assert summary.batch == 3


def test_loads_of_one_file_give_them_too_where_late_readings_lie_between_stored_ones(plant, local, monkeypatch):
    read_again = []
    mended = partial.mended

    def noted(features, panes, lost, readings):
        read_again.append(lost.sum())
        return mended(features, panes, lost, readings)

    monkeypatch.setattr(partial, "mended", noted)
    make_panes(plant.lake, FAN_FEATURES, ALONE, most_readings=1)
    make_rows(plant.lake, FAN_FEATURES, ALONE, most_panes=1)
    assert_same(plant.lake, local.lake)
    assert 18 <= sum(read_again) <= 20  # the panes of three hours, and no others


def test_runs_of_dates_in_any_order_give_them_too(plant, local):
    for date in (DATES[2], DATES[0], DATES[1]):
        make_panes(plant.lake, FAN_FEATURES, ALONE, date, date)
    make_rows(plant.lake, FAN_FEATURES, ALONE)
    assert_same(plant.lake, local.lake)


@pytest.mark.parametrize("order", ["parts first", "local first"])
def test_engines_take_turns_on_the_same_tables(plant, tmp_path, order):
    engines = [lambda lake: materialize_by(lake, FAN_FEATURES, ALONE), lambda lake: materialize(lake, FAN_FEATURES)]
    for engine in engines if order == "parts first" else engines[::-1]:
        engine(plant.lake)
        late_readings(plant, hour=6)
        plant.write(steady("fan-3", NOON_US + 20 * HOUR_US, 8))
        plant.ingest(NOW)
    engines[order == "local first"](plant.lake)
    assert_same(plant.lake, at_once(plant, tmp_path / "at-once"))


def at_once(plant: Plant, folder: Path, features: FeatureSet = FAN_FEATURES) -> Lake:
    """The same telemetry, materialized by the local engine in one go."""
    copy = copied(plant, folder)
    for made in [*(folder / "lake" / FANS.name).glob("panes*"), *(folder / "lake" / FANS.name).glob("features*")]:
        shutil.rmtree(made)
    materialize(copy.lake, features)
    return copy.lake


def test_quantiles_growing_windows_and_events_are_made_in_parts_too(plant, tmp_path):
    plant.hub.write_events("first", NOON_US, [event("fan-1", NOON_US), event("fan-2", NOON_US + HOUR_US, "fault")])
    plant.ingest(NOW)
    make_panes(plant.lake, EVERYTHING, ALONE, most_readings=1)
    make_rows(plant.lake, EVERYTHING, ALONE, most_panes=1)
    assert_same(plant.lake, at_once(plant, tmp_path / "first", EVERYTHING), EVERYTHING)
    plant.hub.write_events("late", NOON_US, [event("fan-1", NOON_US - HOUR_US, "fault", NOON_US + 2 * HOUR_US)])
    plant.ingest(NOW)
    assert due(plant.lake, EVERYTHING).panes == ()
    assert make_rows(plant.lake, EVERYTHING, ALONE).dates == DATES[1:]
    assert_same(plant.lake, at_once(plant, tmp_path / "second", EVERYTHING), EVERYTHING)


def test_panes_that_do_not_divide_a_day_are_left_to_the_local_engine(plant):
    uneven = dataclasses.replace(
        FAN_FEATURES, pane=7 * HOUR, every=7 * HOUR, features=grid(["speed"], ["mean"], [7 * HOUR])
    )
    with pytest.raises(PartitionError, match="do not divide a day"):
        materialize_by(plant.lake, uneven, ALONE)


def test_rows_are_not_made_of_panes_that_are_behind(plant):
    with pytest.raises(PanesBehindError, match="3 dates do not hold all readings yet"):
        make_rows(plant.lake, FAN_FEATURES, ALONE)
    make_panes(plant.lake, FAN_FEATURES, ALONE, "2025-11-24")
    with pytest.raises(PanesBehindError, match="1 dates"):
        make_rows(plant.lake, FAN_FEATURES, ALONE)


def test_what_is_done_is_not_done_again(plant):
    assert due(plant.lake, FAN_FEATURES).panes == DATES
    assert make_panes(plant.lake, FAN_FEATURES, ALONE, DATES[0], DATES[1]).dates == DATES[:2]
    assert due(plant.lake, FAN_FEATURES).panes == DATES[2:]
    assert make_panes(plant.lake, FAN_FEATURES, ALONE).dates == DATES[2:]
    first = make_rows(plant.lake, FAN_FEATURES, ALONE)
    again = make_rows(plant.lake, FAN_FEATURES, ALONE)
    assert (again.rows, again.batch, again.version) == (0, first.batch, first.version)


def test_late_readings_make_the_panes_of_their_dates_and_the_rows_from_there_on(plant, tmp_path):
    materialize_by(plant.lake, FAN_FEATURES, ALONE)
    plant.write(steady("fan-1", NOON_US + 2 * MINUTE_US, 1))
    plant.ingest(NOW)
    found = due(plant.lake, FAN_FEATURES)
    assert (found.first, found.panes) == (DATES[1], DATES[1:2])
    assert materialize_by(plant.lake, FAN_FEATURES, ALONE).dates == ("2025-11-24", "2025-11-25")
    assert_same(plant.lake, at_once(plant, tmp_path / "at-once"))


def test_a_device_that_comes_back_brings_the_rows_of_its_pause_also_those_before_midnight(tmp_path):
    (tmp_path / "ours").mkdir()
    plant = Plant(tmp_path / "ours")
    plant.write(steady("fan-1", NOON_US, 6) + steady("fan-2", NOON_US, 23))
    plant.ingest(NOW)
    materialize_by(plant.lake, FAN_FEATURES, ALONE)
    plant.write(steady("fan-1", NOON_US + 20 * HOUR_US, 3) + steady("fan-3", NOON_US + 20 * HOUR_US, 3))
    plant.ingest(NOW)
    assert due(plant.lake, FAN_FEATURES).panes == ("2025-11-25",)
    assert materialize_by(plant.lake, FAN_FEATURES, ALONE).dates == ("2025-11-24", "2025-11-25")
    assert_same(plant.lake, at_once(plant, tmp_path / "at-once"))


def test_two_that_make_the_same_panes_do_not_both_succeed(plant):
    class Overtaken(Alone):
        def panes(self, job):
            make_panes(plant.lake, FAN_FEATURES, ALONE)
            return super().panes(job)

    with pytest.raises(CommitConflictError):
        make_panes(plant.lake, FAN_FEATURES, Overtaken())
    assert tables_of_panes(plant).is_unique


def test_the_local_engine_and_a_part_do_not_both_write_a_date(plant):
    class Overtaken(Alone):
        def panes(self, job):
            materialize(plant.lake, FAN_FEATURES)
            return super().panes(job)

    with pytest.raises(CommitConflictError):
        make_panes(plant.lake, FAN_FEATURES, Overtaken())
    assert tables_of_panes(plant).is_unique


def test_processes_at_work_on_other_dates_all_succeed(plant, tmp_path):
    program = (
        "import sys; from pipelines.lake import Lake; from pipelines.partitions import Alone, make_panes;"
        "from tests.fakes.fleets import FAN_FEATURES;"
        "print(*make_panes(Lake(sys.argv[1]), FAN_FEATURES, Alone(), sys.argv[2], sys.argv[2]).dates)"
    )
    materialize_by(plant.lake, FAN_FEATURES, ALONE)
    plant.write([reading("fan-1", NOON_US + day * DAY_US + MINUTE_US) for day in (-1, 0, 1)])
    plant.ingest(NOW)
    command = [sys.executable, "-c", program, plant.store.uri]
    started = [subprocess.Popen([*command, date], stdout=subprocess.PIPE, text=True) for date in DATES]
    assert [child.communicate()[0].split() for child in started] == [[date] for date in DATES]
    assert [child.returncode for child in started] == [0, 0, 0]
    make_rows(plant.lake, FAN_FEATURES, ALONE)
    assert_same(plant.lake, at_once(plant, tmp_path / "at-once"))


def test_a_commit_on_other_dates_that_comes_in_between_is_let_pass(plant):
    """What the processes meet by chance, on purpose: the engine refuses, the table looks again and commits."""

    class Overtaken(Alone):
        def panes(self, job):
            make_panes(plant.lake, FAN_FEATURES, ALONE, DATES[1], DATES[1])
            return super().panes(job)

    materialize_by(plant.lake, FAN_FEATURES, ALONE)
    plant.write([reading("fan-1", NOON_US + day * DAY_US + MINUTE_US) for day in (-1, 0, 1)])
    plant.ingest(NOW)
    assert make_panes(plant.lake, FAN_FEATURES, Overtaken(), DATES[0], DATES[0]).dates == DATES[:1]
    assert due(plant.lake, FAN_FEATURES).panes == DATES[2:]
    assert tables_of_panes(plant).is_unique


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_parts_dealt_out_in_any_way_merge_and_mend_to_the_panes_of_the_whole(owners, seed):
    random = np.random.default_rng(seed)
    times = NOON_US + np.sort(random.choice(90 * 60, len(owners), replace=False)) * 1_000_000
    values = {name: random.normal(1000.0, 1.0, len(owners)) for name in FANS.signal_names}
    values["speed"][random.random(len(owners)) < 0.2] = np.nan
    device = [f"fan-{number}" for number in random.integers(0, 2, len(owners))]
    readings = pa.table({"device": device, "time": times, **values})
    parts = [partial.summarise(FAN_FEATURES, readings.filter(pa.array(np.array(owners) == n))) for n in set(owners)]
    panes = partial.merged(FAN_FEATURES, pa.concat_tables(parts))
    panes = partial.mended(FAN_FEATURES, panes, partial.interleaved(FAN_FEATURES, panes), readings)
    whole = partial.summarise(FAN_FEATURES, readings).sort_by([("device", "ascending"), ("start", "ascending")])
    assert panes.select(["date", "device", "start"]) == whole.select(["date", "device", "start"])
    for name in STATE:
        np.testing.assert_allclose(panes[name], whole[name], rtol=1e-9, atol=1e-6, equal_nan=True, err_msg=name)


def tables_of_panes(plant: Plant) -> pd.Index:
    return (
        plant.lake.panes(FAN_FEATURES).open().read(["device", "start"]).to_pandas().set_index(["device", "start"]).index
    )


def test_quantiles_of_parts_are_those_of_the_local_engine(tmp_path: Path):
    plant = Plant(tmp_path)
    quantiles = FeatureSet(FANS, FAN_FEATURES.pane, FAN_FEATURES.every, grid(["speed"], ["p05", "p95"], [6 * HOUR]))
    plant.write([reading(d, NOON_US + n * MINUTE_US, 900.0 + n % 97) for d in "ab" for n in range(0, 900, 7)])
    plant.ingest()
    materialize_by(plant.lake, quantiles, ALONE)
    in_parts = load_features(plant.lake, quantiles)
    for made in [*tmp_path.rglob("panes*"), *tmp_path.rglob("features*")]:
        shutil.rmtree(made)
    materialize(plant.lake, quantiles)
    assert len(in_parts) > 0
    assert load_features(plant.lake, quantiles).equals(in_parts)
