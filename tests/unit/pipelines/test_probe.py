import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipelines.probe
from pipelines.errors import UnsafeStoreError
from pipelines.probe import (
    GOOD_FOR_US,
    VERDICT,
    Finding,
    probe,
    remember,
    require_several_writers,
    verdict,
)
from serving.errors import StoreDeniedError, StoreUnreachableError
from serving.store import PART_BYTES, Entry, Fetched, FolderStore, Store, open_store
from tests.fakes.stores import MemoryStore, RacyStore

NOW_US = 1_790_000_000_000_000


def now_us() -> int:
    return time.time_ns() // 1000


def findings(store: Store) -> dict[str, Finding]:
    return {finding.check: finding for finding in probe(store, now_us)}


def test_a_folder_passes_and_nothing_stays_behind(tmp_path: Path):
    store = FolderStore(tmp_path)
    assert [finding.verdict for finding in probe(store, now_us)] == ["ok"] * 5
    assert not list(store.list(""))


def test_a_store_that_looks_before_it_writes_is_caught():
    found = findings(RacyStore())["conditional writes"]
    assert found.verdict == "fail"
    assert "told that they won" in found.sentence
    assert found.fix


def test_a_read_only_store_fails_the_first_check_and_no_more_is_tried():
    (found,) = probe(open_store("http://127.0.0.1:9/"), now_us)
    assert (found.check, found.verdict) == ("rights", "fail")
    assert found.sentence.startswith("cannot write")


class Limited(MemoryStore):
    """A store whose service grants only some of the rights, each by itself."""

    endpoint = "http://plant.example"

    def __init__(self, *rights: str) -> None:
        super().__init__()
        self.rights = rights

    def _need(self, right: str, key: str) -> None:
        if right not in self.rights:
            raise StoreDeniedError("the service refuses this", where=key, why="AccessDenied")

    def fetch(self, key: str) -> Fetched:
        self._need("read", key)
        return super().fetch(key)

    def put(self, key: str, data: bytes) -> None:
        self._need("write", key)
        super().put(key, data)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        self._need("list", prefix)
        return super().list(prefix, after)

    def delete(self, key: str) -> None:
        self._need("delete", key)
        super().delete(key)


RIGHTS = {"write": "s3:PutObject", "read": "s3:GetObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject"}


@pytest.mark.parametrize("count", range(4))
def test_missing_rights_are_told_from_those_there_are(count):
    for given in itertools.combinations(RIGHTS, count):
        missing = [right for right in RIGHTS if right not in given]
        (found,) = probe(Limited(*given), now_us)
        told = f"cannot {', '.join(missing)} (the service refuses this: AccessDenied); can"
        assert found.sentence == f"{told} {', '.join(given) or 'nothing'}"
        assert found.fix.endswith(", ".join(RIGHTS[right] for right in missing))


class Lagging(MemoryStore):
    """Lists a new object only when it is asked a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        if prefix.endswith("/") and prefix not in self.asked:
            self.asked.add(prefix)
            return iter(())
        return super().list(prefix, after)


class Unordered(MemoryStore):
    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        return reversed(list(super().list(prefix, after)))


class Forgetful(MemoryStore):
    """Cannot go on after a key."""

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        return super().list(prefix)


class Unchanging(MemoryStore):
    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        return (Entry(e.key, e.size, "same", e.modified_us) for e in super().list(prefix, after))


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        (Lagging(), "just written"),
        (Unordered(), "in order"),
        (Forgetful(), "continued"),
        (Unchanging(), "looks the same"),
    ],
)
def test_a_listing_that_lies_is_caught(store, sentence):
    found = findings(store)["listing"]
    assert found.verdict == "fail"
    assert sentence in found.sentence


class Garbling(MemoryStore):
    """Cannot put the parts of a large object together."""

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data[:PART_BYTES] if len(data) > PART_BYTES else data)


def test_a_large_object_that_comes_back_different_is_caught():
    found = findings(Garbling())["large objects"]
    assert (found.verdict, found.sentence) == ("fail", "an object in parts came back different")


def test_the_verdict_is_one_sentence(tmp_path: Path):
    assert verdict(probe(FolderStore(tmp_path), now_us)) == "this store is safe for several writers"
    told = verdict(probe(RacyStore(), now_us))
    assert told.startswith("one writer at a time only, because")
    assert "told that they won" in told
    assert verdict(probe(Limited("read"), now_us)).startswith("this store cannot be worked with, because cannot write")


class RemoteRacy(RacyStore):
    endpoint = "http://careless.example"


class RemoteStore(MemoryStore):
    endpoint = "http://careful.example"


def test_several_writers_are_refused_where_the_store_cheats_and_each_time():
    store = RemoteRacy()
    for _ in range(2):
        with pytest.raises(UnsafeStoreError, match="told that they won") as caught:
            require_several_writers(store, NOW_US)
        assert "--single-writer" in caught.value.fix
    assert json.loads(store.get(VERDICT))["safe"] is False


def test_a_good_verdict_is_asked_for_once_a_month_and_place(monkeypatch):
    store = RemoteStore()
    raced: list[Store] = []

    def found_safe(asked: Store, **_: int) -> str:
        raced.append(asked)
        return ""

    monkeypatch.setattr(pipelines.probe, "unsafe_because", found_safe)
    for now_us, races in ((NOW_US, 1), (NOW_US + 1, 1), (NOW_US + GOOD_FOR_US, 2), (NOW_US, 3)):
        require_several_writers(store, now_us)
        assert len(raced) == races
    store.endpoint = "http://moved.example"
    require_several_writers(store, NOW_US)
    assert len(raced) == 4
    store.put(VERDICT, b"{")
    require_several_writers(store, NOW_US)
    assert len(raced) == 5


def test_a_bad_verdict_replaces_a_good_one():
    store = RemoteRacy()
    store.put(VERDICT, json.dumps({"endpoint": store.endpoint, "probed_us": NOW_US, "safe": True}).encode())
    require_several_writers(store, NOW_US)
    remember(store, probe(store, now_us), NOW_US)
    with pytest.raises(UnsafeStoreError):
        require_several_writers(store, NOW_US)


def test_a_folder_needs_no_verdict(tmp_path: Path):
    require_several_writers(FolderStore(tmp_path), NOW_US)
    assert not list(tmp_path.iterdir())


def test_a_clock_that_is_off_is_a_warning_with_the_difference(tmp_path: Path):
    found = probe(FolderStore(tmp_path), lambda: now_us() + 90_000_000)[-1]
    assert (found.check, found.verdict) == ("clock", "warn")
    assert "s apart" in found.sentence
    assert any(f"{seconds} s" in found.sentence for seconds in (88, 89, 90))


def test_a_stamp_in_whole_seconds_is_no_difference(tmp_path: Path):
    class Coarse(FolderStore):
        def put(self, key: str, data: bytes) -> None:
            super().put(key, data)
            path = self.root / key
            os.utime(path, (int(path.stat().st_mtime),) * 2)

    assert probe(Coarse(tmp_path), now_us)[-1].verdict == "ok"


def test_a_store_that_stops_answering_midway_is_a_finding():
    class Failing(MemoryStore):
        calls = itertools.count()

        def put(self, key: str, data: bytes) -> None:
            if next(self.calls):
                raise StoreUnreachableError("the store does not answer", where=key, fix="wait")
            super().put(key, data)

    found = findings(Failing())["listing"]
    assert (found.verdict, found.sentence, found.fix) == ("fail", "the store does not answer", "wait")
