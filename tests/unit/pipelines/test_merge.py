from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.lake import Lake, Snapshot
from pipelines.merge import Batch, Merged, merge
from pipelines.unique import Rule
from tests.fakes.fleets import FANS, NOON_US

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
    return Batch(1, table, np.array([0]), {})


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
    monkeypatch.setattr("pipelines.merge._MOST_ROWS", 2)
    one = batch(snapshot, *((None, float(n)) for n in range(7)))
    spread = one.rows.set_column(2, "time", pa.array([NOON_US + 1000 * n for n in range(7)]))
    snapshot.append(spread, transaction=("test", 1))
    again = merged(snapshot.renewed(), replace(one, seq=2, rows=spread.slice(1, 5)), FANS)
    assert (again.counts["accepted"], again.counts["duplicates"], len(again.removed)) == (0, 5, 0)


def test_no_readings_change_nothing(snapshot):
    found = merged(snapshot, batch(snapshot), FANS)
    assert (len(found.added), len(found.removed), set(found.counts.values())) == (0, 0, {0})
