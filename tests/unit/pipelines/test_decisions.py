import json
from dataclasses import replace

import numpy as np
import pytest

from pipelines.decisions import asked, decide_once
from pipelines.lake import Lake
from pipelines.monitor import monitor
from pipelines.predictionlog import read_log
from pipelines.retraining import Decision
from pipelines.watched import events_of, watched_versions
from serving import evidence
from serving.approval import GateRecord, write_gate
from serving.retraining import Trained, decision_key, record_training
from serving.store import open_store
from tests.fakes.predictions import (
    DAY,
    DIGEST,
    HOUR,
    NOW,
    PUMPS,
    START,
    USECASE,
    a_fortnight,
    prediction,
    publish,
    send,
)
from tests.fakes.stores import MemoryStore
from tests.fakes.watched import hear_of

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
        "decided_at_us": NOW - DAY,
        "retrain": True,
        "reasons": ["x"],
        "brakes": [],
        "sentence": "train anew: x",
    }
    store.put(decision_key("pump_failure", NOW - DAY), json.dumps(former).encode())
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    assert monitor(store, Lake(store.uri), USECASE, NOW).brakes == [
        "a new model was asked for 1 day ago and has not come yet, 2 days have to pass"
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
    digest = f"sha256:{'7' * 64}"
    write_gate(store, GateRecord("pump_failure", digest, passed=True, reasons=(), decided_at_us=NOW + HOUR))
    assert monitor(store, lake, USECASE, NOW + 2 * HOUR).retrain, "it was judged, but has become no version"
    trained = Trained("pump_failure", "4", digest, passed=True, reasons=(), decided_at_us=NOW + HOUR)
    for other in (
        replace(trained, usecase="engine_life"),
        *(replace(trained, decided_at_us=NOW - at) for at in (0, 1)),
    ):
        record_training(store, other)
        assert monitor(store, lake, USECASE, NOW + 2 * HOUR).retrain
    record_training(store, trained)
    again = monitor(store, lake, USECASE, NOW + 2 * HOUR)
    assert (first.retrain, again.retrain) == (True, False)
    assert again.brakes == ["a new model was asked for less than a day ago, 7 days have to pass"]
    assert again.decision == first.decision.replace(".json", ".2.json")
    assert decided(store)["retrain"], "what was decided first stays as it was"
    assert monitor(store, lake, USECASE, NOW + 3 * HOUR).decision == again.decision
    told = evidence.retraining(store, "pump_failure")
    assert told is not None
    assert (told.retrain, told.brakes) == (False, tuple(again.brakes))


def keys(store):
    return [entry.key.rpartition("/")[2] for entry in store.list("ledger/retraining/pump_failure/")]


def test_a_no_is_reconsidered_as_soon_as_labels_say_something_else(tmp_path, store):
    lake = Lake(store.uri)
    send(tmp_path, store, a_fortnight(np.random.default_rng(1)))
    hear_of(lake, [], until_us=NOW - HOUR)
    first = monitor(store, lake, USECASE, NOW)
    assert not first.retrain
    hear_of(lake, [(device, START + 5 * DAY) for device in PUMPS], until_us=NOW - HOUR)
    noon = monitor(store, lake, USECASE, NOW + 8 * HOUR)
    assert (noon.retrain, noon.decision) == (True, first.decision.replace(".json", ".2.json"))
    assert not decided(store)["retrain"], "what was decided first stays as it was"
    assert monitor(store, lake, USECASE, NOW + 9 * HOUR).decision == noon.decision
    told = evidence.retraining(store, "pump_failure")
    assert told is not None
    assert told.key == noon.decision


def test_the_same_telemetry_labels_and_log_give_the_same_evidence_whenever_and_in_whatever_order_they_came(tmp_path):
    found, scores = [], []
    again = [
        prediction(device, START + hour * HOUR, alert=hour % 2 == 0, instance="site-2", id=f"{device}-{hour}")
        for device in PUMPS
        for hour in range(0, 14 * 24, 3)
    ]
    sent = [*a_fortnight(np.random.default_rng(1)), *again]
    for name, ordered in (("forth", sent), ("back", sent[::-1])):
        store = open_store(str(tmp_path / name), create=True)
        publish(store)
        send(tmp_path / f"{name}-spool", store, ordered)
        lake = Lake(store.uri)
        hear_of(lake, [(device, START + 5 * DAY) for device in PUMPS[:2]], until_us=NOW - HOUR)
        for later in (0, HOUR, 20 * HOUR):
            monitor(store, lake, USECASE, NOW + later)
            assert keys(store) == [f"{decided(store)['date']}.json"]
        found.append(decided(store))
        log = read_log(lake, "pump_failure", NOW)
        for rows in (log.rows, log.rows.take(list(reversed(range(len(log.rows)))))):
            (watched,) = watched_versions(store, replace(log, rows=rows), USECASE, events_of(lake, USECASE), NOW)
            scores.append(watched.score.tolist())
    assert found[0]["evidence"]["judged"] == 2
    assert found[0] == found[1]
    assert scores == scores[:1] * 4, "of two answers of one moment always the same one counts"


def test_all_of_a_day_are_found_and_told_in_their_order():
    store = MemoryStore()
    for number in range(1, 13):
        made = {"usecase": "pump_failure", "decided_at_us": NOW + number, "evidence": {"windows": number}}
        wanted = Decision(retrain=False, brakes=[f"no {number}"])
        assert decide_once(store, wanted, made)[0] == decision_key("pump_failure", NOW, number)
        assert decide_once(store, wanted, made | {"decided_at_us": NOW + HOUR})[1] == wanted
    assert len(store.writes) == 12
    told = evidence.retraining(store, "pump_failure")
    assert told is not None
    assert told.brakes == ("no 12",)


def test_of_a_month_every_yes_counts_however_many_were_decided_on_a_day():
    store = MemoryStore()
    for day in range(40):
        for number in range(1, 12):
            at = NOW + day * DAY + number
            made = {"decided_at_us": at, "retrain": number == 1 and day % 10 == 9}
            store.put(decision_key("pump_failure", at, number), json.dumps(made).encode())
    last = NOW + 39 * DAY + HOUR
    found = asked(store, "pump_failure", last - 30 * DAY, last)
    assert [each.at_us for each in found] == [NOW + day * DAY + 1 for day in (19, 29, 39)]
    before = asked(store, "pump_failure", NOW, last - DAY)
    assert [each.at_us for each in before] == [NOW + day * DAY + 1 for day in (9, 19, 29)]
    assert not any(each.come for each in found)
    record_training(store, Trained("pump_failure", "4", DIGEST, True, (), NOW + 30 * DAY))
    assert [each.come for each in asked(store, "pump_failure", NOW, last)] == [True, True, True, False]


def test_of_two_who_decide_at_once_the_first_is_right():
    class Slow(MemoryStore):
        def put_if_absent(self, key, data):
            if not self.writes:
                self.put(key, json.dumps(made | {"retrain": True, "reasons": ["x"], "brakes": []}).encode())
            return super().put_if_absent(key, data)

    made = {"usecase": "pump_failure", "decided_at_us": NOW, "evidence": {}}
    key, decision = decide_once(Slow(), Decision(retrain=False), made)
    assert (key, decision) == (decision_key("pump_failure", NOW), Decision(retrain=True, reasons=["x"]))


def test_objects_of_another_name_are_no_decisions(store):
    for name in ("2026-04-11.later.json", "2026-04-11.1.json", "2026-04-11.02.json", "notes.txt"):
        store.put(f"ledger/retraining/pump_failure/{name}", b"{")
    assert evidence.retraining(store, "pump_failure") is None
    assert monitor(store, Lake(store.uri), USECASE, NOW).decision.endswith("/2026-04-11.json")
