"""Whatever the order of a data set, objects are those of a hub: by hour of arrival, repeatable, never written twice."""

import gzip
import itertools
import json
from typing import Any

import pytest

from pipelines.errors import ImportFileError
from pipelines.importers import arrivals
from pipelines.importers.arrivals import HOUR_US, Reading, Report, Target, write
from pipelines.importers.faults import Faults, Pace
from tests.fakes.stores import MemoryStore

NOON_US = 1_763_985_600_000_000
FANS = Target("fans", Pace(sampling_ms=60_000, late_after_ms=600_000))
ALL = Faults(late_share=0.1, duplicate_share=0.1, disorder_share=0.1, corrupt_share=0.05, seed=3)


def readings(hours: int = 3, devices: tuple[str, ...] = ("b", "a")) -> list[Reading | Report]:
    """Device by device, a reading a minute, with a failure of the first one in its second hour."""
    made: list[Reading | Report] = [
        Reading(device, NOON_US + minute * 60_000_000, {"speed": float(minute)}, "hub", tags=("even",) * (minute % 2))
        for device, minute in itertools.product(devices, range(60 * hours))
    ]
    return [*made, Report(devices[0], NOON_US + HOUR_US, "failure", "belt", NOON_US + 2 * HOUR_US, "hub")]


def lines(store: MemoryStore, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(store.get(key)).splitlines()]


def test_objects_hold_what_arrived_in_an_hour_in_the_order_of_arrival():
    store = MemoryStore()
    done = write(store, FANS, readings())
    assert store.writes == [
        "raw/fans/telemetry/2025/11/24/12/hub.json.gz",
        "raw/fans/telemetry/2025/11/24/13/hub.json.gz",
        "raw/fans/telemetry/2025/11/24/14/hub.json.gz",
        "raw/fans/events/2025/11/24/14/hub.json.gz",
    ]
    messages = lines(store, "raw/fans/telemetry/2025/11/24/13/hub.json.gz")
    assert [(m["device"], m["values"]["speed"]) for m in messages[:3]] == [("b", 60.0), ("a", 60.0), ("b", 61.0)]
    assert messages[0] == {
        "device": "b", "ts": NOON_US // 1000 + 3_600_000, "received": NOON_US // 1000 + 3_602_000,
        "values": {"speed": 60.0},
    }  # fmt: skip
    assert (done.messages, done.objects, done.devices, done.tags) == (360, 4, 2, {"even": 180})
    assert (done.first_us, done.last_us) == (NOON_US, NOON_US + 179 * 60_000_000)


def test_an_event_lies_in_the_hour_it_became_known():
    store = MemoryStore()
    assert write(store, FANS, readings()).events == {"failure": 1}
    assert lines(store, "raw/fans/events/2025/11/24/14/hub.json.gz") == [
        {
            "device": "b", "ts": (NOON_US + HOUR_US) // 1000, "kind": "failure", "detail": "belt",
            "known_at": (NOON_US + 2 * HOUR_US) // 1000,
        }
    ]  # fmt: skip


def test_a_repetition_writes_nothing_and_the_same_bytes_elsewhere():
    store, other = MemoryStore(), MemoryStore()
    first, again = write(store, FANS, readings(), faults=ALL), write(store, FANS, readings(), faults=ALL)
    assert (again.objects, again.messages, again.events, again.unchanged) == (0, 0, {}, first.objects)
    write(other, FANS, reversed(readings()), faults=ALL)
    by_line = [sorted(gzip.decompress(data).splitlines()) for data in store.objects.values()]
    assert [sorted(gzip.decompress(other.get(key)).splitlines()) for key in store.objects] == by_line


def test_an_import_in_two_steps_gives_the_objects_of_one_late_messages_included():
    whole, steps = MemoryStore(), MemoryStore()
    one = write(whole, FANS, readings(6), faults=ALL)
    first = write(steps, FANS, readings(6), faults=ALL, until_us=NOON_US + 2 * HOUR_US + 5)
    second = write(steps, FANS, readings(6), faults=ALL)
    assert steps.objects == whole.objects
    assert first.messages + second.messages == one.messages
    assert one.faults.keys() == {"late", "duplicate", "overtaken", "spoilt"}


def test_what_was_killed_between_two_objects_is_completed():
    store, whole = MemoryStore(), MemoryStore()
    write(whole, FANS, readings())
    write(store, FANS, readings())
    store.delete("raw/fans/telemetry/2025/11/24/13/hub.json.gz")
    assert write(store, FANS, readings()).objects == 1
    assert store.objects == whole.objects


def test_an_hour_with_much_in_it_becomes_several_objects(monkeypatch):
    monkeypatch.setattr(arrivals, "MOST_CHARACTERS", 2_000)
    store = MemoryStore()
    write(store, FANS, readings(1))
    keys = [key for key in store.writes if "telemetry" in key]
    assert keys[:2] == [f"raw/fans/telemetry/2025/11/24/12/{name}.json.gz" for name in ("hub", "hub-0001")]
    assert sum(len(lines(store, key)) for key in keys) == 120
    assert all(len(gzip.decompress(store.get(key))) <= 2_000 for key in keys)
    assert write(store, FANS, readings(1)).objects == 0


@pytest.mark.parametrize(
    ("items", "until_us", "told"),
    [([], None, "no telemetry at all"), (readings(1), NOON_US, "no telemetry before 2025-11-24 12:00")],
)
def test_no_telemetry_is_said_so_and_nothing_written(items, until_us, told):
    store = MemoryStore()
    with pytest.raises(ImportFileError, match=told):
        write(store, FANS, items, until_us=until_us)
    assert not store.objects


def test_progress_tells_of_reading_and_of_writing():
    seen: list[tuple[str, int, int]] = []
    write(MemoryStore(), FANS, readings(), progress=lambda *told: seen.append(told))
    assert seen[0] == ("read fans", 0, 0)
    assert ("read fans", 361, 361) in seen
    assert seen[-1] == ("write objects", 4, 4)
