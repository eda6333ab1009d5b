import dataclasses
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feature import grid
from features.featureset import FeatureSet
from pipelines import materialize as module
from pipelines import refresh
from pipelines.errors import CommitConflictError, TableMissingError
from pipelines.lake import Snapshot
from pipelines.materialize import load_features, materialize
from pipelines.partitions import Alone, materialize_by
from tests.fakes.fleets import DAY_US, FAN_FEATURES, FANS, HOUR_US, MINUTE_US, NOON_US, Plant
from tests.fakes.interrupted import PowerCut
from tests.fakes.rebuilt import assert_complete, stamped, steady, stored

PANE_US = 10 * MINUTE_US


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def deliver(plant: Plant, messages: list[Any]) -> None:
    plant.write(messages)
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)


def test_without_telemetry_the_error_says_what_to_run(plant):
    with pytest.raises(TableMissingError, match="tidemill ingest fans"):
        materialize(plant.lake, FAN_FEATURES)


def test_panes_and_rows_are_those_of_the_features_package(plant):
    messages = steady("a", NOON_US, 30) + steady("b", NOON_US + HOUR_US, 8)
    plant.write(messages)
    plant.ingest()
    summary = materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, messages)
    assert summary.readings == len(messages)
    assert summary.panes == 30 * 6 + 8 * 6
    assert summary.rows == 25 + 3
    assert summary.dates == ("2025-11-24", "2025-11-25")
    assert summary.batch == 1


def test_a_second_run_changes_nothing(plant):
    plant.write(steady("a", NOON_US, 8))
    plant.ingest()
    version = materialize(plant.lake, FAN_FEATURES).version
    again = materialize(plant.lake, FAN_FEATURES)
    assert (again.panes, again.rows, again.dates, again.version) == (0, 0, (), version)


def test_late_readings_touch_only_what_they_reach(plant):
    on_time = steady("a", NOON_US, 96) + steady("b", NOON_US, 96)
    late = [stamped("a", NOON_US + 30 * HOUR_US + 1000, 2500.0)]
    plant.write(on_time)
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)
    before = set(plant.lake.features(FAN_FEATURES).open()._delta.file_uris())
    plant.write(late)
    plant.ingest()
    summary = materialize(plant.lake, FAN_FEATURES)
    assert (summary.panes, summary.readings, summary.dates) == (1, 3, ("2025-11-25", "2025-11-26"))
    after = set(plant.lake.features(FAN_FEATURES).open()._delta.file_uris())
    rewritten = {uri.split("date=")[1][:10] for uri in before - after}
    assert rewritten == {"2025-11-25", "2025-11-26"}
    assert_complete(plant, on_time + late)


def test_a_batch_without_new_readings_moves_the_mark_only(plant):
    plant.write(steady("a", NOON_US, 8))
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)
    plant.write(b"nonsense")
    plant.ingest()
    summary = materialize(plant.lake, FAN_FEATURES)
    assert (summary.batch, summary.panes, summary.rows) == (2, 0, 0)
    assert materialize(plant.lake, FAN_FEATURES).version == summary.version


def test_a_device_that_comes_back_after_a_pause_gets_the_rows_of_the_pause(plant):
    first = steady("a", NOON_US, 8)
    second = steady("a", NOON_US + 40 * HOUR_US, 2)
    for delivery in (first, second):
        plant.write(delivery)
        plant.ingest()
        materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, first + second)
    assert (("a", NOON_US + 13 * HOUR_US)) in stored(load_features(plant.lake, FAN_FEATURES), "end", ["speed_mean_1h"])


