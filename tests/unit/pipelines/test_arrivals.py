"""What a run takes in of a store that is a service, which it does not list as a whole each time."""

import dataclasses
from pathlib import Path

import pytest

from features.schema import Fleet, Mapping
from pipelines import quarantine
from pipelines.ingest import IngestSummary, ingest
from pipelines.replay import replay
from tests.fakes.fleets import DAY_US, FANS, HOUR_US, NOON_US, Plant, reading
from tests.fakes.stores import ServedFolder

CHOOSY = dataclasses.replace(FANS, mapping=Mapping(signals="values", exclude=("processing-failed", ".tmp")))


@pytest.fixture
def store(tmp_path: Path) -> ServedFolder:
    return ServedFolder(tmp_path)


@pytest.fixture
def plant(tmp_path: Path, store: ServedFolder) -> Plant:
    """A plant whose newest object is an hour old when it is taken in."""
    return Plant(tmp_path, store)


def take_in(plant: Plant, fleet: Fleet = FANS, **options) -> IngestSummary:
    return ingest(plant.store, plant.lake, fleet, NOON_US + HOUR_US, **options)


def write_long_ago(plant: Plant, device: str, name: str = "old") -> str:
    """Write an object whose folder is of a day that nobody looks at between full listings."""
    return plant.hub.write_telemetry(name, NOON_US - 9 * DAY_US, [reading(device, NOON_US - 9 * DAY_US)])


def devices(plant: Plant) -> list[str]:
    return list(plant.rows()["device"].to_pylist())


def test_between_full_listings_only_the_end_of_a_timeline_is_listed(plant, store):
    plant.write([reading("a", NOON_US)])
    take_in(plant)
    store.listed.clear()
    plant.write([reading("b", NOON_US)])
    assert take_in(plant).accepted == 1
    assert "raw/fans/telemetry/2025/11/24/06" in store.listed
    assert "raw/fans/telemetry/" not in store.listed
    assert devices(plant) == ["a", "b"]


def test_a_full_listing_finds_what_was_written_under_an_old_date(plant):
    plant.write([reading("a", NOON_US)])
    take_in(plant)
    write_long_ago(plant, "b")
    assert take_in(plant) == IngestSummary()
    assert take_in(plant, full_listing=True).accepted == 1


def test_a_folder_is_listed_as_a_whole_each_time(tmp_path):
    plant = Plant(tmp_path)
    plant.write([reading("a", NOON_US)])
    take_in(plant)
    write_long_ago(plant, "b")
    assert take_in(plant).accepted == 1
    assert list(plant.store.list("ledger/listing/")) == []


def test_what_a_queue_tells_of_is_looked_at_wherever_it_lies(plant):
    plant.write([reading("a", NOON_US)])
    take_in(plant)
    told = write_long_ago(plant, "b")
    write_long_ago(plant, "c", "older")
    assert take_in(plant, first={told, "raw/fans/telemetry/gone"}).accepted == 1
    assert devices(plant) == ["a", "b"]


def test_a_replay_is_taken_in_wherever_it_puts_its_objects(plant):
    spoilt = plant.hub.write_telemetry("spoilt", NOON_US - 9 * DAY_US, [reading("b", NOON_US - 9 * DAY_US, -1.0)])
    plant.write([reading("a", NOON_US)])
    assert take_in(plant).quarantined == 1
    assert take_in(plant) == IngestSummary()
    keys = replay(plant.store, "fans", "00000001").keys
    assert keys[0].rpartition("/")[0] == spoilt.rpartition("/")[0]
    assert take_in(plant).quarantined == 1  # judged anew; nobody has changed the contract
    assert take_in(plant) == IngestSummary()
    assert [batch.name for batch in quarantine.batches(plant.store, "fans")] == ["00000002"]


def test_a_ledger_that_was_lost_costs_a_full_listing(plant, store):
    write_long_ago(plant, "b")
    plant.write([reading("a", NOON_US)])
    take_in(plant)
    for entry in list(store.list("ledger/objects/")):
        store.delete(entry.key)
    assert take_in(plant).duplicates == 2


