import json

import pytest

from serving import evidence
from tests.fakes.gatherings import USECASE, Gathering
from tests.fakes.stores import MemoryStore

NOW = 1_790_000_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    plant = Gathering(tmp_path_factory.mktemp("plant"), NOW)
    plant.monitor(NOW)
    return plant.store


def test_what_monitoring_wrote_is_read(store):
    found = evidence.monitoring(store, USECASE)
    assert found is not None
    assert (found.version, found.windows, found.drifted) == ("1", 18_234, ("vibration_mean_6h",))
    assert found.moved == (("vibration_mean_6h", 0.31), ("current_std_24h", 0.07))
    assert found.beside == (("share of failures caught", 0.818, 0.9), ("false alarms per device and week", 0.25, None))
    decided = evidence.retraining(store, USECASE)
    assert decided is not None
    assert not decided.retrain
    assert decided.brakes == ("trained 5 days ago, it rests for 14 days",)
    rival = evidence.challenger(store, USECASE)
    assert rival is not None
    assert (rival.version, rival.champion, rival.agreement) == ("3", "1", 0.973)
    assert rival.examples == (("pump-017", 0.31, 0.84),)


def test_before_anything_was_written_nothing_is_known():
    store = MemoryStore()
    assert evidence.monitoring(store, USECASE) is None
    assert evidence.retraining(store, USECASE) is None
    assert evidence.challenger(store, USECASE) is None


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"null", b'{"summary": 3, "versions": {"a": 1}}'])
def test_files_of_another_kind_are_no_reason_to_fail(content):
    store = MemoryStore()
    for folder in ("reports/monitoring", "ledger/retraining", "reports/shadow"):
        store.put(f"{folder}/{USECASE}/2026-11-26.json", content)
    seen = (evidence.monitoring, evidence.retraining, evidence.challenger)
    for found in (look(store, USECASE) for look in seen):
        assert found is None or found.key.endswith("2026-11-26.json")


def test_fields_of_another_type_are_not_known():
    store = MemoryStore()
    wrong = {"made_at_us": "today", "agreement": "much", "gain_interval": [1], "examples": "none", "windows": True}
    store.put(f"reports/shadow/{USECASE}/9.json", json.dumps(wrong).encode())
    found = evidence.challenger(store, USECASE)
    assert found is not None
    assert (found.made_at_us, found.agreement, found.gain_interval, found.windows) == (0, None, None, None)


def test_the_file_that_says_it_is_the_newest_counts():
    store = MemoryStore()
    for name, decided_at_us in (("2026-11-25", 5), ("2026-11-26", 7)):
        fields = {"decided_at_us": decided_at_us, "retrain": True, "sentence": name}
        store.put(f"ledger/retraining/{USECASE}/{name}.json", json.dumps(fields).encode())
    found = evidence.retraining(store, USECASE)
    assert found is not None
    assert found.sentence == "2026-11-26"


def test_a_device_is_one_example_however_many_of_its_windows_differ():
    store = MemoryStore()
    apart = [("pump-1", 0.9, 0.0), ("pump-2", 0.8, 0.1), ("pump-2", 0.7, 0.1), ("pump-3", 0.6, 0.2)]
    examples = [{"device": device, "champion": ours, "challenger": theirs} for device, ours, theirs in apart]
    store.put("reports/shadow/pump_failure/3.json", json.dumps({"made_at_us": 1, "examples": examples}).encode())
    found = evidence.challenger(store, "pump_failure")
    assert found is not None
    assert found.examples == (apart[0], apart[1], apart[3])


def test_a_measure_is_named_with_its_unit():
    store = MemoryStore()
    beside = [{"title": "warning, median", "unit": "h", "live": 14.0, "offline": None}]
    report = {"made_at_us": 1, "summary": {"version": "1"}, "versions": [{"version": "1", "beside": beside}]}
    store.put(f"reports/monitoring/{USECASE}/2026-11-26.json", json.dumps(report).encode())
    found = evidence.monitoring(store, USECASE)
    assert found is not None
    assert found.beside == (("warning, median, h", 14.0, None),)
