"""Features that look further back than a window, and at events: the tables are those of one run over everything."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feature import AnyFeature, Difference, EventCount, Feature, Lag, Since, TimeSince, grid
from features.featureset import FeatureSet
from pipelines.materialize import MaterializeSummary, foresee, load_features, materialize
from tests.fakes.fleets import DAY_US, FANS, HOUR, HOUR_US, MINUTE, MINUTE_US, NOON_US, Plant
from tests.fakes.rebuilt import assert_complete, event, in_one_go, stamped, steady, stored

SERVICED = dataclasses.replace(FANS, event_kinds=("service", "fault"))
LEVEL = Feature("speed", "mean", 2 * HOUR)
LAGGED: tuple[AnyFeature, ...] = (*grid(["speed"], ["mean", "count"], [HOUR]), Lag(LEVEL, 3), Difference(LEVEL, 2))
AGED = (LEVEL, TimeSince())
EVENTFUL = (LEVEL, EventCount("fault", 6 * HOUR), Lag(EventCount("fault", 2 * HOUR), 2))
SINCE_EVENT = (LEVEL, TimeSince("service"), Lag(TimeSince("service"), 2), Feature("speed", "mean", Since("service")))
GROWN = (LEVEL, Feature("speed", "std", Since()), Feature("current", "max", Since("service")), TimeSince())
QUANTILES = grid(["speed", "current"], ["p05", "p50", "mean_absolute_change"], [HOUR, 6 * HOUR])
KINDS: dict[str, tuple[AnyFeature, ...]] = {
    "lagged": LAGGED,
    "aged": AGED,
    "eventful": EVENTFUL,
    "since_event": SINCE_EVENT,
    "grown": GROWN,
    "quantiles": QUANTILES,
}
SETS = {name: FeatureSet(SERVICED, 10 * MINUTE, HOUR, features) for name, features in KINDS.items()}


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def deliver(plant: Plant, messages: list[Any], events: list[Any], name: str) -> None:
    if messages:
        plant.write(messages)
    if events:
        plant.hub.write_events(name, NOON_US, events)
    plant.ingest(NOON_US + 6 * DAY_US)


def touched(summary: MaterializeSummary) -> set[tuple[str, int]]:
    spans = summary.touched.spans
    columns = zip(spans.device.tolist(), spans.first.tolist(), spans.last.tolist(), strict=True)
    names = summary.touched.devices
    return {(names[code], end) for code, first, last in columns for end in range(first, last + 1, HOUR_US)}


def changed(before: dict[Any, Any], after: dict[Any, Any]) -> set[Any]:
    """Rows that are new or say something else."""
    return {key for key in after if key not in before or not np.array_equal(before[key], after[key], equal_nan=True)}


@pytest.mark.parametrize("features", SETS.values(), ids=SETS)
def test_late_readings_and_events_end_in_the_tables_of_one_run(plant, features):
    first = steady("a", NOON_US, 40) + steady("b", NOON_US + 7 * HOUR_US, 30)
    late = [stamped("a", NOON_US - 5 * HOUR_US, 7.0), stamped("a", NOON_US + 9 * HOUR_US + MINUTE_US, 2900.0)]
    early = [event("a", NOON_US + 3 * HOUR_US), event("b", NOON_US + 20 * HOUR_US + 1000, "fault")]
    known_late = [
        event("a", NOON_US + 12 * HOUR_US, "fault", NOON_US + 15 * HOUR_US),
        event("b", NOON_US + 9 * HOUR_US + 7_000, "service", NOON_US + 27 * HOUR_US),
        event("nobody", NOON_US),
        event("a", NOON_US, "paint"),
    ]
    deliver(plant, first, early, "1")
    materialize(plant.lake, features)
    assert_complete(plant, first, features, early)
    before = in_one_go(first, features, early)[1]
    deliver(plant, late, [], "2")
    summary = materialize(plant.lake, features)
    assert_complete(plant, first + late, features, early)
    between = in_one_go(first + late, features, early)[1]
    assert changed(before, between) <= touched(summary) & between.keys()
    assert summary.rows == len(touched(summary) & between.keys())
    deliver(plant, [], known_late, "3")
    summary = materialize(plant.lake, features)
    assert_complete(plant, first + late, features, early + known_late)
    after = in_one_go(first + late, features, early + known_late)[1]
    assert changed(between, after) <= touched(summary) & after.keys()
    assert summary.rows == len(touched(summary) & after.keys())


def test_a_lag_reaches_as_far_as_its_window_and_its_steps(plant):
    deliver(plant, steady("a", NOON_US, 40), [], "1")
    materialize(plant.lake, SETS["lagged"])
    late = NOON_US + 20 * HOUR_US + MINUTE_US
    deliver(plant, [stamped("a", late, 5.0)], [], "2")
    summary = materialize(plant.lake, SETS["lagged"])
    ends = sorted(end for _, end in touched(summary))
    assert [(end - NOON_US) // HOUR_US for end in ends] == [21, 22, 23, 24, 25]
    assert (summary.panes, summary.rows) == (1, 5)


def test_an_event_touches_rows_from_the_moment_it_was_known(plant):
    deliver(plant, steady("a", NOON_US, 40), [], "1")
    for features in (SETS["eventful"], SETS["since_event"]):
        materialize(plant.lake, features)
    happened, known = NOON_US + 20 * HOUR_US, NOON_US + 22 * HOUR_US
    deliver(plant, [], [event("a", happened, "fault", known), event("a", happened, "service", known)], "2")
    counted = materialize(plant.lake, SETS["eventful"])
    since = materialize(plant.lake, SETS["since_event"])
    assert [(end - NOON_US) // HOUR_US for _, end in sorted(touched(counted))] == [23, 24, 25, 26]
    assert [(end - NOON_US) // HOUR_US for _, end in sorted(touched(since))] == list(range(23, 41))
    assert (counted.panes, counted.readings) == (0, 0)


def test_events_that_no_feature_asks_for_are_not_read(plant):
    deliver(plant, steady("a", NOON_US, 12), [], "1")
    version = materialize(plant.lake, SETS["lagged"]).version
    deliver(plant, [], [event("a", NOON_US + HOUR_US)], "2")
    assert materialize(plant.lake, SETS["lagged"]).version == version


def test_what_is_foreseen_is_what_is_done(plant):
    features = SETS["since_event"]
    deliver(plant, steady("a", NOON_US, 30) + steady("b", NOON_US + 40 * HOUR_US, 9), [event("a", NOON_US)], "1")
    first = foresee(plant.lake, features)
    assert not plant.lake.features(features).exists()
    assert not plant.lake.panes(features).exists()
    done = materialize(plant.lake, features)
    assert (first.panes, first.rows, first.dates) == (done.panes, done.rows, done.dates)
    late = [*steady("a", NOON_US + 50 * HOUR_US, 5), stamped("b", NOON_US + 20 * HOUR_US)]
    deliver(plant, late, [event("b", NOON_US + 41 * HOUR_US)], "2")
    versions = [plant.lake.features(features).version(), plant.lake.panes(features).version()]
    foreseen = foresee(plant.lake, features)
    assert [plant.lake.features(features).version(), plant.lake.panes(features).version()] == versions
    done = materialize(plant.lake, features)
    assert (foreseen.panes, foreseen.rows, foreseen.dates) == (done.panes, done.rows, done.dates)
    assert touched(foreseen) == touched(done)
    assert foresee(plant.lake, features).rows == 0


def test_rows_that_were_not_touched_are_kept_as_they_are(plant):
    features = SETS["lagged"]
    deliver(plant, steady("a", NOON_US, 30) + steady("b", NOON_US, 30), [], "1")
    materialize(plant.lake, features)
    before = stored(load_features(plant.lake, features), "end", features.names)
    deliver(plant, [stamped("a", NOON_US + 10 * HOUR_US + MINUTE_US, 1.0)], [], "2")
    summary = materialize(plant.lake, features)
    after = stored(load_features(plant.lake, features), "end", features.names)
    assert changed(before, after) == touched(summary)
    assert {device for device, _ in touched(summary)} == {"a"}


histories = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 40), st.integers(0, 2), st.sampled_from(["read", "service", "fault"])
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=20, deadline=None)
@given(histories, st.sampled_from(sorted(SETS)))
def test_any_history_in_any_deliveries_ends_in_the_tables_of_one_run(tmp_path_factory, history, name):
    plant, features = Plant(tmp_path_factory.mktemp("plant")), SETS[name]
    readings: dict[tuple[str, int], Any] = {}
    events: list[Any] = []
    deliveries: list[tuple[list[Any], list[Any]]] = [([], []), ([], []), ([], [])]
    for number, (device, step, delivery, kind) in enumerate(history):
        time = NOON_US + step * 20 * MINUTE_US + MINUTE_US
        if kind != "read":
            events.append(event(device, time, kind, time + number % 3 * HOUR_US))
            deliveries[delivery][1].append(events[-1])
        elif (device, time) not in readings:
            readings[device, time] = stamped(device, time, 900.0 + number)
            deliveries[delivery][0].append(readings[device, time])
    for number, (messages, happened) in enumerate(deliveries):
        if messages or happened:
            deliver(plant, messages, happened, str(number))
            materialize(plant.lake, features)
    if readings:
        assert_complete(plant, readings.values(), features, events)