def test_an_object_that_came_damaged_is_tried_again_and_stops_nobody(plant, store):
    old = write_long_ago(plant, "b")
    plant.write([reading("a", NOON_US)])
    store.lies = {old}
    warnings: list[str] = []
    assert take_in(plant, warn=warnings.append) == IngestSummary(objects=2, records=1, accepted=1, batches=1, damaged=1)
    assert [old in warning for warning in warnings] == [True]
    assert list(quarantine.batches(plant.store, "fans")) == []
    assert take_in(plant, warn=warnings.append) == IngestSummary(damaged=1)  # no batch, so no commit
    assert [old in warning for warning in warnings] == [True, True]
    store.lies = set()
    store.fetched.clear()
    assert take_in(plant).accepted == 1
    assert store.fetched.count(old) == 1
    assert take_in(plant) == IngestSummary()
    assert devices(plant) == ["a", "b"]


def test_objects_that_are_whole_again_and_do_not_fit_in_memory_are_fetched_when_their_batch_is_read(
    plant, store, monkeypatch
):
    first, second = (write_long_ago(plant, device, device) for device in "bc")
    store.lies = {first, second}
    take_in(plant)
    store.lies = set()
    store.fetched.clear()
    monkeypatch.setattr("pipelines.batches._KEPT_BYTES", len(store.get(first)))
    store.fetched.clear()
    assert take_in(plant).accepted == 2
    assert [store.fetched.count(key) for key in (first, second)] == [1, 2]
    assert devices(plant) == ["b", "c"]


def test_an_object_that_comes_damaged_when_it_was_written_again_keeps_what_it_gave(plant, store):
    key = plant.write([reading("a", NOON_US)], name="growing")
    take_in(plant)
    plant.write([reading("a", NOON_US), reading("b", NOON_US)], name="growing")
    store.lies = {key}
    assert take_in(plant).replaced == 0
    assert devices(plant) == ["a"]
    store.lies = set()
    assert take_in(plant).accepted == 1
    assert devices(plant) == ["a", "b"]


def test_what_the_mapping_excludes_is_neither_planned_nor_read(plant, store):
    kept = plant.write([reading("a", NOON_US)])
    for name in ("processing-failed", "half.tmp"):
        plant.write([reading("b", NOON_US)], name=name)
    plant.hub.write_events("processing-failed", NOON_US, [{"device": "a", "ts": 1, "kind": "failure", "known_at": 1}])
    summary = take_in(plant, CHOOSY)
    assert (summary.excluded, summary.objects, summary.events) == (2, 2, 1)
    assert [key for key in store.fetched if key.startswith("raw/fans/telemetry/")] == [kept]
    assert take_in(plant, CHOOSY) == IngestSummary(excluded=2)
    assert take_in(plant, FANS).accepted == 1


@pytest.mark.parametrize("summed_up", [1, 64])
def test_a_copy_in_an_object_that_comes_damaged_is_taken_up_once_it_can_be_read(plant, store, monkeypatch, summed_up):
    monkeypatch.setattr("pipelines.ledger._SUM_UP_EVERY", summed_up)
    plant.write([reading("a", NOON_US, 1.0, NOON_US)], name="one")
    two = plant.write([reading("a", NOON_US, 2.0, NOON_US + 1000)], name="two")
    assert take_in(plant).superseded == 1
    plant.write([reading("b", NOON_US)], name="one")
    store.lies = {two}
    warnings: list[str] = []
    summary = take_in(plant, warn=warnings.append)
    assert (summary.objects, summary.replaced, summary.restored, summary.damaged) == (1, 1, 0, 1)
    assert [two in warning for warning in warnings] == [True]
    assert devices(plant) == ["b"]
    assert take_in(plant).damaged == 1
    store.lies = set()
    assert take_in(plant).accepted == 1
    assert plant.rows()["speed"].to_pylist() == [2.0, 1000.0]
    assert take_in(plant) == IngestSummary()
