"""Objects that change under their key: between two runs, between listing and reading, and for ever."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingest import IngestSummary, ingest
from pipelines.ledger import Ledger
from serving.store import Entry, Fetched, FolderStore
from tests.fakes.fleets import DAY_US, FANS, MINUTE_US, NOON_US, Plant, reading


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def said(device: str, speed: float = 1.0, minutes: int = 0, step: int = 0) -> Any:
    """What a device said at one of its steps, received so many minutes later."""
    time = NOON_US + step * MINUTE_US
    return reading(device, time, speed, time + minutes * MINUTE_US)


def held(plant: Plant) -> list[tuple[str, float]]:
    rows = plant.rows()
    return list(zip(rows["device"].to_pylist(), rows["speed"].to_pylist(), strict=True))


def test_an_object_that_grows_only_adds_rows(plant):
    plant.write([said("a")], name="x")
    plant.ingest()
    plant.write([said("a"), said("b")], name="x")
    summary = plant.ingest()
    assert (summary.accepted, summary.duplicates, summary.replaced) == (1, 1, 0)
    plant.write([said("b")], name="x")  # rows of both of its former versions are found
    assert (plant.ingest().replaced, held(plant)) == (1, [("b", 1.0)])


def test_what_another_object_said_too_comes_back_when_the_first_no_longer_says_it(plant):
    plant.write([said("a", 1.0, minutes=1), said("b")], name="x")
    plant.write([said("a", 2.0, minutes=2)], name="y")
    assert plant.ingest().superseded == 1
    plant.write([said("b")], name="x")
    summary = plant.ingest()
    assert (summary.restored, summary.replaced, held(plant)) == (1, 1, [("a", 2.0), ("b", 1.0)])
    plant.write([said("a", 3.0)], name="y")  # a row that came back still belongs to its object
    plant.ingest()
    assert held(plant) == [("a", 3.0), ("b", 1.0)]


def test_a_stamp_that_was_corrected_gives_the_word_to_another_copy(plant):
    plant.write([said("a", 1.0, minutes=1)], name="x")
    plant.write([said("a", 2.0, minutes=3)], name="y")
    plant.ingest()
    plant.write([said("a", 1.0, minutes=5)], name="x")
    plant.ingest()
    assert held(plant) == [("a", 2.0)]


def test_a_stored_copy_counts_with_the_best_stamp_it_ever_had(plant):
    plant.write([said("a", 1.0, minutes=5)], name="x")
    plant.ingest()
    plant.write([said("a", 1.0, minutes=1)], name="y")  # says the same: leaves no trace in the table
    plant.ingest()
    plant.write([said("a", 2.0, minutes=3)], name="z")
    assert (plant.ingest().superseded, held(plant)) == (1, [("a", 1.0)])


def test_corrections_supersede_where_the_last_one_is_believed(tmp_path):
    plant = Plant(tmp_path, fleet=replace(FANS, believe="last"))
    plant.write([said("a", 1.0, minutes=1)])
    plant.ingest()
    plant.write([said("a", 2.0, minutes=2)])
    assert (plant.ingest().replaced, held(plant)) == (1, [("a", 2.0)])


def test_where_every_version_counts_nothing_goes(tmp_path):
    plant = Plant(tmp_path, fleet=replace(FANS, rewritten="add"))
    for step in range(3):
        plant.write([said("a", step=step)], name="the-only-one")
        plant.ingest()
    assert len(plant.rows()) == 3


def _lost(plant: Plant, key: str) -> None:
    """It is planned in a new version, and gone before it is read."""
    plant.write([said("b")], name="x")
    store = Meddled(Path(plant.store.uri), key, lambda: plant.store.delete(key))
    assert ingest(store, plant.lake, FANS, NOON_US + DAY_US).unreadable == 1


@pytest.mark.parametrize("ruin", [lambda plant, _: plant.write(b"\x1f\x8b", name="x"), _lost])
def test_what_an_object_gave_stays_when_nothing_can_be_read_of_it_any_more(plant, ruin):
    plant.write(b"nonsense", name="other")
    key = plant.write([said("a")], name="x")
    plant.ingest()
    ruin(plant, key)
    assert (plant.ingest().replaced, held(plant)) == (0, [("a", 1.0)])


class Meddled(FolderStore):
    """A folder in which somebody meddles with an object just before it is read, and lists it twice."""

    def __init__(self, root: Path, key: str, meddle: Callable[[], object]) -> None:
        super().__init__(root)
        self._key, self._meddle = key, meddle

    def fetch(self, key: str) -> Fetched:
        if key == self._key:
            self._meddle()
        return super().fetch(key)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        for entry in super().list(prefix, after):
            yield entry
            yield entry


def test_an_object_that_grows_between_listing_and_reading_is_taken_and_read_once_more(plant):
    key = plant.write([said("a")], name="x")
    store = Meddled(Path(plant.store.uri), key, lambda: plant.write([said("a"), said("b")], name="x"))
    assert ingest(store, plant.lake, FANS, NOON_US + DAY_US) == IngestSummary(
        objects=1, records=2, accepted=2, batches=1
    )
    assert plant.ingest() == IngestSummary(objects=1, records=2, duplicates=2, batches=1)
    assert plant.ingest() == IngestSummary()


def test_records_without_a_stamp_were_received_when_their_object_was_written(plant):
    for speed in (1.0, 2.0):
        key = plant.write([reading("a", NOON_US, speed)], name=f"x-{3 - speed}")
        _touch(plant, key, int(NOON_US + speed * MINUTE_US))
    plant.ingest()
    assert held(plant) == [("a", 1.0)]
    assert plant.rows()["received"].to_pylist() == [NOON_US + MINUTE_US]


def _touch(plant: Plant, key: str, time_us: int) -> None:

    os.utime(Path(plant.store.uri) / key, ns=(time_us * 1000, time_us * 1000))


def test_each_row_names_the_record_it_came_from(plant):
    plant.write([said("z")], name="before")
    plant.ingest()
    plant.write([said("a", -1.0), said("b")], name="x")
    plant.write([said("c"), said("d")], name="y")
    plant.ingest()
    rows = plant.lake.telemetry(FANS).open().read(["device", "batch", "object", "ordinal"]).to_pylist()
    ledger = Ledger(plant.store, "ledger/objects/fans")
    found = {
        row["device"]: (ledger.intent(row["batch"]).objects[row["object"]].key.rpartition("/")[2], row["ordinal"])
        for row in rows
    }
    assert found == {
        "z": ("before.json.gz", 0),
        "b": ("x.json.gz", 1),
        "c": ("y.json.gz", 0),
        "d": ("y.json.gz", 1),
    }


def test_a_run_that_was_killed_behind_its_commit_is_written_down_by_the_next(plant):
    plant.write([said("a"), said("b", -1.0)])
    plant.ingest()
    key = "ledger/objects/fans/00000001.done.json"
    told = json.loads(plant.store.get(key))
    plant.store.delete(key)
    assert plant.ingest() == IngestSummary()
    again = json.loads(plant.store.get(key))
    assert again == {name: value for name, value in told.items() if name != "hidden"}
    assert told["records"] == told["accepted"] + told["quarantined"] + told["duplicates"] + told["superseded"] == 2
    plant.write([said("a")])  # where the outcome is lost, copies are looked for in all objects of the batch
    assert plant.ingest().duplicates == 1


class Flickering(FolderStore):
    """An object is another one at the moment it is read, and the one that was listed again behind that."""

    def __init__(self, root: Path, key: str, meanwhile: bytes) -> None:
        super().__init__(root)
        self._key, self._meanwhile = key, meanwhile

    def fetch(self, key: str) -> Fetched:
        found = super().fetch(key)
        if key != self._key:
            return found
        self._key = ""
        return replace(found, entry=replace(found.entry, etag="another"), data=self._meanwhile)


def test_an_object_that_is_as_planned_again_behind_its_reading_is_read_once_more(plant):
    key = plant.write([said("a", 1.0)], name="x")
    store = Flickering(Path(plant.store.uri), key, json.dumps(said("a", 2.0)).encode())
    ingest(store, plant.lake, FANS, NOON_US + DAY_US)
    assert held(plant) == [("a", 2.0)]
    plant.ingest()
    assert held(plant) == [("a", 1.0)]
