import dataclasses
import json
from collections import Counter
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import datareport
from pipelines.datareport import Arrivals, lateness_quantile, merged, nothing, of_batch
from pipelines.findings import Memory, document
from pipelines.quarantine import Kept, Rejected
from tests.fakes.arrivals import batch
from tests.fakes.fleets import FANS, MINUTE_US, NOON_US


def plain(arrivals: Arrivals) -> object:
    """Everything in it, fit for comparison."""
    stretches = arrivals.stretches
    spoken = zip(
        arrivals.devices[stretches.device].tolist(), stretches.start.tolist(), stretches.end.tolist(), strict=True
    )
    readings = dict(zip(arrivals.devices.tolist(), arrivals.readings.tolist(), strict=True))
    sums = (arrivals.lateness.tolist(), arrivals.reasons, dict(arrivals.violations), arrivals.examined)
    return [list(spoken), readings, *sums, arrivals.off_grid, arrivals.counts, arrivals.first_us, arrivals.last_us]


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.sampled_from([-5, 0, 1, 400, 90_000])),
    max_size=40,
    unique_by=lambda row: row[:2],
)


@given(ROWS, st.lists(st.integers(0, 2), min_size=40, max_size=40))
def test_merged_in_any_grouping_is_the_whole(rows, owners):
    parts = [batch([row for row, owner in zip(rows, owners, strict=False) if owner == n]) for n in range(3)]
    whole = plain(batch(rows))
    assert plain(merged(merged(parts[0], parts[1]), parts[2])) == whole
    assert plain(merged(parts[2], merged(parts[1], parts[0]))) == whole
    assert plain(merged(nothing(FANS), batch(rows))) == whole


@given(ROWS)
def test_stretches_are_what_a_loop_over_sorted_readings_finds(rows):
    expected: list[list[object]] = []
    for device, minute, _ in sorted(rows):
        time = NOON_US + minute * MINUTE_US
        if expected and expected[-1][0] == device and time - expected[-1][2] <= 3 * MINUTE_US:
            expected[-1][2] = time
        else:
            expected.append([device, time, time])
    assert plain(batch(rows))[0] == [tuple(each) for each in expected]  # type: ignore[index]


def test_stretches_that_overlap_and_hold_each_other_are_joined():
    long, inside, after = batch([("a", 0, 0), ("a", 2, 0), ("a", 4, 0)]), batch([("a", 1, 0)]), batch([("a", 7, 0)])
    found = merged(merged(after, long), inside).stretches
    assert [(found.end - found.start)[0] // MINUTE_US, len(found.start)] == [7, 1]


def test_more_stretches_than_fit_are_told_apart_more_coarsely(monkeypatch):
    monkeypatch.setattr(datareport, "_MOST_STRETCHES", 10)
    rows = [("a", 5 * n, 0) for n in range(40)] + [("a", 5000, 0)]
    found = merged(batch(rows[::2]), batch(rows[1::2])).stretches
    assert len(found.start) == 2
    assert found.pause_us == 6 * MINUTE_US


def test_readings_are_counted_by_how_late_they_came():
    rows = [("a", n, delay) for n, delay in enumerate([-3, 0, 1, 2, 59, 3500, 3 * 86_400])]
    found = batch(rows).lateness
    assert (found[0], found.sum()) == (1, 7)
    assert lateness_quantile(found, 0.0) == 0.0
    assert 1.9 <= lateness_quantile(found, 0.5) <= 2.6
    assert 3 * 86_400 <= lateness_quantile(found, 1.0) <= 1.26 * 3 * 86_400
    assert np.isnan(lateness_quantile(nothing(FANS).lateness, 0.5))


def test_a_reading_later_than_any_bucket_is_counted_all_the_same():
    assert merged(batch([("a", 0, 10**11)]), batch([("a", 1, 0)])).lateness[-1] == 1


def line(data: bytes, reason: str = "out_of_range") -> Rejected:
    return Rejected("raw/fans/telemetry/a", 0, 0, data, reason, "")


def test_values_out_of_range_are_counted_by_signal_and_side():
    rejects = [
        line(json.dumps({"values": {"speed": speed, "current": current}}).encode())
        for speed, current in [(4000, 1), (-1, 60), (5000, 60)]
    ]
    found = merged(batch([], (*rejects, line(b"{", "unreadable"))), batch([], (rejects[0],)))
    assert found.violations == {"speed": (1, 3), "current": (0, 2)}
    assert (found.examined, found.reasons) == (4, Counter(out_of_range=4, unreadable=1))


def test_values_between_the_steps_of_a_quantised_signal_are_counted():
    stepped = dataclasses.replace(FANS.signals[0], quantised=0.1)
    fleet = dataclasses.replace(FANS, signals=(stepped, FANS.signals[1]))
    columns = {"device": ["a"] * 5, "time": range(5), "received": range(5), "speed": [0.3, 0.7, 0.75, None, 2999.9]}
    found = of_batch(fleet, [pa.table(columns)], Kept(), {})
    assert (found.off_grid, found.stepped) == (Counter(speed=1), Counter(speed=4))
    (told,) = document(fleet, merged(found, found), Memory(), 1, NOON_US)["off_grid"]
    assert told == {"signal": "speed", "count": 2, "share": 0.25}


def test_a_signal_with_an_interval_of_its_own_is_measured_by_it():
    slow = dataclasses.replace(FANS.signals[1], sampling=timedelta(minutes=10))
    fleet = dataclasses.replace(FANS, signals=(FANS.signals[0], slow))

    def part(minutes: range) -> Arrivals:
        columns = {"device": ["a"] * len(minutes), "time": [NOON_US + n * MINUTE_US for n in minutes]}
        columns |= {"received": columns["time"], "speed": [1.0] * len(minutes)}
        columns |= {"current": [1.0 if n % 20 == 0 else None for n in minutes]}
        return of_batch(fleet, [pa.table(columns)], Kept(), {})

    whole = merged(part(range(100, 200)), merged(part(range(100)), batch([("b", 0, 0)])))
    report = document(fleet, whole, Memory(), 1, NOON_US)
    own = report["signal_rhythms"]["current"]
    assert (own["declared_s"], own["median_s"], own["off"]) == (600.0, 1200.0, 1)
    assert [each["device"] for each in own["worst"]] == ["a"]
    assert report["rhythm"]["median_s"] == 60.0
    assert document(FANS, batch([("b", 0, 0)]), Memory(), 1, NOON_US)["signal_rhythms"] == {}


def test_what_the_ingest_counted_is_added_up():
    assert merged(batch([], accepted=3, late=1), batch([], accepted=2)).counts == Counter(accepted=5, late=1)


@pytest.mark.parametrize("sampling", [timedelta(seconds=1), timedelta(hours=1)])
def test_a_pause_follows_from_the_declared_interval(sampling):
    fleet = dataclasses.replace(FANS, sampling=sampling)
    assert datareport.pause_us(fleet) == 3 * sampling // timedelta(microseconds=1)
