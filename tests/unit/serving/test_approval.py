"""Gate records: what is read back, and what is not believed."""

import json

import pytest

from serving.approval import GateRecord, gate_key, read_gate, write_gate
from serving.errors import GateRecordError
from tests.fakes.stores import MemoryStore

DIGEST = f"sha256:{'ab' * 32}"
FIELDS = {"usecase": "fan_failure", "digest": DIGEST, "passed": True, "reasons": [], "decided_at_us": 5}


def test_a_record_comes_back_with_its_evidence_and_its_name():
    store = MemoryStore()
    record = GateRecord("fan_failure", DIGEST, False, ("recall 0.4 is below 0.6",), 5, {"recall": 0.4})
    write_gate(store, record)
    found = read_gate(store, DIGEST)
    assert found == record
    assert found is not None
    assert found.file_digest.startswith("sha256:")
    assert list(store.objects) == [f"ledger/gates/{'ab' * 32}.json"]


def test_judging_again_replaces_the_record():
    store = MemoryStore()
    write_gate(store, GateRecord("fan_failure", DIGEST, False, ("no",), 5))
    write_gate(store, GateRecord("fan_failure", DIGEST, True, (), 6))
    found = read_gate(store, DIGEST)
    assert found is not None
    assert found.passed


def test_evidence_cannot_overrule_the_decision():
    store = MemoryStore()
    write_gate(store, GateRecord("fan_failure", DIGEST, False, ("no",), 5, {"passed": True}))
    found = read_gate(store, DIGEST)
    assert found is not None
    assert not found.passed


def test_no_record_is_none():
    assert read_gate(MemoryStore(), DIGEST) is None


UNBELIEVABLE = {
    "cut": b'{"usecase":',
    "not an object": b"[]",
    "null": b"null",
    "a missing field": {name: value for name, value in FIELDS.items() if name != "passed"},
    "a decision in quotes": FIELDS | {"passed": "false"},
    "a decision as a number": FIELDS | {"passed": 1},
    "a time as text": FIELDS | {"decided_at_us": "5"},
    "reasons as text": FIELDS | {"reasons": "none"},
    "a reason that is no text": FIELDS | {"reasons": [1]},
    "another bundle": FIELDS | {"digest": f"sha256:{'cd' * 32}"},
}


@pytest.mark.parametrize("content", UNBELIEVABLE.values(), ids=UNBELIEVABLE.keys())
def test_a_damaged_record_is_not_believed(content):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(GateRecordError, match="gate record"):
        read_gate(MemoryStore({gate_key(DIGEST): data}), DIGEST)


@pytest.mark.parametrize("digest", ["", "ab" * 32, "sha256:ab", f"sha256:{'AB' * 32}", f"sha256:{'../' * 21}a"])
def test_only_digests_lead_to_a_key(digest):
    with pytest.raises(GateRecordError):
        gate_key(digest)
