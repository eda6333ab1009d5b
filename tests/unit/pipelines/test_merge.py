import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.compose import TOGETHER
from pipelines.former import Former
from pipelines.lake import Lake, Snapshot
from pipelines.merge import Merged, merge
from pipelines.reading import Reader
from pipelines.settling import Batch
from pipelines.unique import Rule
from tests.fakes.fleets import DAY_US, FANS, MINUTE_US, NOON_US, Plant, reading

SEQUENCED = replace(FANS, key=("device", "time", "sequence"), mapping=replace(FANS.mapping, sequence="seq"))
DATE = "2025-11-24"


@pytest.fixture
def snapshot(tmp_path) -> Snapshot:
    return Lake(str(tmp_path)).telemetry(FANS).create()


def batch(snapshot: Snapshot, *said: tuple[int | None, float]) -> Batch:
    """Readings of one device and time, each with a sequence number, received one after the other."""
    rows: list[dict[str, Any]] = [
        {"date": DATE, "device": "a", "time": NOON_US, "received": n, "batch": 1, "object": 0, "ordinal": n}
        | {"sequence": sequence, "speed": speed, "current": None}
        for n, (sequence, speed) in enumerate(said)
    ]
    table = pa.Table.from_pylist(rows, snapshot.layout.schema)
    return Batch(1, table, np.array([0]), Former())


def merged(snapshot: Snapshot, given: Batch, fleet: Any) -> Merged:
    return merge(snapshot, given, Rule.of(fleet), lambda asked: snapshot.layout.schema.empty_table())


def test_a_sequence_number_tells_readings_apart_where_the_fleet_says_so(snapshot):
    given = batch(snapshot, (1, 5.0), (2, 5.0), (None, 6.0), (None, 6.0), (2, 7.0))
    found = merged(snapshot, given, SEQUENCED)
    assert sorted(found.added["sequence"].to_pylist(), key=str) == [1, 2, None]
    counts = {name: found.counts[name] for name in ("accepted", "duplicates", "superseded")}
    assert counts == {"accepted": 3, "duplicates": 1, "superseded": 1}
    assert merged(snapshot, given, FANS).counts["accepted"] == 1


def test_what_is_not_in_the_table_is_remembered_by_object_and_time(snapshot):
    assert merged(snapshot, batch(snapshot, (1, 5.0)), FANS).hidden == {}
    assert merged(snapshot, batch(snapshot, (1, 5.0), (1, 6.0)), FANS).hidden == {(1, 0): (NOON_US, NOON_US)}


def test_copies_are_found_in_slices_of_a_large_date_too(snapshot, monkeypatch):
    monkeypatch.setattr("pipelines.standing._MOST_ROWS", 2)
    one = batch(snapshot, *((None, float(n)) for n in range(7)))
    spread = one.rows.set_column(2, "time", pa.array([NOON_US + 1000 * n for n in range(7)]))
    snapshot.append(spread, transaction=("test", 1))
    again = merged(snapshot.renewed(), replace(one, seq=2, rows=spread.slice(1, 5)), FANS)
    assert (again.counts["accepted"], again.counts["duplicates"], len(again.removed)) == (0, 5, 0)


def test_no_readings_change_nothing(snapshot):
    found = merged(snapshot, batch(snapshot), FANS)
    assert (len(found.added), len(found.removed), set(found.counts.values())) == (0, 0, {0})


def measurements(plant: Plant, *parts: tuple[str, float], received: int = 0, name: str = "") -> None:
    """One device and moment, each measurement in a record of its own."""
    stamp = NOON_US + received * MINUTE_US
    plant.write([reading("a", NOON_US, received_us=stamp, values={signal: value}) for signal, value in parts], name)


def row(plant: Plant) -> dict[str, Any]:
    """The only row."""
    (found,) = plant.lake.telemetry(FANS).open().read().to_pylist()
    return dict(found)


