import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Asset
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction

from dags import assets, materialize, monitor, train
from dags.command import flags
from dags.schedules import TIMINGS
from features import catalog
from pipelines import usecases

NAMES = ["approve", "ingest", "materialize", "metrics", "monitor", "release", "train", "upkeep"]
DAGS = Path(__file__).resolve().parents[3] / "dags"
HEAVY = ("boto3", "deltalake", "mlflow", "onnxruntime", "pandas", "pyarrow", "scipy", "sklearn", "tuf")


@pytest.fixture(scope="module")
def bag():
    return DagBag(str(DAGS))


@pytest.fixture(params=NAMES)
def dag(request, bag):
    return bag.dags[request.param]


def test_every_file_is_parsed_and_nothing_else_is_taken_for_one(bag):
    assert bag.import_errors == {}
    assert sorted(bag.dags) == NAMES == sorted(TIMINGS)


def test_a_dag_tells_people_what_it_does(dag):
    # Airflow draws paragraphs without a space between them, so each has a heading.
    headings = [line for line in dag.doc_md.splitlines() if line.startswith("#### ")]
    assert headings[:3] == ["#### What", "#### When", "#### In and out"]
    assert headings[-1] == "#### If it fails"
    assert "\n\n" not in dag.doc_md
    assert 4 <= len(dag.doc_md.strip().splitlines()) - len(headings) <= 12
    assert dag.description
    assert dag.dag_display_name != dag.dag_id
    assert {"tidemill"} < dag.tags
    assert dag.owner == "tidemill"
    assert dag.owner_links["tidemill"].startswith("http")


def test_a_dag_never_runs_twice_at_once_and_never_catches_up(dag):
    assert (dag.max_active_runs, dag.catchup) == ({"approve": 16, "release": 4}.get(dag.dag_id, 1), False)
    if dag.dag_id == "release":
        assert dag.get_task("release").max_active_tis_per_dag == 1


def test_a_form_has_few_fields_in_sight_and_every_field_explains_itself(dag):
    schemas = [dag.params.get_param(name) for name in dag.params]
    assert sum("section" not in param.schema for param in schemas) <= 6
    assert all(param.description and param.schema["title"] for param in schemas)


def test_what_is_optional_in_a_form_may_be_left_empty(dag):
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.value is not None or "null" in param.schema["type"], name
        param.resolve()


def test_tasks_follow_each_other_as_told(bag):
    order = {
        name: {task.task_id: sorted(task.downstream_task_ids) for task in bag.dags[name].tasks} for name in bag.dags
    }
    # Mapped tasks also depend on the task that says over what they are mapped.
    assert order == {
        "ingest": {"check_parameters": ["ingest", "materialize"], "ingest": ["materialize"], "materialize": []},
        "materialize": {
            "check_parameters": ["behind", "ends"],
            "behind": ["plan"],
            "plan": ["runs"],
            "runs": ["panes"],
            "panes": ["rows"],
            "ends": ["rows"],
            "rows": [],
        },
        "metrics": {"metrics": []},
        "train": {
            "check_parameters": ["divide", "materialize", "trainings"],
            "divide": ["search"],
            "trainings": ["train"],
            "materialize": ["search"],
            "search": ["train"],
            "train": [],
        },
        "release": {
            "release": ["later", "questions"],
            "questions": ["ask"],
            "ask": [],
            "later": ["look_again"],
            "look_again": [],
        },
        "approve": {
            "check_parameters": ["ask"],
            "ask": ["answered"],
            "answered": ["keep"],
            "keep": ["wake"],
            "wake": [],
        },
        "monitor": {"check_parameters": ["decide", "monitor"], "monitor": ["decide"], "decide": []},
        "upkeep": {"check_parameters": ["upkeep"], "upkeep": [], "ledger": ["sound"], "sound": [], "verify": []},
    }


def test_only_steps_that_can_be_repeated_are_repeated(bag):
    retries = {f"{name}.{task.task_id}": task.retries for name, dag in bag.dags.items() for task in dag.tasks}
    assert {name for name, count in retries.items() if count} == {
        "ingest.ingest",
        "ingest.materialize",
        "materialize.plan",
        "materialize.panes",
        "materialize.rows",
        "train.materialize",
        "train.search",
        "train.train",
        "release.release",
        "release.ask",
        "release.look_again",
        "approve.keep",
        "monitor.monitor",
        "upkeep.upkeep",
        "upkeep.ledger",
        "upkeep.verify",
    }


