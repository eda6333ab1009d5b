import dataclasses
import gzip
import json
from pathlib import Path

import pytest

from features.schema import Reason, Signal
from pipelines import quarantine
from pipelines.errors import QuarantineError
from pipelines.ingest import ingest
from pipelines.rejects import WHOLE, Reject
from pipelines.replay import replay
from tests.fakes.fleets import DAY_US, FANS, NOON_US, Plant, reading
from tests.fakes.interrupted import Budget, InterruptedStore, PowerCut
from tests.fakes.stores import MemoryStore

FASTER = dataclasses.replace(FANS, signals=(Signal("speed", "rpm", 0, 5000), FANS.signals[1]))


def spoilt(plant: Plant) -> None:
    """Two records too fast, of which one is repaired by ``FASTER``; one without a device; one good; a cut object."""
    plant.write(
        [reading("a", NOON_US, 4000.0), reading("b", NOON_US), reading("c", NOON_US, 9000.0), {"ts": NOON_US // 1000}]
    )
    plant.store.put("raw/fans/telemetry/2025/11/24/12/cut.gz", gzip.compress(b'{"device": "c"}')[:-4])
    assert plant.ingest().quarantined == 3


def counts(plant: Plant) -> list[tuple[str, dict[str, int]]]:
    return [(batch.name, batch.reasons) for batch in quarantine.batches(plant.store, "fans")]


def take_in(plant: Plant) -> int:
    return ingest(plant.store, plant.lake, FASTER, NOON_US + DAY_US).accepted


BAD = {"unreadable": 1, "no_device": 1, "out_of_range": 1}


def test_a_fixed_contract_takes_in_exactly_the_repaired_records(tmp_path: Path):
    plant = Plant(tmp_path)
    spoilt(plant)
    done = replay(plant.store, "fans", "00000001")
    assert (done.records, done.objects, len(done.keys), done.gone) == (3, 1, 2, 0)
    assert all(key.startswith("raw/fans/telemetry/2025/11/24/12/replay-00000001-") for key in done.keys)
    assert counts(plant) == []
    assert take_in(plant) == 1
    assert counts(plant) == [("00000002", BAD)]
    again = replay(plant.store, "fans", "00000002")
    assert take_in(plant) == 0
    assert counts(plant) == [("00000003", BAD)]
    assert set(again.keys).isdisjoint(done.keys)


def test_only_records_of_one_reason_are_replayed(tmp_path: Path):
    plant = Plant(tmp_path)
    spoilt(plant)
    assert replay(plant.store, "fans", "00000001", "out_of_range").records == 2
    assert counts(plant) == [("00000001", {"unreadable": 1, "no_device": 1})]
    assert take_in(plant) == 1
    assert counts(plant)[1] == ("00000002", {"out_of_range": 1})


@pytest.mark.parametrize(("reason", "ingested_between"), [(None, True), ("out_of_range", False)])
def test_a_replay_killed_at_any_write_and_repeated_doubles_nothing(tmp_path: Path, reason, ingested_between):
    kills = 0
    for spent in range(30):
        (root := tmp_path / str(spent)).mkdir()
        plant = Plant(root)
        spoilt(plant)
        try:
            replay(InterruptedStore(plant.store, Budget(spent)), "fans", "00000001", reason)
        except PowerCut:
            kills += 1
        else:
            break
        if ingested_between:
            take_in(plant)
        if any(name == "00000001" for name, _ in counts(plant)):
            replay(plant.store, "fans", "00000001", reason)
        take_in(plant)
        totals: dict[str, int] = {}
        for _, reasons in counts(plant):
            for name, count in reasons.items():
                totals[name] = totals.get(name, 0) + count
        assert totals == BAD, spent
        assert sorted(plant.rows()["device"].to_pylist()) == ["a", "b"]
        assert not any(batch.unfinished for batch in quarantine.batches(plant.store, "fans"))
    assert kills >= 5


def test_what_somebody_began_for_another_reason_is_ended_first():
    store = MemoryStore()
    lines = [
        quarantine.rejected("raw/fans/telemetry/a", Reject(0, n, n, b"{}", reason, ""))
        for n, reason in enumerate([Reason.NO_TIME, Reason.NO_DEVICE])
    ]
    quarantine.write(store, "fans", "1", lines)
    store.put(quarantine.plan_key("fans", "1"), b'{"reason": "no_time"}')
    assert quarantine.batches(store, "fans")[0].unfinished
    done = replay(store, "fans", "1", "no_device")
    assert (done.records, len(done.keys)) == (2, 2)
    assert [key for key in store.objects if key.startswith("quarantine/")] == []


def test_lineage_tells_where_each_replayed_record_came_from(tmp_path: Path):
    plant = Plant(tmp_path)
    key = plant.write([reading("a", NOON_US), reading("b", NOON_US, 4000.0)])
    plant.ingest()
    (etag,) = {entry.etag for entry in plant.store.list(key)}
    (written,) = replay(plant.store, "fans", "00000001").keys
    (told,) = [entry.key for entry in plant.store.list("ledger/replays/fans/")]
    document = json.loads(gzip.decompress(plant.store.get(told)))
    assert document["object"] == written
    ((source, tag, ordinal, _, reason),) = document["records"]
    assert (source, tag, ordinal, reason) == (key, etag, 1, "out_of_range")


def test_a_large_object_is_fetched_from_its_key_and_a_lost_one_stays_listed():
    lines = [quarantine.Rejected(f"raw/fans/telemetry/{name}", WHOLE, 0, b"", "unreadable", "") for name in "ab"]
    store = MemoryStore({"raw/fans/telemetry/a": b"large"})
    quarantine.write(store, "fans", "1", lines)
    done = replay(store, "fans", "1")
    assert (done.objects, done.gone) == (1, 1)
    assert store.get(done.keys[0]) == b"large"
    assert [line.key for line in quarantine.read(store, "fans", "1")] == ["raw/fans/telemetry/b"]


def test_a_batch_that_is_not_there_is_an_error_and_leaves_no_plan():
    store = MemoryStore()
    with pytest.raises(QuarantineError, match="nothing is quarantined"):
        replay(store, "fans", "7")
    assert not store.objects


def test_events_are_replayed_as_events(tmp_path: Path):
    plant = Plant(tmp_path)
    plant.hub.write_events("1", NOON_US, [{"device": "a", "ts": 5}])
    plant.ingest()
    (key,) = replay(plant.store, "fans", "events-00000001").keys
    assert key.startswith("raw/fans/events/2025/11/24/12/replay-events-00000001-")
