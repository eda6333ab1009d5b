import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from features.catalog import load
from pipelines.lake import Lake
from pipelines.monitor import monitor
from pipelines.rules import GateRules
from serving import evidence
from serving.bundle import unpack
from serving.store import open_store
from tests.fakes.challenged import ChallengedRegistry
from tests.fakes.predictions import DAY, HOUR, NOW, PUMPS, START, USECASE, prediction, send
from tests.fakes.watched import NAMES, append, hear_of, leaning, publish, remembering

FAILURES = [(pump, START + 5 * DAY + number * HOUR) for number, pump in enumerate(PUMPS[:4])]
EARLY = START + DAY + 11 * HOUR  # before any outcome is known
CHAMPION, CHALLENGER = remembering(), leaning()
FEATURES = [f for f in USECASE.features.features if f.name != NAMES[-1]]


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"), create=True)


@pytest.fixture
def lake(store):
    return Lake(store.uri)


@pytest.fixture
def registry():
    registry = ChallengedRegistry(CHAMPION, CHALLENGER)
    registry.aliases = {"champion": "1", "challenger": "2"}
    return registry


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One comparison with outcomes, by a measure that people count in: intervals take a second."""
    folder = tmp_path_factory.mktemp("compared")
    store = open_store(str(folder / "store"), create=True)
    registry = ChallengedRegistry(CHAMPION, CHALLENGER)
    registry.aliases = {"champion": "1", "challenger": "2"}
    rows = lived(folder, store, Lake(store.uri))
    usecase = replace(USECASE, gate=GateRules(compared_by="caught_share"))
    return rows, *shadow(store, Lake(store.uri), registry, usecase), registry


def lived(tmp_path, store, lake, *, alert=False, days=10):
    """Ten days of six pumps, of which four fail; their first feature is high before. The champion says one thing."""
    digest, random, due = publish(store, CHAMPION), np.random.default_rng(2), dict(FAILURES)
    rows = []
    for pump in PUMPS:
        for end in range(START + HOUR, START + days * DAY, 6 * HOUR):
            features = random.uniform(0, 1, len(NAMES))
            features[0] = 9.0 if 0 < due.get(pump, 0) - end < DAY else 1.0
            said = {"alert": alert, "score": random.uniform(0.0, 0.3)}
            rows.append(prediction(pump, end, digest=digest, version="1", features=features, **said))
    send(tmp_path, store, rows)
    hear_of(lake, FAILURES)
    return rows


def shadow(store, lake, registry, usecase=USECASE, now_us=NOW):
    summary = monitor(store, lake, usecase, now_us, registry=registry)
    key = summary.shadow.report
    return summary, json.loads(store.get(key)) if key else {}


def test_a_challenger_answers_the_very_windows_of_the_champion(compared):
    rows, summary, found, _ = compared
    alerting = [row for row in rows if row.features[0] > 5]
    assert (found["windows"], found["devices"], found["left_out"]) == (len(rows), 6, 0)
    assert found["agreement"] == pytest.approx(1 - len(alerting) / len(rows))
    assert (found["champion"]["alerts"], found["challenger"]["alerts"]) == (0, len(alerting))
    assert found["challenger"]["devices"] == 4
    assert (found["judged"], found["counted"]) == (4, "failures")
    assert (found["champion"]["headline"], found["challenger"]["headline"]) == (
        "0/4 failures caught",
        "4/4 failures caught",
    )
    assert "they agree on 93.8% of 240 windows; 4/4 failures caught" in summary.shadow.sentence
    assert summary.shadow.report == "reports/shadow/pump_failure/2.json"


def test_figures_and_the_gain_have_intervals_of_the_same_draws(compared):
    found = compared[2]
    assert found["measure"] == "caught_share"
    assert (found["gain"], found["gain_interval"]) == (1.0, [1.0, 1.0])
    assert found["challenger"]["intervals"]["caught_share"] == [1.0, 1.0]
    low, high = found["agreement_interval"]
    assert low < found["agreement"] < high


def test_examples_are_those_furthest_apart_and_ten_at_most(compared):
    examples = compared[2]["examples"]
    assert len(examples) == 10
    apart = [abs(each["champion"] - each["challenger"]) for each in examples]
    assert apart == sorted(apart, reverse=True) != apart[::-1]
    assert all(each["challenger"] > 0.9 and not each["champion_alerts"] and each["outcome"] == 1.0 for each in examples)


def test_windows_that_the_challenger_learned_from_are_not_looked_at(tmp_path, store, lake, registry):
    rows = lived(tmp_path, store, lake)
    registry.bundles[1] = leaning(until=START + DAY)
    _, found = shadow(store, lake, registry, now_us=EARLY)
    assert found["windows"] == sum(START + DAY < row.window_end_us <= EARLY for row in rows) > 0


def test_a_challenger_that_knows_everything_so_far_has_to_wait(tmp_path, store, lake, registry):
    lived(tmp_path, store, lake)
    registry.bundles[1] = leaning(until=NOW)
    summary, found = shadow(store, lake, registry)
    assert (found["windows"], found["agreement"], found["gain"]) == (0, None, None)
    assert summary.shadow.sentence == "version 2 in the shadow: no window yet that it has not learned from"


def test_without_outcomes_it_compares_alerts_and_judges_nothing(tmp_path, store, lake, registry):
    rows = lived(tmp_path, store, lake, days=2)
    summary, found = shadow(store, lake, registry, now_us=EARLY)
    assert (found["joined"], found["judged"], found["gain"], found["challenger"]["figures"]) == (0, 0, None, {})
    assert found["windows"] == sum(row.window_end_us <= EARLY for row in rows)
    assert "no outcome to judge by yet" in summary.shadow.sentence


def test_other_features_are_taken_from_their_table_and_gaps_are_counted(tmp_path, store, lake, registry):
    rows = [row for row in lived(tmp_path, store, lake) if row.window_end_us <= EARLY]
    fewer = replace(load("pumps").features, features=tuple(FEATURES))
    registry.bundles[1] = remembering(features=fewer, weights=np.eye(len(FEATURES))[0], bias=-5.0)
    kept = rows[: len(rows) // 2]
    table = lake.features(fewer)
    columns = {"date": "2026-03-02", "device": "", "end": 0}
    told = [
        {**columns, "device": row.device, "end": row.window_end_us, **dict(zip(NAMES[:-1], row.features, strict=False))}
        for row in kept[::-1]
    ]
    append(table, pa.Table.from_pylist(told, table.layout.schema))
    _, found = shadow(store, lake, registry, now_us=EARLY)
    assert (found["windows"], found["left_out"]) == (len(kept), len(rows) - len(kept))
    assert found["challenger"]["alerts"] == sum(row.features[0] > 5 for row in kept)


def test_the_engineer_is_told_in_the_version_and_never_twice(tmp_path, store, lake, registry):
    lived(tmp_path, store, lake)
    shadow(store, lake, registry, now_us=EARLY)
    once = registry.descriptions[1]
    shadow(store, lake, registry, now_us=EARLY)
    assert registry.descriptions[1] == once
    assert once.startswith("Passed.\n\n<!-- shadow -->\n### In the shadow of version 1, 2026-03-03 11:00 UTC")
    assert "Not promoted: the use case leaves it to people." in once
    assert registry.descriptions[0] == "Passed."


def test_figures_of_both_stand_side_by_side_and_leave_room_in_the_description(compared):
    told = compared[3].descriptions[1]
    assert "| alerting windows | 0 | 15 |" in told
    assert "| caught share | 0 (0 to 0) | 1 (1 to 1) |" in told
    assert len(told) < 2_500


def test_there_is_no_shadow_without_a_challenger_or_of_itself(tmp_path, store, lake, registry):
    lived(tmp_path, store, lake)
    registry.aliases = {"champion": "1"}
    assert shadow(store, lake, registry, now_us=EARLY)[0].shadow.version == ""
    registry.aliases = {"champion": "1", "challenger": "1"}
    summary = shadow(store, lake, registry, now_us=EARLY)[0]
    assert (summary.shadow.sentence, summary.shadow.report) == ("version 1 is challenger and predicts already", "")


@pytest.mark.parametrize("trouble", ["down", "by hand", "damaged"])
def test_trouble_with_the_challenger_is_told_and_takes_nothing_from_the_decision(
    tmp_path, store, lake, registry, trouble
):
    lived(tmp_path, store, lake)
    registry.down = trouble == "down"
    registry.bundles[1] = {"down": CHALLENGER, "by hand": None, "damaged": CHALLENGER[:-9]}[trouble]
    summary, _ = shadow(store, lake, registry)
    assert store.get(summary.decision)
    assert any(note.startswith("no challenger was compared: ") for note in summary.notes)
    assert json.loads(store.get(summary.report))["notes"] == summary.notes


def test_nobody_is_asked_before_anything_was_predicted(store, lake, registry):
    registry.down = True
    assert monitor(store, lake, USECASE, NOW, registry=registry).notes == []


def test_scores_are_those_of_the_predictor_that_would_serve(compared):
    example = compared[2]["examples"][0]
    assert example["challenger"] == pytest.approx(1 / (1 + np.exp(-4.0)), abs=1e-6)
    assert unpack(CHALLENGER).manifest.threshold == 0.5


def test_the_fleet_page_finds_the_comparison(compared, tmp_path):
    summary, found = compared[1:3]
    store = open_store(str(tmp_path), create=True)
    store.put(summary.shadow.report, json.dumps(found).encode())
    shown = evidence.challenger(store, "pump_failure")
    assert shown is not None
    assert (shown.version, shown.champion, shown.windows, shown.judged) == ("2", "1", 240, 4)
    assert (shown.gain, shown.gain_interval) == (1.0, (1.0, 1.0))
    assert shown.headlines == ("4/4 failures caught", "0/4 failures caught")
    assert sorted(device for device, *_ in shown.examples) == [f"pump-{number}" for number in range(4)]
