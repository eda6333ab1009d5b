"""The ledgers of retraining: the order of decisions, and which training counts as the latest."""

import pytest

from serving.retraining import Trained, decision_key, decision_keys, record_training, trained_since
from tests.fakes.stores import MemoryStore

DAY = 86_400_000_000
NOW = 1_790_000_000_000_000
MADE = Trained("fan_failure", "7", f"sha256:{'ab' * 32}", passed=False, reasons=("too few",), decided_at_us=NOW)


def test_decisions_are_in_the_order_in_which_they_were_made():
    store, keys = MemoryStore(), []
    for day in (0, 1):
        keys += [decision_key("fan_failure", NOW + day * DAY, number) for number in range(1, 12)]
    for key in [*sorted(keys), decision_key("fan_failure_2", NOW)]:
        store.put(key, b"{}")
    assert decision_keys(store, "fan_failure") == keys
    assert decision_keys(store, "fan_failure", NOW, NOW) == keys[:11]
    assert decision_keys(store, "fan_failure", NOW + DAY) == keys[11:]


def test_the_latest_training_after_a_moment_is_found_and_names_its_version():
    store = MemoryStore()
    for at, version in ((NOW - 5, "5"), (NOW, "7"), (NOW + 5, "9")):
        record_training(store, Trained("fan_failure", version, MADE.digest, MADE.passed, MADE.reasons, at))
    found = [trained_since(store, "fan_failure", since) for since in (NOW - 6, NOW - 5, NOW, NOW + 5)]
    assert [each and each.version for each in found] == ["9", "9", "9", None]
    store.delete(list(store.objects)[-1])
    assert trained_since(store, "fan_failure", NOW - 5) == MADE
    assert trained_since(store, "fan", 0) is None


def test_a_training_is_found_whatever_the_clock_of_the_store_says():
    store = MemoryStore()
    for _ in range(2):
        record_training(store, MADE)
    (entry,) = store.list("ledger/trainings/")
    assert entry.modified_us < NOW - DAY
    assert trained_since(store, "fan_failure", NOW - 1) == MADE


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b'{"version": "7"}', b'{"reasons": 3}'])
def test_what_cannot_be_read_hides_no_training_before_it(content):
    store = MemoryStore()
    record_training(store, MADE)
    store.put(f"ledger/trainings/fan_failure/{NOW + 1:016d}-abababababab.json", content)
    assert trained_since(store, "fan_failure", NOW - 1) == MADE
