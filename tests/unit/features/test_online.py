import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.batch import feature_rows
from features.errors import FeatureSetError, ReadingsShapeError, SnapshotError
from features.feature import Feature, Lag, Since, TimeSince
from features.featureset import FeatureSet
from features.online import OnlineFeatures, OnlineRows
from features.panetable import panes_of
from features.schema import Fleet, Signal
from tests.parity.paths import numpy_kernel
from tests.unit.features import streaming

MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000
FLEET = Fleet("vans", "", (Signal("speed", "km/h", 0, 130),), MINUTE, MINUTE, MINUTE, MINUTE)
FEATURES = FeatureSet(
    FLEET,
    pane=2 * MINUTE,
    every=4 * MINUTE,
    features=(Feature("speed", "count", 8 * MINUTE), Feature("speed", "mean", 4 * MINUTE)),
)
LEVEL = Feature("speed", "mean", 4 * MINUTE)
SETS = [
    FEATURES,
    FeatureSet(FLEET, 2 * MINUTE, 4 * MINUTE, (Feature("speed", "mean_absolute_change", 8 * MINUTE), Lag(LEVEL, 2))),
    FeatureSet(FLEET, 2 * MINUTE, 2 * MINUTE, (Feature("speed", "p50", 6 * MINUTE), LEVEL)),
    FeatureSet(FLEET, 2 * MINUTE, 4 * MINUTE, (Feature("speed", "std", Since()), TimeSince(), LEVEL)),
]


def feed(online: OnlineFeatures, minutes: list[int], device: str = "a", value: float = 1.0) -> OnlineRows:
    times = np.array(minutes, np.int64) * MINUTE_US
    return online.update([device] * len(minutes), times, np.full((len(minutes), 1), value))


def test_a_window_is_emitted_once_the_watermark_reaches_its_end() -> None:
    online = OnlineFeatures(FEATURES, 3 * MINUTE)
    assert feed(online, [*range(8), 10]).device == ()
    rows = feed(online, [11])
    assert (rows.device, rows.end.tolist(), rows.values.tolist()) == (("a",), [8 * MINUTE_US], [[8.0, 1.0]])
    assert feed(online, [12, 13, 14]).device == ()


def test_late_readings_are_counted_and_change_nothing() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    feed(online, [*range(13)])
    assert feed(online, [11], value=99.0).device == ()
    assert (online.late, online.duplicates) == (1, 0)
    assert feed(online, [13, 14, 15, 16]).values.tolist() == [[8.0, 1.0]]


def test_a_reading_behind_the_watermark_counts_while_its_pane_is_open() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    feed(online, [*range(8), 8, 9, 10, 11, 13])  # minute 12 is missing, its pane [12, 14) is open
    assert feed(online, [12]).device == ()
    assert (online.late, online.duplicates) == (0, 0)
    assert feed(online, [14, 15, 16]).values[:, 0].tolist() == [8.0]


def test_a_reading_seen_before_is_dropped_and_counted() -> None:
    online = OnlineFeatures(FEATURES, 20 * MINUTE)
    feed(online, [0, 1, 1, 0])
    feed(online, [1], device="b")
    assert online.duplicates == 2
    rows = feed(online, [*range(2, 29), 9])
    assert rows.values[0].tolist() == [8.0, 1.0]
    assert online.duplicates == 3


def test_devices_have_watermarks_of_their_own() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    feed(online, [100], device="fast")
    assert feed(online, [*range(9)], device="slow").end.tolist() == [8 * MINUTE_US]
    assert online.late == 0


def test_nothing_in_gives_nothing_out() -> None:
    rows = feed(OnlineFeatures(FEATURES, timedelta(0)), [])
    assert (rows.device, rows.end.shape, rows.values.shape) == ((), (0,), (0, 2))


def test_memory_of_a_device_does_not_grow_with_its_history() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    feed(online, [*range(20)])
    held = online.bytes_per_device
    rings = online._rings
    # 4 panes of the longest window and one more: 120 bytes of a signal and 8 of its start each, 16 times, 8 marks.
    assert held == 5 * (120 + 8) + 16 * 8 + 8 * 8 + 8
    feed(online, [*range(5000)])
    assert online.bytes_per_device == held
    assert online._rings is rings


Arrivals = list[tuple[str, int, float]]


@st.composite
def arrivals(draw: Any) -> Arrivals:
    """Readings of two devices in an order that is sometimes too late and sometimes doubled, with long pauses."""
    steps = draw(st.lists(st.sampled_from([0, 1, 1, 1, 2, 3, -1, -2, -5, 30]), min_size=1, max_size=80))
    minute = draw(st.integers(0, 5))
    found: Arrivals = []
    for number, step in enumerate(steps):
        minute = max(minute + step, 0)
        found.append((draw(st.sampled_from(["a", "b"])), minute, float(number)))
    return found


