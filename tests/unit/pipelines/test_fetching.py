import threading
import time

import pytest

from pipelines.fetching import fetched
from serving.errors import StoreUnreachableError
from serving.store import Entry, Fetched
from tests.fakes.stores import MemoryStore


class Counting(MemoryStore):
    """Tells how many bytes were read that nobody took yet, and how many readers there were at once."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(objects)
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
    for source, found in fetched(store, list(store.list("")), threads=8, most_bytes=10_000):
        assert found is not None
        seen.append(source.key)
        with store.guard:
            store.ahead -= len(found.data)
    assert seen == sorted(store.objects)
    assert 1 < store.most_reading <= 8
    assert store.most_ahead <= 11_000


def test_an_object_larger_than_the_bound_is_read_alone():
    store = Counting({"a": b"x" * 10, "b": b"x" * 1000, "c": b"x" * 10})
    sizes = [len(found.data) for _, found in fetched(store, list(store.list("")), most_bytes=100) if found]
    assert sizes == [10, 1000, 10]


def test_an_object_that_is_gone_is_none():
    store = MemoryStore({"a": b"1"})
    sources = [Entry("a", 1, "", 0), Entry("gone", 1, "", 0)]
    assert [found and found.data for _, found in fetched(store, sources)] == [b"1", None]


def test_a_store_that_fails_ends_it_with_its_error():
    store = MemoryStore({"a": b"1"})
    sources = list(store.list(""))
    store.reachable = False
    with pytest.raises(StoreUnreachableError):
        list(fetched(store, sources))
