import fcntl
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import batches as module
from pipelines.errors import IngestRunningError, LedgerError, NothingStoredError
from pipelines.ingest import IngestSummary, ingest
from pipelines.lake import Snapshot
from pipelines.ledger import Ledger
from pipelines.quarantine import batches, read
from tests.fakes.fleets import DAY_US, FANS, HOUR_US, MINUTE_US, NOON_US, Plant, reading
from tests.fakes.interrupted import Budget, InterruptedStore, PowerCut

WRITER = "ingest:fans"


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def test_a_store_without_raw_objects_says_what_to_do(plant):
    with pytest.raises(
        NothingStoredError, match=r"nothing under raw/fans/.*below raw/fans/telemetry/, or see tidemill import"
    ):
        plant.ingest()


def test_messages_become_rows_and_a_second_run_changes_nothing(plant):
    plant.write([reading("a", NOON_US, 5.0, NOON_US + MINUTE_US), reading("b", NOON_US + DAY_US // 2, 7.0)])
    assert plant.ingest() == IngestSummary(objects=1, records=2, accepted=2, batches=1, late=1)
    assert plant.rows().to_pylist() == [
        {
            "date": "2025-11-24",
            "device": "a",
            "time": NOON_US,
            "received": NOON_US + MINUTE_US,
            "speed": 5.0,
            "current": 0.05,
        },
        {
            "date": "2025-11-25",
            "device": "b",
            "time": NOON_US + DAY_US // 2,
            "received": NOON_US + DAY_US,
            "speed": 7.0,
            "current": 0.07,
        },
    ]
    version = plant.lake.telemetry(FANS).version()
    assert plant.ingest() == IngestSummary()
    assert plant.lake.telemetry(FANS).version() == version


def test_the_same_reading_counts_once_within_and_across_batches(plant):
    message = reading("a", NOON_US, 5.0, NOON_US)
    plant.write([message, message])
    assert plant.ingest().duplicates == 1
    plant.write([message, reading("a", NOON_US + 1000, 5.0, NOON_US)])
    summary = plant.ingest()
    assert (summary.accepted, summary.duplicates) == (1, 1)
    assert len(plant.rows()) == 2


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_different_copies_the_one_received_first_is_believed_in_whatever_order_they_come(plant, order):
    for minutes in order:
        plant.write([reading("a", NOON_US, float(minutes), NOON_US + minutes * MINUTE_US), reading("b", NOON_US)])
        plant.ingest()
    assert plant.rows()["speed"].to_pylist() == [1.0, 1000.0]
    assert plant.rows()["received"].to_pylist()[0] == NOON_US + MINUTE_US


def test_an_object_that_is_written_again_is_read_again(plant):
    plant.write([reading("a", NOON_US)], name="growing")
    plant.ingest()
    plant.write([reading("a", NOON_US), reading("a", NOON_US + 1000)], name="growing")
    summary = plant.ingest()
    assert (summary.objects, summary.accepted, summary.duplicates) == (1, 1, 1)


def test_late_readings_are_taken_and_counted(plant):
    plant.write([reading("a", NOON_US, received_us=NOON_US + 2 * HOUR_US), reading("b", NOON_US, received_us=NOON_US)])
    assert plant.ingest().late == 1


def test_what_cannot_be_taken_is_quarantined_and_does_not_stop_the_run(plant):
    plant.write([reading("a", NOON_US), reading("b", NOON_US, speed=-1.0)], name="1-range")
    plant.write(b'{"device": "c", "ts', name="2-cut-off")
    key = "raw/fans/telemetry/3-damaged.gz"
    plant.store.put(key, gzip.compress(b"{}" * 100)[:-20])
    plant.write([{"temperature": 5}], name="4-foreign")
    plant.write([reading("d", NOON_US)], name="5-good")
    summary = plant.ingest()
    assert summary == IngestSummary(objects=5, records=3, accepted=2, quarantined=1, unreadable=3, batches=1, late=2)
    lines = {line.key: line for line in read(plant.store, "fans", "00000001")}
    assert lines[key].data == plant.store.get(key)
    assert {line.reason for line in lines.values()} == {"out_of_range", "unreadable"}


def test_a_batch_of_rejects_alone_is_done_once(plant):
    plant.write(b"nonsense")
    assert plant.ingest().unreadable == 1
    assert plant.lake.telemetry(FANS).open().transaction(WRITER) == 1
    assert plant.ingest() == IngestSummary()


def test_an_object_that_is_gone_before_it_is_read_is_named_in_the_quarantine(plant):
    key = plant.write([reading("a", NOON_US)])
    plant.write([reading("b", NOON_US)])
    _lose_power_at_the_commit(plant)
    plant.store.delete(key)
    assert plant.ingest().accepted == 1
    assert [line.sentence for line in read(plant.store, "fans", "00000001")] == [
        "The object was gone before it was read."
    ]


def test_batches_are_bounded_and_each_is_one_commit(plant, monkeypatch):
    monkeypatch.setattr(module, "_BATCH_OBJECTS", 2)
    for number in range(5):
        plant.write([reading("a", NOON_US + number * 1000)])
    assert plant.ingest().batches == 3
    assert plant.lake.telemetry(FANS).open().transaction(WRITER) == 3
    assert len(plant.rows()) == 5


def test_progress_reaches_the_total(plant):
    for number in range(3):
        plant.write([reading("a", NOON_US + number)])
    seen: list[tuple[str, int, int]] = []
    ingest(plant.store, plant.lake, FANS, NOON_US, lambda *step: seen.append(step))
    assert seen[-1] == ("ingest telemetry", 3, 3)


def _lose_power_at_the_commit(plant: Plant) -> None:
    def cut(*_: object, **__: object) -> None:
        raise PowerCut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Snapshot, "append", cut)
        with pytest.raises(PowerCut):
            plant.ingest(NOON_US)
    assert Ledger(plant.store, "ledger/objects/fans").numbers() == [1]


def test_a_plan_that_was_not_carried_out_is_carried_out_as_it_was(plant):
    plant.write([reading("a", NOON_US - MINUTE_US), reading("b", NOON_US, -1.0)])
    _lose_power_at_the_commit(plant)
    plant.write([reading("c", NOON_US)])
    plant.ingest()
    rows = plant.rows()
    assert rows["device"].to_pylist() == ["a", "c"]
    # The clock of the plan, not of the second run, stands in for the hub's missing stamp.
    assert rows["received"].to_pylist() == [NOON_US, NOON_US + DAY_US]


@pytest.mark.parametrize("writes", range(9))
def test_a_power_cut_after_any_write_leaves_nothing_doubled_and_nothing_lost(plant, monkeypatch, writes):
    monkeypatch.setattr(module, "_BATCH_OBJECTS", 1)
    for number in range(3):
        plant.write([reading("a", NOON_US + number * 1000), reading("b", NOON_US, -1.0)])
    with pytest.raises(PowerCut):
        ingest(InterruptedStore(plant.store, Budget(writes)), plant.lake, FANS, NOON_US)
    plant.ingest(NOON_US)
    assert plant.rows()["time"].to_pylist() == [NOON_US, NOON_US + 1000, NOON_US + 2000]
    assert [(batch.name, batch.count) for batch in batches(plant.store, "fans")] == [
        (f"{seq:08d}", 1) for seq in (1, 2, 3)
    ]


def test_a_table_that_was_lost_is_made_again_from_the_ledger(plant):
    plant.write([reading("a", NOON_US)])
    plant.ingest()
    plant.write([reading("b", NOON_US)])
    plant.ingest()
    before = plant.rows()
    shutil.rmtree(plant.lake.telemetry(FANS).uri)
    assert plant.ingest().accepted == 2
    assert plant.rows().drop("received") == before.drop("received")


def test_a_second_run_at_the_same_time_says_so(plant):
    plant.write([reading("a", NOON_US)])
    with (Path(plant.store.uri) / ".tidemill-ingest-fans.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(IngestRunningError, match="another ingest of fans is at work"):
            plant.ingest()
    assert plant.ingest().accepted == 1


def test_without_a_lock_the_slower_of_two_runs_ends_with_one_sentence(plant, monkeypatch):
    plant.write([reading("a", NOON_US)])
    remote = InterruptedStore(plant.store, Budget())  # no folder: nothing to lock
    commit = Snapshot.append
    raced: list[IngestSummary] = []

    def race(self: Snapshot, *arguments: Any, **options: Any) -> int:
        monkeypatch.setattr(Snapshot, "append", commit)
        raced.append(ingest(remote, plant.lake, FANS, NOON_US))
        return commit(self, *arguments, **options)

    monkeypatch.setattr(Snapshot, "append", race)
    with pytest.raises(IngestRunningError, match="another ingest of fans"):
        ingest(remote, plant.lake, FANS, NOON_US)
    assert raced[0].accepted == 1
    assert len(plant.rows()) == 1


def test_a_damaged_plan_stops_the_run_before_anything_is_lost(plant):
    plant.write([reading("a", NOON_US)])
    plant.store.put("ledger/objects/fans/00000001.json", b"{")
    with pytest.raises(LedgerError, match="00000001"):
        plant.ingest()


def test_old_plans_are_summed_up_and_need_not_be_read_again(plant, monkeypatch):
    monkeypatch.setattr("pipelines.ledger._SUM_UP_EVERY", 2)
    for number in range(5):
        plant.write([reading("a", NOON_US + number * 1000)])
        plant.ingest()
    for number in range(1, 5):
        plant.store.put(f"ledger/objects/fans/{number:08d}.json", b"never read")
    assert plant.ingest() == IngestSummary()


def test_a_run_leaves_its_outcome_in_ledger_and_commit(plant):
    plant.write([reading("a", NOON_US), reading("b", NOON_US, -1.0)])
    plant.ingest()
    outcome = json.loads(plant.store.get("ledger/objects/fans/00000001.done.json"))
    assert (outcome["accepted"], outcome["reasons"]) == (1, {"out_of_range": 1})
    assert plant.lake.telemetry(FANS).open().history(1)[0]["ingest"]["accepted"] == 1


def test_events_are_taken_once_and_bad_ones_quarantined(plant):
    event = {"device": "a", "ts": 5000, "kind": "failure", "detail": "bearing", "known_at": 9000}
    plant.hub.write_events("1", NOON_US, [event, event, event | {"known_at": 9500}, {"device": "a", "ts": 1}])
    plant.hub.write_events("2", NOON_US, b"<html>")
    summary = plant.ingest()
    assert summary == IngestSummary(
        objects=2, records=4, events=2, duplicates=1, quarantined=1, unreadable=1, batches=1
    )
    plant.hub.write_events("3", NOON_US, [event])
    assert plant.ingest().events == 0
    rows = plant.lake.events(FANS).open().read().sort_by("known_at").to_pylist()
    assert rows[0] == {"device": "a", "time": 5_000_000, "kind": "failure", "detail": "bearing", "known_at": 9_000_000}
    assert [batch.reasons for batch in batches(plant.store, "fans")] == [{"unreadable": 1, "wrong_type": 1}]


messages = st.builds(  # copies that differ differ in their time of receipt
    lambda device, step, delay: reading(
        device, NOON_US + step * 7 * HOUR_US, float(delay), NOON_US + step * 7 * HOUR_US + delay * MINUTE_US
    ),
    st.sampled_from(["a", "b"]),
    st.integers(0, 4),
    st.integers(0, 3),
)


def oracle(objects: list[list[Any]]) -> list[tuple[str, int, float]]:
    """What must be stored: of each device and time the copy received first, the first written among equals."""
    best: dict[tuple[str, int], Any] = {}
    for message in (message for each in objects for message in each):
        key = (message["device"], message["ts"] * 1000)
        if key not in best or message["received"] < best[key]["received"]:
            best[key] = message
    return [(*key, message["values"]["speed"]) for key, message in sorted(best.items())]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.lists(messages, max_size=4), min_size=1, max_size=3), min_size=1, max_size=3))
def test_the_table_holds_what_arrived_first_however_it_was_delivered(tmp_path_factory, deliveries):
    plant = Plant(tmp_path_factory.mktemp("plant"))
    for delivery in deliveries:
        for messages_of_object in delivery:
            plant.write(messages_of_object)
        plant.ingest()
    rows = plant.rows()
    found = list(zip(*(rows[name].to_pylist() for name in ("device", "time", "speed")), strict=True))
    assert found == oracle([each for delivery in deliveries for each in delivery])