def test_records_that_carry_one_signal_each_become_one_row_that_names_none_of_them(tmp_path):
    plant = Plant(tmp_path)
    measurements(plant, ("speed", 7.0), ("current", 2.0), ("current", 2.0), received=1)
    done = plant.ingest()
    assert (done.records, done.accepted, done.joined, done.duplicates, done.superseded) == (3, 2, 1, 1, 0)
    found = row(plant)
    assert (found["speed"], found["current"], found["object"], found["ordinal"]) == (7.0, 2.0, TOGETHER, None)


def test_a_stored_row_is_completed_and_belongs_to_the_batch_that_completed_it(tmp_path):
    plant = Plant(tmp_path)
    measurements(plant, ("speed", 7.0))
    plant.ingest()
    assert (row(plant)["batch"], row(plant)["ordinal"]) == (1, 0)
    measurements(plant, ("speed", 8.0), ("current", 2.0), received=5)
    done = plant.ingest()
    assert (done.accepted, done.superseded, done.replaced, done.joined) == (1, 1, 1, 0)
    found = row(plant)
    assert (found["speed"], found["current"], found["batch"]) == (7.0, 2.0, 2)
    assert found["received"] == NOON_US + 5 * MINUTE_US  # with the part that is believed least
    measurements(plant, ("current", 3.0), received=3)  # outranks a part of a row that was put together
    assert (plant.ingest().accepted, row(plant)["speed"], row(plant)["current"]) == (1, 7.0, 3.0)


def test_completing_a_row_reads_no_object_again(tmp_path, monkeypatch):
    plant = Plant(tmp_path)
    for signal in ("speed", "current"):
        measurements(plant, (signal, 7.0), (signal, 7.0))
        monkeypatch.setattr(Reader, "_copies", lambda *_: pytest.fail("an object is read again"))
        plant.ingest()
    assert row(plant)["ordinal"] is None


def test_what_a_vanished_record_gave_goes_while_what_others_gave_stays(tmp_path):
    plant = Plant(tmp_path)
    for name, signal in (("x", "speed"), ("y", "current")):
        measurements(plant, (signal, 7.0), name=name)
        plant.ingest()
    plant.write([reading("b", NOON_US, received_us=NOON_US)], name="x")
    done = plant.ingest()
    assert (done.replaced, done.restored, done.accepted) == (1, 1, 1)
    found = plant.rows().to_pylist()
    assert [(each["device"], each["current"]) for each in found] == [("a", 7.0), ("b", 10.0)]
    assert np.isnan(found[0]["speed"])


def test_an_object_of_unstamped_parts_that_grows_leaves_their_rows_alone(tmp_path):
    plant = Plant(tmp_path)
    parts = [reading("a", NOON_US, values={signal: 7.0}) for signal in ("speed", "current")]
    key = plant.write(parts, name="x")
    plant.ingest()
    plant.write([*parts, reading("b", NOON_US)], name="x")
    moment = NOON_US + DAY_US
    os.utime(Path(plant.store.uri) / key, ns=(moment * 1000, moment * 1000))
    done = plant.ingest(moment + DAY_US)
    assert (done.accepted, done.replaced, done.duplicates) == (1, 0, 2)


@pytest.mark.parametrize("runs_between", [0, 1])
def test_a_part_is_found_again_when_the_run_that_put_it_in_was_killed_behind_its_commit(tmp_path, runs_between):
    plant = Plant(tmp_path)
    for name, signal in (("x", "speed"), ("y", "current")):
        measurements(plant, (signal, 7.0), name=name)
        plant.ingest()
    plant.store.delete("ledger/objects/fans/00000002.done.json")
    for _ in range(runs_between):
        plant.ingest()
    plant.write([reading("b", NOON_US, received_us=NOON_US)], name="y")
    plant.ingest()
    assert [each["speed"] for each in plant.rows().to_pylist()] == [7.0, 1000.0]
