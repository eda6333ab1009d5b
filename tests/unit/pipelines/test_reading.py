"""Many objects are fetched at a time, few are decoded, and one that is too large is not fetched at all."""

import threading
import time
from pathlib import Path

from pipelines import quarantine, reading
from pipelines.streams import TelemetryStream
from tests.fakes.fleets import NOON_US, Plant
from tests.fakes.fleets import reading as message
from tests.fakes.stores import ServedFolder


class Crowd:
    """Counts who is inside at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        time.sleep(0.005)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


def test_of_a_service_many_are_fetched_at_a_time_and_few_decoded(tmp_path: Path, monkeypatch):
    fetching, decoding = Crowd(), Crowd()
    fetch, decode = ServedFolder.fetch, TelemetryStream.read

    def slow_fetch(self, key):
        with fetching:
            return fetch(self, key)

    def slow_decode(self, objects, clock_us):
        with decoding:
            return decode(self, objects, clock_us)

    monkeypatch.setattr(ServedFolder, "fetch", slow_fetch)
    monkeypatch.setattr(TelemetryStream, "read", slow_decode)
    monkeypatch.setattr(reading, "_GROUP_OBJECTS", 2)
    monkeypatch.setattr(reading, "_THREADS", 4)  # whatever machine this is
    plant = Plant(tmp_path, ServedFolder(tmp_path))
    for number in range(80):
        plant.write([message("a", NOON_US + number * 1000)])
    assert plant.ingest().accepted == 80
    assert fetching.most > 8
    assert 1 < decoding.most <= 4


def test_no_more_is_decoded_at_a_time_than_there_is_room_for(tmp_path: Path, monkeypatch):
    decoding = Crowd()
    decode = TelemetryStream.read

    def slow_decode(self, objects, clock_us):
        with decoding:
            return decode(self, objects, clock_us)

    monkeypatch.setattr(TelemetryStream, "read", slow_decode)
    monkeypatch.setattr(reading, "_GROUP_OBJECTS", 1)
    monkeypatch.setattr(reading, "_AT_ONCE_BYTES", 1)
    plant = Plant(tmp_path)
    for number in range(10):
        plant.write([message("a", NOON_US + number * 1000)])
    assert plant.ingest().accepted == 10
    assert decoding.most == 1


def test_an_object_that_is_listed_as_too_large_is_refused_without_being_fetched(tmp_path: Path, monkeypatch):
    store = ServedFolder(tmp_path)
    plant = Plant(tmp_path, store)
    small = plant.write([message("a", NOON_US)], name="1-small")
    large = plant.write([message("b", NOON_US + number) for number in range(0, 500_000, 1000)], name="2-large")
    also = plant.write([message("c", NOON_US)], name="3-small")
    monkeypatch.setattr(reading, "MOST_BYTES", 1024)
    summary = plant.ingest()
    assert (summary.accepted, summary.unreadable, summary.records) == (2, 1, 2)
    assert [key for key in store.fetched if key.startswith("raw/")] == [small, also]
    (line,) = quarantine.read(store, "fans", "00000001")
    assert (line.key, line.data, line.reason) == (large, b"", "unreadable")
    assert line.sentence.startswith("The object is larger than 0 MiB: ")
    assert line.etag == next(entry.etag for entry in store.list(large))
    assert plant.ingest().objects == 0
