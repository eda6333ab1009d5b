import json
from dataclasses import replace

import numpy as np
import pytest

from pipelines.decisions import decision_key
from pipelines.lake import Lake
from pipelines.monitor import monitor
from serving import evidence
from serving.approval import GateRecord, write_gate
from serving.store import open_store
from tests.fakes.predictions import DAY, DIGEST, HOUR, NOW, START, USECASE, a_fortnight, publish, send

FIELDS = {
    "format", "usecase", "date", "decided_at_us", "version", "bundle", "retrain", "reasons", "brakes", "sentence",
    "evidence", "report",
}  # fmt: skip
EVIDENCE = {
    "windows", "devices", "joined_share", "judged", "counted", "figures", "features", "drifted", "score", "worst_slice",
    "findings",
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path / "store"), create=True)
    publish(store)
    return store


def decided(store, now_us=NOW):
    return json.loads(store.get(decision_key("pump_failure", now_us)))


def test_a_no_is_stored_with_everything_it_rests_on(store):
    monitor(store, Lake(store.uri), USECASE, NOW)
    found = decided(store)
    assert set(found) == FIELDS
    assert set(found["evidence"]) == EVIDENCE
    assert (found["format"], found["retrain"], found["version"], found["usecase"]) == (1, False, "", "pump_failure")
    assert found["brakes"] == [
        "0 windows are too few to tell, 500 are needed",
        "0 devices are too few to tell, 5 are needed",
    ]
    assert store.get(found["report"])


def test_a_yes_is_stored_with_what_moved_how_far_and_on_how_many_values(tmp_path, store):
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    monitor(store, Lake(store.uri), USECASE, NOW)
    found = decided(store)
    assert set(found) == FIELDS
    assert (found["retrain"], found["bundle"], found["decided_at_us"]) == (True, DIGEST, NOW)
    moved = found["evidence"]["drifted"]
    assert len(moved) == found["evidence"]["features"]
    assert set(moved[0]) == {"name", "index", "distance", "values"}
    assert moved[0]["values"] == 336
    assert moved[0]["distance"] > 1


def test_what_was_decided_later_brakes_nothing_that_is_told_of_a_former_day(tmp_path, store):
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    assert monitor(store, Lake(store.uri), USECASE, NOW).retrain
    before = monitor(store, Lake(store.uri), USECASE, START + 15 * DAY + HOUR)
    assert (before.retrain, before.brakes) == (True, [])


def test_a_decision_from_before_the_format_still_counts(tmp_path, store):
    former = {
        "decided_at_us": NOW - 2 * DAY,
        "retrain": True,
        "reasons": ["x"],
        "brakes": [],
        "sentence": "train anew: x",
    }
    store.put(decision_key("pump_failure", NOW - 2 * DAY), json.dumps(former).encode())
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    assert monitor(store, Lake(store.uri), USECASE, NOW).brakes == [
        "a new model was asked for 2 days ago, 7 days have to pass"
    ]


def test_the_fleet_page_finds_what_moved_and_what_was_decided(tmp_path, store):
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    summary = monitor(store, Lake(store.uri), USECASE, NOW)
    shown, told = evidence.monitoring(store, "pump_failure"), evidence.retraining(store, "pump_failure")
    assert shown is not None
    assert told is not None
    assert [name for name, _ in shown.moved] == summary.drifted[:5]
    assert (shown.windows, shown.drifted, told.sentence) == (672, tuple(summary.drifted), summary.sentence)


def test_a_yes_that_a_training_followed_wakes_no_second_one_on_the_same_day(tmp_path, store):
    lake = Lake(store.uri)
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    first = monitor(store, lake, USECASE, NOW)
    judged = GateRecord("pump_failure", f"sha256:{'7' * 64}", passed=True, reasons=(), decided_at_us=NOW + HOUR)
    for other in (replace(judged, usecase="engine_life"), replace(judged, decided_at_us=NOW - HOUR)):
        write_gate(store, other)
        assert monitor(store, lake, USECASE, NOW + 2 * HOUR).retrain
    write_gate(store, judged)
    again = monitor(store, lake, USECASE, NOW + 2 * HOUR)
    assert (first.retrain, again.retrain) == (True, False)
    assert again.brakes == ["a new model was asked for less than a day ago, 7 days have to pass"]
    assert again.decision == first.decision.replace(".json", ".later.json")
    assert decided(store)["retrain"], "what was decided first stays as it was"
    assert monitor(store, lake, USECASE, NOW + 3 * HOUR).decision == again.decision
    told = evidence.retraining(store, "pump_failure")
    assert told is not None
    assert (told.retrain, told.brakes) == (False, tuple(again.brakes))