def test_readings_before_a_devices_first_pane_complete_its_first_windows(plant):
    later, earlier = steady("a", NOON_US, 12), [stamped("a", NOON_US - 26 * HOUR_US)]
    for delivery in (later, earlier):
        plant.write(delivery)
        plant.ingest()
        materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, later + earlier)


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.parametrize("commit", range(4))
def test_a_run_that_is_killed_at_any_commit_is_made_good_by_the_next(plant, monkeypatch, commit, lost):
    monkeypatch.setattr(module, "MOST_READINGS", 300)
    monkeypatch.setattr(refresh, "MOST_READINGS", 300)
    monkeypatch.setattr(module, "_MOST_PANES", 100)
    first, second = steady("a", NOON_US, 20), steady("a", NOON_US + 18 * HOUR_US, 20) + steady("b", NOON_US, 1)
    plant.write(first)
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)
    plant.write(second)
    plant.ingest()
    count = iter(range(100))

    def cut(whole: Callable[..., int]) -> Callable[..., int]:
        def commit_or_fail(*arguments: Any, **options: Any) -> int:
            number = next(count)
            if number == commit and lost == "before":
                raise PowerCut
            version = whole(*arguments, **options)
            if number == commit:
                raise PowerCut
            return version

        return commit_or_fail

    with monkeypatch.context() as patched:
        for name in ("adopt", "replace"):
            patched.setattr(Snapshot, name, cut(getattr(Snapshot, name)))
        with pytest.raises(PowerCut):
            materialize(plant.lake, FAN_FEATURES)
    materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, first + second)


def test_another_feature_set_of_the_fleet_is_computed_in_full_beside_the_first(plant):
    messages = steady("a", NOON_US, 20)
    fewer = dataclasses.replace(FAN_FEATURES, features=FAN_FEATURES.features[:2])
    plant.write(messages)
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)
    materialize(plant.lake, fewer)
    assert_complete(plant, messages)
    assert_complete(plant, messages, fewer)


def test_panes_that_were_removed_by_hand_are_made_again(plant):
    first, second = steady("a", NOON_US, 8), steady("a", NOON_US + 8 * HOUR_US, 1)
    plant.write(first)
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)
    shutil.rmtree(plant.lake.panes(FAN_FEATURES).uri)
    plant.write(second)
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, first + second)


def test_of_two_runs_at_once_one_is_refused_and_the_tables_are_right(plant, monkeypatch):
    messages = steady("a", NOON_US, 8)
    plant.write(messages)
    plant.ingest()
    adopt = Snapshot.adopt

    def race(self: Snapshot, *arguments: Any, **options: Any) -> int:
        monkeypatch.setattr(Snapshot, "adopt", adopt)
        materialize(plant.lake, FAN_FEATURES)
        return adopt(self, *arguments, **options)

    monkeypatch.setattr(Snapshot, "adopt", race)
    with pytest.raises(CommitConflictError):
        materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, messages)


def test_a_run_that_was_overtaken_by_newer_readings_leaves_no_old_panes_behind(plant, monkeypatch):
    first, second = steady("a", NOON_US, 8), [stamped("a", NOON_US + HOUR_US + MINUTE_US, 5.0)]
    plant.write(first)
    plant.ingest()
    summarise = refresh.PaneStage._summarise

    def race(self: refresh.PaneStage, *arguments: Any) -> pa.Table:
        monkeypatch.setattr(refresh.PaneStage, "_summarise", summarise)
        plant.write(second)
        plant.ingest()
        materialize(plant.lake, FAN_FEATURES)
        return summarise(self, *arguments)

    monkeypatch.setattr(refresh.PaneStage, "_summarise", race)
    with pytest.raises(CommitConflictError):
        materialize(plant.lake, FAN_FEATURES)
    materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, first + second)


def test_what_is_known_of_the_devices_is_found_again_when_it_is_lost(plant):
    first, second = steady("a", NOON_US, 8) + steady("b", NOON_US, 1), steady("a", NOON_US + 30 * HOUR_US, 2)
    earlier = [stamped("b", NOON_US - 20 * HOUR_US)]
    for delivery in (first, second, earlier):
        plant.write(delivery)
        plant.ingest()
        materialize(plant.lake, FAN_FEATURES)
        shutil.rmtree(plant.lake.devices(FAN_FEATURES).uri)
    assert_complete(plant, first + second + earlier)


def test_a_gap_that_late_readings_fill_is_computed_from_them_alone(plant):
    hours = [steady("a", NOON_US + hour * HOUR_US, 1) for hour in range(10)]
    gap, rest = hours.pop(5), [message for hour in hours for message in hour]
    deliver(plant, rest)
    old = plant.lake.telemetry(FANS).open().files()
    plant.write(gap)
    plant.ingest()
    for file in old:
        (Path(plant.lake.telemetry(FANS).uri) / file.path).write_bytes(b"nobody reads this")
    assert materialize(plant.lake, FAN_FEATURES).readings == len(gap)
    assert_complete(plant, rest + gap)


