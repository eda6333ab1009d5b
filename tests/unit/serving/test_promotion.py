"""The promotion ledger: a chain that shows what was changed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from serving.errors import LedgerError
from serving.promotion import Promotion, PromotionLedger
from tests.fakes.seal import SecretSeal
from tests.fakes.stores import MemoryStore

FOLDER = "ledger/promotions/fan_failure/"
ENTRY = Promotion("fan_failure", 5, "released", 1, "", "1", "sha256:aa", "sha256:bb", "")


@pytest.fixture
def store():
    made = MemoryStore()
    ledger = PromotionLedger(made, "fan_failure", SecretSeal())
    for number in (1, 2, 3):
        assert ledger.append(ledger.last(), replace(ENTRY, number=number, to_version=str(number)))
    return made


def test_entries_come_back_in_order_each_naming_the_one_before(store):
    entries = PromotionLedger(store, "fan_failure").entries()
    assert [(entry.sequence, entry.number) for entry in entries] == [(1, 1), (2, 2), (3, 3)]
    assert entries[0].previous == ""
    assert len({entry.previous for entry in entries}) == 3
    assert PromotionLedger(store, "fan_failure").last() == entries[-1]
    assert list(store.objects) == [f"{FOLDER}0000000{number}.json" for number in (1, 2, 3)]


def test_of_two_writers_one_wins(store):
    ledger = PromotionLedger(store, "fan_failure", SecretSeal())
    last = ledger.last()
    assert ledger.append(last, replace(ENTRY, number=4))
    assert not ledger.append(last, replace(ENTRY, number=5))
    assert [entry.number for entry in ledger.entries()] == [1, 2, 3, 4]


def test_use_cases_have_ledgers_of_their_own(store):
    assert PromotionLedger(store, "fan").last() is None
    assert PromotionLedger(store, "other").entries() == []


@pytest.mark.parametrize("name", ["..", "a/b", "My Model", "ä", "a\\b", "%2E"])
def test_whatever_a_model_is_called_its_ledger_stays_in_its_place(name):
    store = MemoryStore()
    ledger = PromotionLedger(store, name, SecretSeal())
    assert ledger.append(None, replace(ENTRY, usecase=name))
    assert [entry.usecase for entry in ledger.entries()] == [name]
    (key,) = store.objects
    assert key.startswith("ledger/promotions/")
    assert key.count("/") == 3


def rewrite(store: MemoryStore, **changes: Any) -> None:
    key = f"{FOLDER}00000002.json"
    store.put(key, replace(Promotion.from_bytes(store.get(key)), **changes).to_bytes())


CHANGES: dict[str, Callable[[MemoryStore], object]] = {
    "a changed reason": lambda store: rewrite(store, reason="all was well"),
    "a changed version": lambda store: rewrite(store, to_version="9"),
    "a changed link": lambda store: rewrite(store, previous="sha256:00"),
    "a removed entry": lambda store: store.delete(f"{FOLDER}00000002.json"),
    "a removed beginning": lambda store: store.delete(f"{FOLDER}00000001.json"),
    "a moved entry": lambda store: store.put(f"{FOLDER}00000002.json", store.get(f"{FOLDER}00000003.json")),
    "a foreign file": lambda store: store.put(f"{FOLDER}note.txt", b"hello"),
    "a cut entry": lambda store: store.put(f"{FOLDER}00000002.json", b"{"),
    "an entry of a newer format": lambda store: store.put(f"{FOLDER}00000002.json", b'{"format":2}'),
    "another spelling": lambda store: store.put(f"{FOLDER}00000002.json", store.get(f"{FOLDER}00000002.json") + b"\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_noticed(store, change):
    change(store)
    with pytest.raises(LedgerError, match="ledger"):
        PromotionLedger(store, "fan_failure").entries()


@pytest.mark.parametrize("change", ["a removed beginning", "a removed entry", "a foreign file"])
def test_the_newest_entry_is_not_looked_for_in_a_ledger_with_gaps(store, change):
    CHANGES[change](store)
    with pytest.raises(LedgerError, match="gap"):
        PromotionLedger(store, "fan_failure").last()


def test_the_newest_entry_must_be_in_its_own_place(store):
    store.put(f"{FOLDER}00000003.json", store.get(f"{FOLDER}00000002.json"))
    with pytest.raises(LedgerError, match="another's place"):
        PromotionLedger(store, "fan_failure").last()


def test_the_error_names_the_changed_file(store):
    rewrite(store, reason="all was well")
    with pytest.raises(LedgerError, match=r"00000002\.json"):
        PromotionLedger(store, "fan_failure").entries()
