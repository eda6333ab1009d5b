import json

import numpy as np
import pytest

from pipelines.lake import Lake
from pipelines.monitor import monitor
from serving.approval import GateRecord, write_gate
from serving.store import open_store
from tests.fakes.predictions import DAY, DIGEST, HOUR, NOW, START, USECASE, prediction, publish, send
from tests.fakes.watched import hear_of

KNOWN_AFTER = 36 * HOUR  # the horizon, and the shift after which failures are written down


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path / "store"), create=True)
    publish(store)
    return store


@pytest.fixture
def lake(store):
    return Lake(store.uri)


def rows(lake):
    read = lake.outcomes("pump_failure").open().read(["id", "label", "known_at", "joined_at"]).sort_by("joined_at")
    return [tuple(row.values()) for row in read.to_pylist()]


def test_outcomes_are_joined_by_id_once_each_as_they_become_known(tmp_path, store, lake):
    early, late = prediction("pump-1", START), prediction("pump-1", START + 2 * DAY)
    send(tmp_path, store, [early, late])
    hear_of(lake, [], until_us=START + 2 * DAY)
    assert monitor(store, lake, USECASE, START + 2 * DAY).joined == 1
    assert rows(lake) == [(early.id, 0.0, START + KNOWN_AFTER, START + 2 * DAY)]
    assert monitor(store, lake, USECASE, START + 2 * DAY + HOUR).joined == 0
    hear_of(lake, [], until_us=START + 5 * DAY)
    assert monitor(store, lake, USECASE, START + 5 * DAY).joined == 1
    assert [row[0] for row in rows(lake)] == [early.id, late.id]


def test_both_predictions_of_a_window_get_the_outcome(tmp_path, store, lake):
    twice = [prediction("pump-1", START, placement=place) for place in ("gateway", "cloud")]
    send(tmp_path, store, twice)
    hear_of(lake, [("pump-1", START + 5 * HOUR)], until_us=START + 5 * DAY)
    summary = monitor(store, lake, USECASE, NOW)
    assert (summary.windows, summary.joined) == (1, 2)
    assert {(row[0], row[1]) for row in rows(lake)} == {(each.id, 1.0) for each in twice}


def test_a_failure_that_is_written_down_late_changes_an_outcome_and_keeps_the_first(tmp_path, store, lake):
    one = prediction("pump-1", START)
    send(tmp_path, store, [one])
    hear_of(lake, [], until_us=START + 3 * DAY)
    monitor(store, lake, USECASE, START + 3 * DAY)
    hear_of(lake, [("pump-1", START + 5 * HOUR)], until_us=START + 9 * DAY, late_us=7 * DAY)
    assert monitor(store, lake, USECASE, START + 9 * DAY).joined == 1
    assert [(row[1], row[3]) for row in rows(lake)] == [(0.0, START + 3 * DAY), (1.0, START + 9 * DAY)]
    assert rows(lake)[1][2] == START + 5 * HOUR + 7 * DAY


def test_the_delay_of_labels_is_that_of_the_news(tmp_path, store, lake):
    send(tmp_path, store, [prediction(f"pump-{number}", START) for number in range(3)])
    hear_of(lake, [("pump-1", START + 5 * HOUR), ("pump-2", START + 5 * HOUR)], late_us=100 * HOUR)
    assert monitor(store, lake, USECASE, NOW).label_delay_hours == 105.0


def test_quality_is_told_by_what_was_known_at_the_end_of_each_week(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START + day * DAY, alert=day == 20) for day in range(0, 28, 2)])
    hear_of(lake, [("pump-1", START + 20 * DAY + 5 * HOUR)], until_us=START + 28 * DAY, late_us=5 * DAY)
    summary = monitor(store, lake, USECASE, START + 28 * DAY)
    weeks = json.loads(store.get(summary.report))["versions"][0]["as_of"]
    assert [(week["date"], week["windows"], week["figures"]["caught"]) for week in weeks] == [
        ("2026-03-09", 4, 0),
        ("2026-03-16", 8, 0),
        ("2026-03-23", 11, 0),
        ("2026-03-30", 14, 1),
    ]
    assert [week["joined_share"] < 1 for week in weeks] == [True, True, True, False]


def test_a_monitor_of_a_former_day_knows_what_was_known_then(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START + day * DAY, alert=day == 20) for day in range(0, 28, 2)])
    hear_of(lake, [("pump-1", START + 20 * DAY + 5 * HOUR)], until_us=START + 28 * DAY, late_us=5 * DAY)
    before, after = (monitor(store, lake, USECASE, START + day * DAY) for day in (22, 28))
    assert (before.windows, before.figures["caught"]) == (12, 0)
    assert (after.windows, after.figures["caught"]) == (14, 1)


def test_live_figures_stand_beside_those_of_the_gate_under_the_same_names(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START, alert=True)])
    hear_of(lake, [("pump-1", START + 5 * HOUR)])
    judged = dict.fromkeys(("precision", "recall", "f1", "average_precision", "roc_auc", "brier"), 0.5)
    counts = {"windows": 100, "positives": 10, "failures": 4, "caught": 3, "false_alarms": 2, "device_weeks": 8.0}
    evidence = {"metrics": {**judged, **counts, "leads": [5.0, 7.0, 20.0]}}
    write_gate(store, GateRecord("pump_failure", DIGEST, passed=True, reasons=(), decided_at_us=1, evidence=evidence))
    summary = monitor(store, lake, USECASE, NOW)
    assert (summary.figures["caught_share"], summary.offline["caught_share"]) == (1.0, 0.75)
    assert summary.offline["lead_time_hours_median"] == 7.0
    version = json.loads(store.get(summary.report))["versions"][0]
    figures = version["figures"]
    assert [(each["title"], each["live"], each["offline"]) for each in version["beside"]][1] == (
        "share of failures caught",
        1.0,
        0.75,
    )
    assert figures["caught_share"] == {"live": 1.0, "offline": 0.75}
    assert set(summary.figures) == set(summary.offline)


def test_without_a_gate_record_there_is_no_figure_beside(tmp_path, store, lake):
    send(tmp_path, store, [prediction("pump-1", START, features=np.zeros(len(USECASE.features.names)))])
    assert monitor(store, lake, USECASE, NOW).offline == {}