def test_every_fleet_and_use_case_is_in_the_forms(bag):
    assert bag.dags["ingest"].params.get_param("fleet").schema["enum"] == [None, *catalog.names()]
    assert bag.dags["train"].params.get_param("usecase").schema["enum"] == usecases.names()
    assert bag.dags["train"].params.get_param("estimator").schema["enum"] == [
        None,
        usecases.AUTOMATIC,
        *usecases.ESTIMATORS,
    ]


def test_a_moved_alias_wakes_the_release_and_a_decision_wakes_the_training(bag):
    def awaited(name):
        condition = bag.dags[name].timetable.asset_condition
        return sorted(asset.name for asset in getattr(condition, "objects", [condition]))

    assert awaited("release") == ["registry.champions"]
    assert awaited("train") == [f"retrain.{name}" for name in usecases.names()]


def test_each_run_of_dates_in_a_plan_becomes_one_call_of_the_command():
    plans = [{"fleet": "pumps", "runs": ["2026-01-05..2026-01-11", "2026-01-12"]}, {"fleet": "ai4i", "runs": []}]
    made = materialize.panes_of(plans, {"engine": "local", "master": None})
    assert [call["words"] for call in made] == [["materialize", "pumps"]] * 2
    assert [flags(call["options"]) for call in made] == [
        ["--stage=panes", "--dates=2026-01-05..2026-01-11", "--engine=local"],
        ["--stage=panes", "--dates=2026-01-12", "--engine=local"],
    ]


def test_days_that_are_asked_for_are_made_again_in_one_call_without_a_plan():
    params = {"engine": "local", "master": None}
    behind = [{"words": ["materialize", "pumps"], "options": {}}]
    again = [{"words": ["materialize", "pumps"], "options": {"since": "2026-01-01", "until": "2026-02-01"}}]
    assert [flags(call["options"]) for call in materialize.plans(behind, params)] == [
        ["--stage=plan", "--engine=local"]
    ]
    assert [flags(call["options"]) for call in materialize.last_calls(behind, params)] == [
        ["--stage=rows", "--engine=local"]
    ]
    assert materialize.plans(again, params) == []
    assert materialize.last_calls(again, params) == again


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("backfill", {"since": "2026-01-31", "until": "2026-02-01"}), ("scheduled", {}), ("manual", {})],
)
def test_only_a_run_of_a_backfill_stands_for_a_day(kind, expected):
    run = SimpleNamespace(run_type=kind, logical_date=datetime(2026, 1, 31, tzinfo=UTC))
    context: Any = {"dag_run": run}
    assert materialize.backfilled(context) == expected


def test_a_month_of_a_backfill_is_a_run_for_each_of_its_days(bag):
    timetable = decode_timetable(encode_timetable(bag.dags["materialize"].timetable))
    within = TimeRestriction(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC), catchup=True)
    days, interval = [], None
    while info := timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=within):
        days.append(info.logical_date.date().isoformat())
        interval = info.data_interval
    assert days == [f"2026-01-{day:02d}" for day in range(1, 32)]


def test_metrics_are_written_only_where_a_file_is_named(bag, tmp_path, monkeypatch):
    assert not bag.dags["metrics"].timetable.can_be_scheduled
    monkeypatch.setenv("TIDEMILL_METRICS_FILE", str(tmp_path / "tidemill.prom"))
    named = DagBag(str(DAGS / "metrics.py")).dags["metrics"]
    assert named.timetable.expression == "*/5 * * * *"
    assert flags(named.get_task("metrics").options) == [f"--write={tmp_path / 'tidemill.prom'}"]


def test_only_what_has_a_past_can_be_backfilled(bag):
    allowed = {name: dag.allowed_run_types for name, dag in bag.dags.items()}
    assert [name for name, kinds in allowed.items() if kinds is None or "backfill" in kinds] == ["materialize"]


def test_whoever_is_more_urgent_gets_the_next_slot(bag):
    weights = {name: {task.priority_weight for task in dag.tasks} for name, dag in bag.dags.items()}
    assert max(weights, key=lambda name: max(weights[name])) == "release"
    assert min(weights["ingest"]) > max(weights["train"])
    assert all(task.weight_rule == "absolute" for dag in bag.dags.values() for task in dag.tasks)