def test_how_far_devices_reach_is_written_when_it_changes_and_only_then(plant):
    devices = plant.lake.devices(FAN_FEATURES)
    first = steady("a", NOON_US, 2) + steady("a", NOON_US + 4 * HOUR_US, 26) + steady("b", NOON_US, 1)
    late, later = steady("a", NOON_US + 2 * HOUR_US, 1), steady("a", NOON_US + 3 * HOUR_US, 1)
    further = steady("b", NOON_US + 30 * HOUR_US, 1)
    deliver(plant, first)
    version = devices.version()
    deliver(plant, late)
    deliver(plant, later)
    assert devices.version() == version
    deliver(plant, further)
    assert devices.version() == version + 1
    assert_complete(plant, first + late + later + further)


def test_how_far_devices_reach_is_looked_for_after_a_run_that_does_not_keep_it(plant):
    """Rows that were made in parts move the mark of the rows, and do not say how far devices reach."""
    first, late = steady("a", NOON_US, 2) + steady("a", NOON_US + 4 * HOUR_US, 6), steady("a", NOON_US + 2 * HOUR_US, 1)
    in_parts, last = steady("a", NOON_US + 10 * HOUR_US, 10), steady("a", NOON_US + 40 * HOUR_US, 2)
    deliver(plant, first)
    deliver(plant, late)
    plant.write(in_parts)
    plant.ingest()
    materialize_by(plant.lake, FAN_FEATURES, Alone())
    deliver(plant, last)
    assert_complete(plant, first + late + in_parts + last)


def test_panes_that_are_longer_than_a_day_are_whole(plant):
    messages = steady("a", NOON_US, 100, 30 * MINUTE_US)
    long = FeatureSet(FANS, timedelta(hours=36), timedelta(hours=72), grid(["speed"], ["mean"], [timedelta(hours=72)]))
    for delivery in (messages[1::3], messages[::3], messages[2::3]):
        plant.write(delivery)
        plant.ingest(NOON_US + 6 * DAY_US)
        materialize(plant.lake, long)
    assert_complete(plant, messages, long)


def test_a_large_date_is_summed_up_in_parts(plant, monkeypatch):
    messages = steady("a", NOON_US, 8) + steady("b", NOON_US + HOUR_US, 30)
    plant.write(messages)
    plant.ingest()
    monkeypatch.setattr(refresh, "MOST_READINGS", 20)
    monkeypatch.setattr(module, "MOST_READINGS", 20)
    summary = materialize(plant.lake, FAN_FEATURES)
    assert (summary.panes, summary.readings) == (38 * 6, len(messages))
    assert_complete(plant, messages)


def test_features_are_loaded_by_the_end_of_their_windows(plant):
    plant.write(steady("b", NOON_US, 10) + steady("a", NOON_US, 10))
    plant.ingest()
    materialize(plant.lake, FAN_FEATURES)
    begin = NOON_US + 8 * HOUR_US
    rows = load_features(plant.lake, FAN_FEATURES, begin, begin + 2 * HOUR_US)
    assert rows.column_names == ["device", "end", *FAN_FEATURES.names]
    assert rows["device"].to_pylist() == ["a", "a", "b", "b"]
    assert rows["end"].to_pylist() == [begin, begin + HOUR_US] * 2
    assert len(load_features(plant.lake, FAN_FEATURES)) == 10
    assert len(load_features(plant.lake, FAN_FEATURES, until_us=begin)) == 4


histories = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 60 * 6), st.integers(0, 3), st.booleans()), min_size=1, max_size=60
)


@settings(max_examples=25, deadline=None)
@given(histories, st.integers(0, 3))
def test_late_data_ends_in_the_tables_of_one_run_over_everything(tmp_path_factory, history, split):
    plant = Plant(tmp_path_factory.mktemp("plant"))
    seen: dict[tuple[str, int], Any] = {}
    deliveries: list[list[Any]] = [[], [], [], []]
    for device, step, delivery, whole in history:
        time = NOON_US + step * PANE_US + step % 3 * MINUTE_US
        message = stamped(device, time, 900.0 + step % 13)
        if not whole:
            del message["values"]["current"]
        if (device, time) not in seen:
            seen[device, time] = message
            deliveries[delivery if split else 0].append(message)
    for delivered in deliveries:
        if delivered:
            plant.write(delivered)
            plant.ingest()
            materialize(plant.lake, FAN_FEATURES)
    assert_complete(plant, seen.values())
