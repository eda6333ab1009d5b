import pytest

from serving.errors import StoreUnreachableError
from serving.probe import unsafe_because
from serving.store import FolderStore
from tests.fakes.stores import MemoryStore, RacyStore


def test_honest_stores_pass_and_keep_nothing_of_it(tmp_path):
    for store in (MemoryStore(), FolderStore(tmp_path)):
        assert unsafe_because(store) == ""
        assert list(store.list("")) == []


def test_a_store_that_looks_before_it_writes_is_found_out():
    store = RacyStore()
    assert "concurrent conditional writers of one key were told that they won" in unsafe_because(store)
    assert store.objects == {}


class _Forgetful(MemoryStore):
    """Tells the truth about who won and keeps what the last one wrote."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        won = super().put_if_absent(key, data)
        if not won:
            self.put(key, data)
        return won


class _Deaf(MemoryStore):
    """Ignores the condition once the race is over."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return super().put_if_absent(key, data) or data == b"late"


@pytest.mark.parametrize(("store", "reason"), [(_Forgetful(), "by one who lost"), (_Deaf(), "had been there before")])
def test_other_ways_to_cheat_are_found_out(store, reason):
    assert reason in unsafe_because(store)


def test_a_store_that_does_not_answer_is_an_error_not_a_verdict():
    store = MemoryStore()
    store.reachable = False
    with pytest.raises(StoreUnreachableError):
        unsafe_because(store)
