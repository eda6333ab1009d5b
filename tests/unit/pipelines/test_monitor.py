import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import LedgerError
from pipelines.lake import Lake
from pipelines.ledger import Ledger
from pipelines.monitor import monitor
from pipelines.past import Intent, Source
from pipelines.predictions import load_predictions
from pipelines.watched import present
from serving.store import open_store
from tests.fakes import watched
from tests.fakes.predictions import DAY, HOUR, NOW, PUMPS, START, USECASE, a_fortnight, prediction, publish, send


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path / "store"), create=True)
    publish(store)
    return store


@pytest.fixture
def lake(store):
    return Lake(store.uri)


def hear_of(lake, events, until_us=NOW):
    rows = [{"device": d, "time": t, "kind": "failure", "detail": "", "known_at": t + HOUR} for d, t in events]
    table = lake.events("pumps")
    table.create().append(pa.Table.from_pylist(rows, table.layout.schema), transaction=("test", 1))
    reading = {"date": f"{datetime.fromtimestamp(until_us / 1e6, UTC):%Y-%m-%d}", "device": "pump-0", "time": until_us}
    reading |= {"received": until_us, "batch": 1}
    table = lake.telemetry("pumps")
    table.create().append(pa.Table.from_pylist([reading], table.layout.schema), transaction=("test", 1))


def test_each_prediction_is_loaded_once_however_often_it_is_sent(tmp_path, store, lake):
    first = [prediction("pump-1", START + hour * HOUR) for hour in range(5)]
    send(tmp_path, store, first)
    assert load_predictions(store, lake, "pump_failure", NOW).new == 5
    assert load_predictions(store, lake, "pump_failure", NOW).objects == 0
    send(tmp_path, store, [*first[3:], prediction("pump-1", START + 9 * HOUR)])
    again = load_predictions(store, lake, "pump_failure", NOW)
    assert (again.new, again.duplicates) == (1, 2)
    assert len(lake.predictions("pump_failure").open().read(["id"])) == 6


def test_a_run_that_was_killed_after_its_plan_is_done_again_and_one_after_its_commit_is_not(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START)])
    entry = next(iter(store.list("predictions/pump_failure/")))
    ledger = Ledger(store, "ledger/predictions/pump_failure")
    ledger.plan(Intent(1, (Source(entry.key, entry.etag, entry.size),), NOW))
    assert load_predictions(store, lake, "pump_failure", NOW).new == 1
    store.delete("ledger/predictions/pump_failure/00000001.done.json")
    assert load_predictions(store, lake, "pump_failure", NOW).objects == 0
    assert lake.predictions("pump_failure").open().transaction("predictions") == 1


def test_a_damaged_plan_stops_the_run(store, lake):
    store.put("ledger/predictions/pump_failure/00000001.json", b"{")
    with pytest.raises(LedgerError):
        load_predictions(store, lake, "pump_failure", NOW)


def test_an_object_that_is_no_log_is_counted_and_named_and_hurts_nobody(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START)])
    store.put("predictions/pump_failure/gateway/site-1/2026-03-02/broken.jsonl.gz", b"\x1f\x8bnot gzip")
    loaded = load_predictions(store, lake, "pump_failure", NOW)
    assert (loaded.new, loaded.unreadable) == (1, 1)
    done = json.loads(store.get("ledger/predictions/pump_failure/00000001.done.json"))
    assert done["unreadable_objects"] == ["predictions/pump_failure/gateway/site-1/2026-03-02/broken.jsonl.gz"]


def test_of_two_records_of_one_prediction_the_first_counts(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START, predicted_at_us=START + second) for second in (9, 5, 7)])
    loaded = load_predictions(store, lake, "pump_failure", NOW)
    assert (loaded.new, loaded.duplicates) == (1, 2)
    assert lake.predictions("pump_failure").open().read(["predicted_at"])["predicted_at"].to_pylist() == [START + 5]


def test_a_log_of_another_use_case_is_not_taken_in(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START)])
    (entry,) = store.list("predictions/pump_failure/")
    store.put("predictions/machine_failure/gateway/site-1/2026-03-02/misplaced.jsonl.gz", store.get(entry.key))
    loaded = load_predictions(store, lake, "machine_failure", NOW)
    assert (loaded.new, loaded.unreadable) == (0, 1)


def test_only_the_latest_four_weeks_are_looked_at(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START + day * DAY) for day in (0, 1, 2, 3, 29)])
    assert monitor(store, lake, USECASE, NOW).windows == 3


@pytest.mark.parametrize(("days", "told"), [(13, False), (21, True)])
def test_scores_are_compared_with_the_first_week_of_the_version(tmp_path, store, lake, days, told):
    rows = [
        prediction(pump, START + hour * HOUR, score=0.1 + 0.5 * (hour > 7 * 24) + 0.01 * (hour % 10))
        for pump in PUMPS
        for hour in range(0, days * 24 + 1, 3)
    ]
    send(tmp_path, store, rows)
    summary = monitor(store, lake, USECASE, NOW)
    assert (summary.score_index is not None) == told
    assert any("scores moved far" in reason for reason in summary.reasons) == told


@pytest.mark.parametrize(("low", "far"), [(0.0, False), (0.8, True)])
def test_scores_are_compared_with_those_of_the_test_from_the_first_day_on(tmp_path, store, lake, low, far):
    digest, random = watched.publish(store, watched.remembering()), np.random.default_rng(8)
    rows = [
        prediction(pump, START + minute * 60_000_000, digest=digest, score=random.uniform(low, 1.0))
        for pump in PUMPS
        for minute in range(0, 24 * 60, 15)
    ]
    send(tmp_path, store, rows)
    summary = monitor(store, lake, USECASE, NOW)
    assert summary.score_index is not None
    assert summary.score_distance is not None
    assert (summary.score_index > 0.25, summary.score_distance > 0.5) == (far, far)
    assert any("scores moved far" in reason for reason in summary.reasons) == far
    assert not any("first week" in note for note in summary.notes)