def kept(given_readings: Arrivals, lateness: int) -> tuple[Arrivals, int, int]:
    """The rule in words: late when the pane ended at or before the watermark; else a duplicate when seen; else kept."""
    newest: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    accepted: Arrivals = []
    late = duplicates = 0
    for device, minute, value in given_readings:
        pane_end = minute // 2 * 2 + 2
        if device in newest and pane_end <= newest[device] - lateness:
            late += 1
        elif (device, minute) in seen:
            duplicates += 1
        else:
            seen.add((device, minute))
            newest[device] = max(newest.get(device, minute), minute)
            accepted.append((device, minute, value))
    return accepted, late, duplicates


@given(
    given_readings=arrivals(),
    lateness=st.integers(0, 6),
    features=st.sampled_from(SETS),
    in_numpy=st.booleans(),
    data=st.data(),
)
def test_a_stream_gives_the_rows_of_the_batch_of_what_it_kept(
    given_readings: Arrivals,
    lateness: int,
    features: FeatureSet,
    in_numpy: bool,  # noqa: FBT001 - hypothesis gives it by name
    data: Any,
) -> None:
    if in_numpy:
        with numpy_kernel():
            found, counts = streamed(features, given_readings, lateness, data)
    else:
        found, counts = streamed(features, given_readings, lateness, data)
    accepted, *expected_counts = kept(given_readings, lateness)
    assert counts == expected_counts
    device = np.array(["ab".index(name) for name, _, _ in accepted], np.int32)
    times = np.array([minute for _, minute, _ in accepted], np.int64) * MINUTE_US
    table = feature_rows(features, panes_of(features, device, times, np.array([[v] for _, _, v in accepted])))
    passed = {code: times[device == code].max() - lateness * MINUTE_US for code in set(device.tolist())}
    rows_of_batch = zip(table.device.tolist(), table.end.tolist(), table.values.tolist(), strict=True)
    expected = {("ab"[code], end): values for code, end, values in rows_of_batch if end <= passed[code]}
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-9)


def streamed(
    features: FeatureSet, given_readings: Arrivals, lateness: int, data: Any
) -> tuple[dict[tuple[str, int], list[float]], list[int]]:
    """Rows by device and end, and how many readings were late or duplicates, of any cutting and restoring."""
    online = OnlineFeatures(features, lateness * MINUTE)
    found: dict[tuple[str, int], list[float]] = {}
    rest = given_readings
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        part, rest = rest[:size], rest[size:]
        names, minutes, values = zip(*part, strict=True)
        if size == 1:
            rows = online.update_one(names[0], minutes[0] * MINUTE_US, values)
        else:
            codes = data.draw(st.sampled_from([names, online.register(names)]))
            rows = online.update(codes, np.array(minutes) * MINUTE_US, np.array(values)[:, None])
        made = {(d, e): v for d, e, v in zip(rows.device, rows.end.tolist(), rows.values.tolist(), strict=True)}
        assert not made.keys() & found.keys()
        found |= made
        if data.draw(st.booleans()):
            online = OnlineFeatures.restore(features, lateness * MINUTE, online.snapshot())
    return found, [online.late, online.duplicates]


def test_a_process_that_is_killed_at_any_moment_goes_on_with_the_same_rows(tmp_path: Path) -> None:
    online = OnlineFeatures(streaming.FEATURES, streaming.LATENESS)
    expected = [line for _, rows in streaming.stream(online, 0) for line in streaming.lines(rows)]
    kills = 0
    while not (tmp_path / "done").exists():
        process = subprocess.Popen([sys.executable, "-m", streaming.__name__, str(tmp_path)])
        before = len(list(tmp_path.glob("*.snapshot")))
        while process.poll() is None and (kills > 3 or len(list(tmp_path.glob("*.snapshot"))) < before + 15):
            time.sleep(0.002)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    assert kills > 1
    written = [line for line in (tmp_path / "rows.jsonl").read_text().splitlines() if line.endswith("]]")]
    assert set(written) == set(expected)
    assert len({tuple(json.loads(line)[:2]) for line in expected}) == len(expected) > 200


def test_devices_beyond_the_bound_are_refused_and_counted() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0), most_devices=2)
    assert online.register(["a", "b", "c", "a"]).tolist() == [0, 1, -1, 0]
    assert feed(online, [*range(9)], device="c").device == ()
    online.update_one("d", 0, [1.0])
    assert (online.refused, online.devices) == (10, ("a", "b"))
    assert feed(online, [*range(9)], device="b").device == ("b",)


def test_a_forgotten_device_begins_anew_and_leaves_its_place_to_another() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0), most_devices=1)
    feed(online, [*range(9)])
    assert (online.forget("a"), online.forget("a")) == (True, False)
    with pytest.raises(ReadingsShapeError, match="belongs to no device"):
        online.update(np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros((1, 1)))
    assert feed(online, [*range(5)], device="b", value=7.0).device == ()  # a started device would be filled
    assert feed(online, [*range(5, 9)], device="b", value=7.0).values.tolist() == [[8.0, 7.0]]


def test_idle_devices_are_forgotten_on_request() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    feed(online, [1], device="idle")
    feed(online, [50], device="busy")
    assert online.forget_idle(20 * MINUTE_US) == ("idle",)
    assert online.devices == ("busy",)


