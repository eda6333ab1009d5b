import dataclasses
import gzip
from pathlib import Path

import pytest

from features.schema import Reason, Signal
from pipelines import quarantine
from pipelines.errors import QuarantineError
from pipelines.ingest import ingest
from pipelines.records import WHOLE, Reject
from tests.fakes.fleets import DAY_US, FANS, NOON_US, Plant, reading
from tests.fakes.stores import MemoryStore


def reject(data: bytes = b"{}", ordinal: int = 0) -> quarantine.Rejected:
    return quarantine.rejected("raw/fans/telemetry/a", Reject(0, ordinal, 7, data, Reason.NO_DEVICE, "No."))


def test_what_is_written_is_read_back():
    store = MemoryStore()
    lines = [reject(b"\xff\x00"), reject(b"whole", WHOLE)]
    quarantine.write(store, "fans", "00000001", lines)
    assert list(quarantine.read(store, "fans", "00000001")) == lines
    assert quarantine.batches(store, "fans") == [quarantine.Batch("00000001", {"no_device": 2})]
    assert quarantine.batches(store, "fans")[0].count == 2


def test_the_same_rejects_give_the_same_bytes_and_replace_what_a_killed_run_left():
    store, again = MemoryStore(), MemoryStore()
    quarantine.write(store, "fans", "1", [reject(bytes([number % 250])) for number in range(11_000)])
    assert len(store.objects) == 3
    quarantine.write(store, "fans", "1", [reject()])
    quarantine.write(again, "fans", "1", [reject()])
    assert store.objects == again.objects
    assert len(store.objects) == 1
    quarantine.write(store, "fans", "1", [])
    assert not store.objects


def test_a_huge_object_is_named_but_not_copied():
    data = b" " * (16 * 1024 * 1024 + 1)
    assert reject(data, WHOLE).data == b""
    assert reject(data[:-1], WHOLE).data == data[:-1]


def test_a_batch_that_does_not_exist_is_an_error_that_says_where_to_look():
    with pytest.raises(QuarantineError, match="nothing is quarantined as batch 7"):
        list(quarantine.read(MemoryStore(), "fans", "7"))


def test_a_damaged_batch_is_an_error_that_names_the_object():
    store = MemoryStore({"quarantine/fans/1/0000.jsonl.gz": b"junk"})
    with pytest.raises(QuarantineError, match=r"0000\.jsonl\.gz"):
        list(quarantine.read(store, "fans", "1"))


def test_rejects_are_taken_after_the_catalog_was_corrected(tmp_path: Path):
    plant = Plant(tmp_path)
    plant.write([reading("a", NOON_US, 4000.0), reading("a", NOON_US + 1000, 4000.0, note="ü"), reading("b", NOON_US)])
    plant.store.put("raw/fans/telemetry/cut.gz", gzip.compress(b'{"device": "c"}')[:-4])
    assert plant.ingest().quarantined == 2
    faster = dataclasses.replace(FANS, signals=(Signal("speed", "rpm", 0, 5000), FANS.signals[1]))
    replay = quarantine.replay(plant.store, "fans", "00000001", NOON_US + DAY_US)
    assert (replay.records, replay.objects, len(replay.keys)) == (2, 1, 2)
    assert quarantine.batches(plant.store, "fans") == []
    summary = ingest(plant.store, plant.lake, faster, NOON_US + DAY_US)
    assert (summary.accepted, summary.unreadable) == (2, 1)
    assert [batch.name for batch in quarantine.batches(plant.store, "fans")] == ["00000002"]


def test_events_are_replayed_as_events(tmp_path: Path):
    plant = Plant(tmp_path)
    plant.hub.write_events("1", NOON_US, [{"device": "a", "ts": 5}])
    plant.ingest()
    replay = quarantine.replay(plant.store, "fans", "events-00000001", NOON_US)
    assert replay.keys == (f"raw/fans/events/2025/11/24/12/replay-events-00000001-{NOON_US}.json.gz",)
