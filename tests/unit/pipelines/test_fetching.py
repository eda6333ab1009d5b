import threading
import time

import pytest

from pipelines.fetching import DISK, REMOTE, Manner, fetched
from serving.errors import DamagedObjectError, MissingObjectError, StoreUnreachableError
from serving.store import Entry, Fetched
from tests.fakes.stores import Lying, MemoryStore


class Counting(MemoryStore):
    """Tells how many bytes were read that nobody took yet, and how many readers there were at once."""

    def __init__(self, objects: dict[str, bytes], *, endpoint: bool = False) -> None:
        super().__init__(objects)
        if endpoint:
            self.endpoint = "http://plant.example"
        self.guard = threading.Lock()
        self.ahead = self.most_ahead = self.reading = self.most_reading = 0

    def fetch(self, key: str) -> Fetched:
        with self.guard:
            self.reading += 1
            self.most_reading = max(self.most_reading, self.reading)
        time.sleep(0.002)
        found = super().fetch(key)
        with self.guard:
            self.reading -= 1
            self.ahead += len(found.data)
            self.most_ahead = max(self.most_ahead, self.ahead)
        return found


def test_objects_come_in_order_several_at_a_time_and_a_bounded_number_of_bytes_ahead():
    store = Counting({f"{number:03d}": b"x" * 1000 for number in range(100)})
    seen = []
    for source, found in fetched(store, list(store.list("")), Manner(8, 10_000, 32)):
        assert isinstance(found, Fetched)
        seen.append(source.key)
        with store.guard:
            store.ahead -= len(found.data)
    assert seen == sorted(store.objects)
    assert 1 < store.most_reading <= 8
    assert store.most_ahead <= 11_000


def test_an_object_larger_than_the_bound_is_read_alone():
    store = Counting({"a": b"x" * 10, "b": b"x" * 1000, "c": b"x" * 10})
    read = fetched(store, list(store.list("")), Manner(4, 100, 32))
    sizes = [len(found.data) for _, found in read if isinstance(found, Fetched)]
    assert sizes == [10, 1000, 10]


def test_an_error_that_concerns_one_object_alone_stands_in_its_place():
    store = Lying({"a": b"1", "b": b"2", "c": b"3"}, lies={"b"})
    sources = [Entry(key, 1, "", 0) for key in ("a", "b", "gone", "c")]
    found = dict(fetched(store, sources))
    assert [type(each) for each in found.values()] == [Fetched, DamagedObjectError, MissingObjectError, Fetched]


def test_a_service_is_asked_for_many_single_objects_and_a_disk_for_a_few_runs_of_them():
    objects = {f"{number:04d}": b"x" * 100 for number in range(300)}
    disk, service = Counting(objects), Counting(objects, endpoint=True)
    for store in (disk, service):
        assert len(list(fetched(store, list(store.list(""))))) == 300
    assert disk.most_reading <= DISK.threads < service.most_reading <= REMOTE.threads


def test_a_store_that_fails_ends_it_with_its_error():
    store = MemoryStore({"a": b"1"})
    sources = list(store.list(""))
    store.reachable = False
    with pytest.raises(StoreUnreachableError):
        list(fetched(store, sources))