def test_a_code_that_was_never_given_is_refused() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    with pytest.raises(ReadingsShapeError, match="belongs to no device"):
        online.update(np.array([0], np.int32), np.zeros(1, np.int64), np.zeros((1, 1)))


def test_a_window_not_yet_filled_says_when_it_will_be() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    feed(online, [1, 2], device="a")
    feed(online, [5], device="b")
    assert online.filling() == {"a": 8 * MINUTE_US, "b": 12 * MINUTE_US}
    assert feed(online, [*range(3, 9)], device="a").end.tolist() == [8 * MINUTE_US]
    assert online.filling() == {"b": 12 * MINUTE_US}


def test_more_readings_than_may_stand_open_are_dropped_and_counted() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    most = online._rings.most_open
    times = np.arange(most + 10) * 1000  # all in one pane
    online.update(["a"] * len(times), times, np.ones((len(times), 1)))
    assert online.crowded == 10
    assert feed(online, [2, 4, 6, 8]).values[0, 0] == most + 3


def test_what_a_device_takes_is_what_its_arrays_take() -> None:
    for features in SETS:
        online = OnlineFeatures(features, 3 * MINUTE)
        feed(online, [*range(40)])
        rings = online._rings
        held = sum(array.nbytes for array in rings._arrays.values()) / rings.devices
        assert online.bytes_per_device == held
        signals, panes, capacity = 1, rings.panes, rings._capacity
        grown = len(features.plan().kinds)
        formula = panes * (120 * signals + 8) + 8 * capacity + 64 + grown * (120 * signals + 8) + 8
        formula += 8 * capacity * signals if features.ordered else 0
        formula += sum(4 * sketch.buckets * panes for sketch in features.sketched.values())
        assert held == formula


def test_an_event_heard_of_after_its_windows_counts_from_the_next_one_on() -> None:
    fleet = replace(FLEET, event_kinds=("service",))
    since = Feature("speed", "count", Since("service"))
    features = FeatureSet(fleet, 2 * MINUTE, 4 * MINUTE, (since, TimeSince("service")))
    online = OnlineFeatures(features, timedelta(0))
    minutes = np.array([1, 9]) * MINUTE_US
    feed(online, [*range(13)])
    for _ in range(2):  # told twice, heard once
        online.events(["a", "a"], ["service", "service"], minutes)
    assert (online.late_events, feed(online, [13, 14, 15, 16]).values.tolist()) == (2, [[4.0, 7 / 60]])
    with pytest.raises(ReadingsShapeError, match="no events of kind 'fire'"):
        online.events(["a"], ["fire"], minutes[:1])


def test_a_snapshot_restores_counters_and_goes_on() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    feed(online, [*range(7), 6, 0])
    again = OnlineFeatures.restore(FEATURES, timedelta(0), online.snapshot())
    assert (again.late, again.duplicates) == (1, 1)
    feed(again, [6])
    assert again.duplicates == 2
    assert feed(again, [7, 8]).values.tolist() == [[8.0, 1.0]]


def test_a_snapshot_of_nothing_restores_to_nothing() -> None:
    online = OnlineFeatures.restore(FEATURES, timedelta(0), OnlineFeatures(FEATURES, timedelta(0)).snapshot())
    assert feed(online, [*range(9)]).end.tolist() == [8 * MINUTE_US]


@pytest.mark.parametrize("position", [0, 20, 60, -400, -1])
def test_a_damaged_snapshot_is_refused(position: int) -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    feed(online, [*range(7)])
    data = bytearray(online.snapshot())
    data[position] ^= 1
    with pytest.raises(SnapshotError, match="damaged"):
        OnlineFeatures.restore(FEATURES, timedelta(0), bytes(data))
    with pytest.raises(SnapshotError, match="damaged"):
        OnlineFeatures.restore(FEATURES, timedelta(0), online.snapshot()[:position])


def test_a_snapshot_of_other_features_or_another_lateness_is_refused() -> None:
    data = OnlineFeatures(FEATURES, timedelta(0)).snapshot()
    other = FeatureSet(FLEET, FEATURES.pane, FEATURES.every, FEATURES.features[:1])
    for features, lateness in ((other, timedelta(0)), (FEATURES, MINUTE)):
        with pytest.raises(SnapshotError, match="other features or another lateness"):
            OnlineFeatures.restore(features, lateness, data)


def test_arrays_that_do_not_fit_are_refused() -> None:
    online = OnlineFeatures(FEATURES, timedelta(0))
    with pytest.raises(ReadingsShapeError, match="do not fit together"):
        online.update(["a"], np.zeros(2, np.int64), np.zeros((2, 1)))
    with pytest.raises(ReadingsShapeError, match=r"expected \(n,\) and \(n, 1\)"):
        online.update(["a"], np.zeros(1, np.int64), np.zeros((1, 2)))


def test_a_negative_lateness_is_refused() -> None:
    with pytest.raises(FeatureSetError, match="negative"):
        OnlineFeatures(FEATURES, -MINUTE)