def test_a_search_is_divided_among_tasks_that_share_a_study():
    params = {"since": None, "until": None, "estimator": None, "budget": 60, "seed": 3, "workers": 2, "note": None}
    chosen = [{"name": "pump_failure", "fleet": "pumps"}, {"name": "machine_failure", "fleet": "azure_pdm"}]
    made = train.shares(chosen, params, "manual__1")
    assert [(call["words"][1], call["options"]["share"]) for call in made] == [
        ("pump_failure", "1/2"),
        ("pump_failure", "2/2"),
        ("machine_failure", "1/2"),
        ("machine_failure", "2/2"),
    ]
    assert flags(made[0]["options"]) == ["--seed=3", "--budget=60", "--study=manual__1", "--share=1/2"]
    assert train.options(params, "manual__1")["study"] == "manual__1"
    for alone in ({**params, "budget": None}, {**params, "workers": 1}):
        assert train.shares(chosen, alone, "manual__1") == []
        assert "study" not in train.options(alone, "manual__1")


def test_outlets_are_declared(bag):
    outlets = {
        name: bag.dags[name].get_task(task).outlets for name, task in (("ingest", "ingest"), ("monitor", "decide"))
    }
    assert [outlet.name for outlet in outlets["ingest"]] == ["telemetry"]
    assert [outlet.name for outlet in outlets["monitor"]] == ["retrain"]


def test_an_asset_has_a_name_for_people_and_an_address_without_a_partition():
    for asset in (assets.telemetry("pumps"), assets.retrain("pump_failure"), assets.CHAMPIONS):
        assert isinstance(asset, Asset)
        assert asset.uri.startswith("tidemill://")
        assert asset.name.split(".")[-1] == asset.uri.split("/")[-1]


@pytest.mark.parametrize("retrain", [True, False])
def test_training_is_woken_only_when_monitoring_asks_for_it(retrain):
    sent: list[tuple[str, Any]] = []
    alias = SimpleNamespace(add=lambda asset, extra: sent.append((asset.name, extra)))
    seen = {"retrain": retrain, "reasons": ["scores moved"], "sentence": "so it is"}
    assert monitor.wake("pump_failure", seen, {assets.RETRAIN: alias}) == "so it is"
    assert sent == ([("retrain.pump_failure", {"reasons": ["scores moved"]})] if retrain else [])


def events_of(*told):
    """Events as a task is given them: of assets, with what was sent along."""
    return TriggeringAssetEventsAccessor.build(
        AssetEventDagRunReferenceResult.model_validate(
            {
                "asset": {"name": asset.name, "uri": asset.uri, "extra": {}},
                "extra": extra,
                "source_task_id": "decide",
                "source_dag_id": "monitor",
                "source_run_id": f"scheduled__{number}",
                "source_map_index": 0,
                "source_aliases": [{"name": "retrain"}],
                "timestamp": datetime(2026, 11, 26, tzinfo=UTC),
            }
        )
        for number, (asset, extra) in enumerate(told)
    )


def test_the_reasons_of_monitoring_become_the_note_of_each_use_case_they_are_about():
    pumps, machines, engines = (assets.retrain(name) for name in ("pump_failure", "machine_failure", "engine_life"))
    moved, missed = "scores moved far (index 0.90)", "share of failures caught 0, at least 0.6 is demanded"
    events = events_of(
        (pumps, {"reasons": [moved]}),
        (machines, {"reasons": ["x" * 400, "y" * 400]}),
        (pumps, {"reasons": [moved, missed]}),
        (engines, {"from_rest_api": True}),
    )
    params = {"since": None, "until": None, "estimator": None, "budget": None, "seed": 0, "workers": 2, "note": None}
    chosen = [{"name": name, "fleet": "f"} for name in ("engine_life", "machine_failure", "pump_failure")]
    context = {"params": params, "run_id": "asset_triggered__1", "triggering_asset_events": events}
    notes = {call["words"][1]: call["options"]["note"] for call in train.calls(chosen, context)}
    assert notes["pump_failure"] == f"monitoring: {moved}; {missed}"
    assert (len(notes["machine_failure"]), notes["machine_failure"][-1]) == (train.LONGEST_NOTE, "…")
    assert notes["engine_life"] == ""
    by_hand = {**context, "params": {**params, "note": "as the plant asked for"}}
    assert {call["options"]["note"] for call in train.calls(chosen, by_hand)} == {"as the plant asked for"}


def test_parsing_loads_nothing_heavy_and_asks_for_no_connection():
    script = f"""
import json, sys
from airflow.sdk import Connection
def refuse(*_): raise AssertionError("a connection was looked up")
Connection.get = refuse
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({str(DAGS)!r})
print(json.dumps([sorted(bag.dags), sorted(set({HEAVY!r}) & set(sys.modules)), bag.import_errors]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [NAMES, [], {}]
