import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.probe import Finding, probe
from serving.errors import StoreDeniedError, StoreUnreachableError
from serving.store import Entry, FolderStore, Store, open_store
from tests.fakes.stores import MemoryStore, RacyStore


def now_us() -> int:
    return time.time_ns() // 1000


def findings(store: Store) -> dict[str, Finding]:
    return {finding.check: finding for finding in probe(store, now_us)}


def test_a_folder_passes_and_nothing_stays_behind(tmp_path: Path):
    store = FolderStore(tmp_path)
    assert [finding.verdict for finding in probe(store, now_us)] == ["ok"] * 4
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


class Undeletable(MemoryStore):
    def delete(self, key: str) -> None:
        raise StoreDeniedError("the service refuses this", where=key, why="AccessDenied")


def test_a_missing_right_is_named():
    (found,) = probe(Undeletable(), now_us)
    assert found.sentence == "cannot delete: the service refuses this: AccessDenied"


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