def test_missing_features_come_back_as_missing(tmp_path, store, lake):
    values = np.arange(len(USECASE.features.names), dtype=float)
    values[1] = np.nan
    send(tmp_path, store, [prediction("pump-1", START, features=values)])
    load_predictions(store, lake, "pump_failure", NOW)
    assert lake.predictions("pump_failure").open().read(["features"])["features"][0].as_py()[:3] == [0.0, None, 2.0]


def test_without_predictions_there_is_nothing_to_decide(store, lake):
    summary = monitor(store, lake, USECASE, NOW)
    assert (summary.version, summary.windows, summary.retrain) == ("", 0, False)
    assert json.loads(store.get(summary.report))["versions"] == []


def test_quality_counts_windows_by_alert_and_outcome(tmp_path, store, lake):
    def at(hour, **alert):
        return prediction("pump-1", START + hour * HOUR, **alert)

    # The failure at hour 30 is foretold by ends from hour 6 to 29.
    calm_windows = [at(0), at(1), at(2), at(3, alert=True)]
    send(tmp_path, store, [*calm_windows, at(10, alert=True), at(20), at(29, alert=True)])
    hear_of(lake, [("pump-1", START + 30 * HOUR)])
    summary = monitor(store, lake, USECASE, NOW)
    assert summary.quality == {
        "tp": 2, "fp": 1, "fn": 1, "tn": 3, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3,
    }  # fmt: skip
    assert (summary.judged, summary.headline, summary.joined_share) == (1, "1/1 failures caught", 1.0)
    days = json.loads(store.get(summary.report))["versions"][0]["days"]
    assert [(day["date"], day["quality"]["tp"], day["quality"]["fn"]) for day in days] == [
        ("2026-03-02", 1, 1),
        ("2026-03-03", 1, 0),
    ]


def test_outcomes_that_cannot_be_known_yet_are_not_counted_as_calm(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START + hour * HOUR) for hour in (1, 40)])
    hear_of(lake, [], until_us=START + 41 * HOUR)
    summary = monitor(store, lake, USECASE, NOW)
    assert summary.joined_share == 0.5
    assert summary.quality["tn"] == 1


def test_the_present_is_the_latest_reading_but_never_after_the_clock(lake):
    assert present(lake, USECASE, NOW) == NOW
    hear_of(lake, [], until_us=START)
    assert present(lake, USECASE, NOW) == START
    assert present(lake, USECASE, START - DAY) == START - DAY


def test_a_window_counts_once_although_gateway_and_server_both_predicted_it(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START, placement=place) for place in ("gateway", "cloud")])
    assert monitor(store, lake, USECASE, NOW).windows == 1


def test_the_version_that_predicted_last_is_judged_and_earlier_ones_are_reported(tmp_path, store, lake):
    old = [prediction("pump-1", START + hour * HOUR, version="1", digest="sha256:" + "0" * 64) for hour in range(3)]
    send(tmp_path, store, [*old, prediction("pump-1", START + DAY, version="2")])
    summary = monitor(store, lake, USECASE, NOW)
    assert (summary.version, summary.windows) == ("2", 1)
    reported = json.loads(store.get(summary.report))["versions"]
    assert [(each["version"], each["windows"], len(each["features"])) for each in reported] == [
        ("1", 3, 0),
        ("2", 1, len(USECASE.features.names)),
    ]


def test_calm_inputs_keep_the_model(tmp_path, store, lake):
    send(tmp_path, store, a_fortnight(np.random.default_rng(1)))
    summary = monitor(store, lake, USECASE, NOW)
    assert (summary.windows, summary.devices, summary.drifted) == (672, 6, [])
    assert not summary.retrain


def test_moved_inputs_ask_for_a_new_model_once_and_the_cool_down_holds_back_the_next(tmp_path, store, lake):
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    summary = monitor(store, lake, USECASE, NOW)
    assert summary.retrain
    assert len(summary.drifted) == summary.features == len(USECASE.features.names)
    assert json.loads(store.get(summary.decision))["reasons"] == summary.reasons
    assert monitor(store, lake, USECASE, NOW + HOUR).retrain, "the same day's decision is repeated"
    tomorrow = monitor(store, lake, USECASE, NOW + DAY)
    assert tomorrow.reasons
    assert not tomorrow.retrain
    assert tomorrow.brakes == ["a new model was asked for 1 day ago and has not come yet, 2 days have to pass"]
    assert monitor(store, lake, USECASE, NOW + 2 * DAY).retrain, "the training failed, so it is asked for again"


def test_a_decision_to_keep_the_model_starts_no_cool_down(tmp_path, store, lake):
    assert not monitor(store, lake, USECASE, NOW).retrain
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    assert monitor(store, lake, USECASE, NOW + DAY).retrain


def test_missed_failures_ask_for_a_new_model(tmp_path, store, lake):
    send(tmp_path, store, a_fortnight(np.random.default_rng(1)))
    hear_of(lake, [(device, START + 5 * DAY) for device in PUMPS])
    summary = monitor(store, lake, USECASE, NOW)
    assert "share of failures caught 0, at least 0.6 is demanded" in summary.reasons
    assert summary.retrain


def test_a_decision_is_never_rewritten(tmp_path, store, lake):
    first = monitor(store, lake, USECASE, NOW)
    written = store.get(first.decision)
    send(tmp_path, store, a_fortnight(np.random.default_rng(1), shift=8.0))
    assert monitor(store, lake, USECASE, NOW + HOUR).retrain
    assert store.get(first.decision) == written
