from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.batch import feature_rows
from features.errors import FeatureSetError, ReadingsShapeError, SnapshotError
from features.feature import Feature
from features.featureset import FeatureSet
from features.online import OnlineFeatures, OnlineRows
from features.panetable import panes_of
from features.schema import Fleet, Signal

MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000
FLEET = Fleet("vans", "", (Signal("speed", "km/h", 0, 130),), MINUTE, MINUTE, MINUTE, MINUTE)
FEATURES = FeatureSet(
    FLEET,
    pane=2 * MINUTE,
    every=4 * MINUTE,
    features=(Feature("speed", "count", 8 * MINUTE), Feature("speed", "mean", 4 * MINUTE)),
)


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


@given(given_readings=arrivals(), lateness=st.integers(0, 6), data=st.data())
def test_a_stream_gives_the_rows_of_the_batch_of_what_it_kept(
    given_readings: Arrivals, lateness: int, data: Any
) -> None:
    online = OnlineFeatures(FEATURES, lateness * MINUTE)
    found: dict[tuple[str, int], list[float]] = {}
    rest = given_readings
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        part, rest = rest[:size], rest[size:]
        names, minutes, values = zip(*part, strict=True)
        rows = online.update(names, np.array(minutes) * MINUTE_US, np.array(values)[:, None])
        found |= {(d, e): v for d, e, v in zip(rows.device, rows.end.tolist(), rows.values.tolist(), strict=True)}
        if data.draw(st.booleans()):
            online = OnlineFeatures.restore(FEATURES, lateness * MINUTE, online.snapshot())
    accepted, late, duplicates = kept(given_readings, lateness)
    assert (online.late, online.duplicates) == (late, duplicates)
    device = np.array(["ab".index(name) for name, _, _ in accepted], np.int32)
    times = np.array([minute for _, minute, _ in accepted], np.int64) * MINUTE_US
    table = feature_rows(FEATURES, panes_of(FEATURES, device, times, np.array([[v] for _, _, v in accepted])))
    passed = {code: times[device == code].max() - lateness * MINUTE_US for code in set(device.tolist())}
    rows_of_batch = zip(table.device.tolist(), table.end.tolist(), table.values.tolist(), strict=True)
    expected = {("ab"[code], end): values for code, end, values in rows_of_batch if end <= passed[code]}
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-9)


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
