import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipelines import training, usecases
from pipelines.errors import RegistryUnreachableError, TableMissingError, TooLittleDataError, UnknownNameError
from pipelines.estimators import able
from pipelines.fitting import Recipe, fit
from pipelines.labels import FailureWithin
from pipelines.lake import Lake
from pipelines.materialize import writers
from pipelines.reference import golden_rows
from pipelines.registration import BUNDLE
from pipelines.training import Parameters, train
from pipelines.windows import Windows
from serving.approval import read_gate
from serving.bundle import Manifest, digest_of, pack, unpack
from serving.predictor import Predictor
from serving.retraining import Trained, trained_since
from serving.store import open_store
from tests.fakes.histories import HOUR, append, fill_lake, history
from tests.fakes.trainings import MemoryTrainings

NOW = 1_795_305_600_000_000
DAY = 24 * HOUR
USECASE = replace(
    usecases.load("machine_failure"), label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12))
)
FAST = Parameters(estimator="linear", seed=1)


class Works:
    """A store, its lake and a registry."""

    def __init__(self, folder):
        self.store = open_store(str(folder))
        self.lake = Lake(str(folder))
        self.registry = MemoryTrainings()

    def train(self, parameters=FAST, usecase=USECASE, **more):
        return train(self.store, self.lake, self.registry, usecase, parameters, now_us=NOW, **more)


@pytest.fixture(scope="module")
def past():
    return history(devices=12, days=45)


@pytest.fixture(scope="module")
def filled(tmp_path_factory, past):
    works = Works(tmp_path_factory.mktemp("store"))
    fill_lake(works.lake, USECASE, past)
    return works


@pytest.fixture
def works(filled):
    filled.registry = MemoryTrainings()
    for entry in list(filled.store.list("ledger/trainings/")):
        filled.store.delete(entry.key)
    return filled


@pytest.fixture(scope="module")
def trained(filled):
    filled.registry = MemoryTrainings()
    summary = filled.train(Parameters(seed=1))
    return summary, filled.registry.registrations[0]


def test_a_training_registers_what_the_gate_passed(trained):
    summary, registration = trained
    assert (summary.version, summary.gate, summary.reasons) == ("1", "passed", [])
    assert registration.passed
    assert summary.metrics["caught_share"] > 0.8
    assert summary.parity["label_flips"] == 0
    assert summary.parity["max_abs"] < 1e-6


def test_the_registered_bundle_is_the_judged_one_and_opens_as_it_will_serve(trained, filled):
    summary, registration = trained
    data = registration.files[BUNDLE]
    assert digest_of(data) == summary.digest == registration.digest
    record = read_gate(filled.store, summary.digest)
    assert record is not None
    assert (record.passed, record.usecase, record.decided_at_us) == (True, "machine_failure", NOW)
    bundle = unpack(data)
    Predictor(bundle).check_golden()
    assert bundle.manifest.features == USECASE.features
    assert bundle.manifest.lineage["features.version"] == str(filled.lake.features(USECASE.features).open().version)
    assert len(bundle.golden.scores) >= 60
    assert np.isnan(bundle.golden.rows).any()


def test_a_repeated_training_gives_the_same_bytes_and_no_second_version(works):
    one, again = (works.train(Parameters(seed=1)) for _ in range(2))
    assert one.digest == again.digest
    assert (again.version, again.reused) == ("1", True)


def test_the_same_inputs_and_seed_give_the_same_onnx_bytes_to_whoever_asks(works):
    models = []
    for _ in range(2):
        works.registry = MemoryTrainings()
        works.train(Parameters(seed=1, estimator="automatic", budget_s=0.01))
        models.append(unpack(works.registry.registrations[0].files[BUNDLE]).model)
    assert models[0] == models[1]


def test_a_search_leaves_its_trials_beside_the_training(works):
    summary = works.train(Parameters(seed=2, estimator="automatic", budget_s=0.01))
    registration = works.registry.registrations[0]
    assert [trial.tags["trial.family"] for trial in registration.trials] == ["linear", "hist_gradient_boosting"]
    assert {trial.tags["trial.role"] for trial in registration.trials} == {"best", "runner-up"}
    assert registration.trials[0].name == f"{registration.run_name} #00 linear"
    assert (
        registration.metrics["search_best_average_precision"] >= registration.metrics["search_linear_average_precision"]
    )
    assert registration.files["figures/search.svg"].startswith(b"<svg")
    found = json.loads(registration.files["report/report.json"])["search"]
    assert found["best"]["estimator"] == summary.estimator
    assert found["baselines"]["constant"] < found["baselines"]["linear"]["score"]
    assert found["runner_up"]["estimator"] != found["best"]["estimator"]
    assert "Best of 2 trials" in registration.describe("#/report")
    assert b"Best of 2 trials" in registration.files["report/index.html"]


def test_a_run_names_what_it_learned_from_and_what_it_was_judged_with(trained, filled):
    summary, registration = trained
    learned, judged = registration.dataset, registration.judged_with
    assert (learned.context, judged.context) == ("training", "test")
    assert learned.digest != judged.digest
    sha256 = unpack(registration.files[BUNDLE]).manifest.lineage["rows.sha256"]
    assert learned.source["rows.sha256"] == registration.tags["rows.sha256"] == sha256
    assert list(summary.seconds) == list(training.STAGES)


def test_another_seed_or_new_data_give_another_bundle(works, past):
    before = works.train().digest
    assert works.train(replace(FAST, seed=2)).digest != before
    later = int(past.windows.end.max()) + 30 * DAY
    event = {"device": ["pump-00"], "time": [later], "kind": ["failure"], "known_at": [later], "detail": [""]}
    append(works.lake.events(USECASE.features.fleet), event)
    assert works.train().digest != before


def test_nothing_after_until_is_used(works, past):
    middle = int(past.windows.end.min()) + 35 * DAY
    works.train(replace(FAST, until=middle))
    document = json.loads(works.registry.registrations[0].files["report/report.json"])
    assert document["data"]["until_us"] + 24 * HOUR <= middle
    assert int(document["data"]["lineage"]["until"]) <= middle


def test_shuffled_labels_do_not_pass_the_gate(tmp_path, past):
    """Failures at random times of random devices: there is nothing to learn."""
    works = Works(tmp_path)
    random = np.random.default_rng(5)
    count = len(past.events.time)
    time = np.sort(random.choice(past.windows.end, count)) + HOUR
    device = random.choice(np.unique(past.windows.device), count)
    fill_lake(works.lake, USECASE, replace(past, events=replace(past.events, time=time, device=device, known_at=time)))
    for name in able("probability", USECASE.features.names):
        summary = works.train(replace(FAST, estimator=name))
        assert summary.gate == "failed"
        assert any(reason.startswith(("average_precision", "gain_over_guessing")) for reason in summary.reasons)
        record = read_gate(works.store, summary.digest)
        assert record is not None
        assert not record.passed
        assert not works.registry.registrations[-1].passed


def test_too_short_a_period_to_judge_is_registered_as_refused(works, past):
    until = int(past.windows.end.min()) + 30 * DAY
    summary = works.train(replace(FAST, since=until - 8 * DAY, until=until))
    assert summary.gate == "failed"
    assert any(reason.startswith("train:") for reason in summary.reasons)


def test_a_period_without_windows_says_so(works):
    with pytest.raises(TooLittleDataError, match="not one feature row"):
        works.train(replace(FAST, until=1))


def test_the_champion_is_asked_on_the_same_rows(works):
    works.train()
    works.registry.champions["machine_failure"] = "1"
    summary = works.train(replace(FAST, seed=2))
    assert summary.champion == "1"
    assert len(summary.metrics) <= 20
    registration = works.registry.registrations[1]
    assert "| &ensp;champion v1 | &ensp;this version |" in registration.describe("#/report")
    assert {"champion_average_precision", "interval_low_caught_share"} <= set(registration.metrics)


def test_a_champion_registered_by_hand_is_no_champion(works):
    works.train()
    works.registry.registrations[0].files.pop(BUNDLE)
    works.registry.champions["machine_failure"] = "1"
    assert works.train(replace(FAST, seed=3)).champion == ""


def test_a_champion_that_cannot_be_opened_blocks_with_a_reason(works):
    works.train()
    works.registry.registrations[0].files[BUNDLE] = b"not a bundle"
    works.registry.champions["machine_failure"] = "1"
    summary = works.train(replace(FAST, seed=3))
    assert [reason.partition(":")[0] for reason in summary.reasons] == ["champion_comparable"]


def test_an_unreachable_registry_is_found_out_before_anything_is_computed(works):
    works.registry.down = True
    stages = []
    with pytest.raises(RegistryUnreachableError):
        works.train(progress=lambda stage, done, total: stages.append(stage))
    assert stages == []


def test_a_training_that_died_before_its_version_was_registered_has_not_been(works):
    parameters = replace(FAST, seed=8)
    register, works.registry.register = works.registry.register, broken
    with pytest.raises(RegistryUnreachableError):
        works.train(parameters)
    judged = [entry.key for entry in works.store.list("ledger/gates/")]
    assert trained_since(works.store, "machine_failure", NOW - 1) is None
    works.registry.register = register
    summary = works.train(parameters)
    found = trained_since(works.store, "machine_failure", NOW - 1)
    assert found == Trained("machine_failure", summary.version, summary.digest, summary.gate == "passed", (), NOW)
    assert [entry.key for entry in works.store.list("ledger/gates/")] == judged, "its gate record was there before"


def broken(_registration):
    raise RegistryUnreachableError("the MLflow server does not answer", where="memory")


def test_without_features_the_missing_table_is_named(tmp_path):
    with pytest.raises(TableMissingError):
        Works(tmp_path).train()


def test_a_misspelt_estimator_is_an_error_before_the_search(works):
    with pytest.raises(UnknownNameError, match="did you mean random_forest"):
        works.train(replace(FAST, estimator="random_forst"))


def test_a_run_without_a_search_says_nothing_of_one(works):
    works.train(replace(FAST, estimator="linear"))
    assert not [name for name in works.registry.registrations[0].tags if name.startswith("search")]


def test_what_a_search_found_is_used_again(works):
    small = replace(USECASE, search={"C": (0.01, 1.0)}, estimator="linear")
    parameters = Parameters(budget_s=0.5, seed=1)
    one = works.train(parameters, small)
    again = works.train(parameters, small)
    assert (again.digest, again.reused) == (one.digest, True)
    found = json.loads(works.registry.registrations[0].tags["search.found"])
    assert 0.01 <= found["C"] <= 1.0


def test_progress_is_told_in_order(works):
    told = []
    works.train(progress=lambda *step: told.append(step))
    assert [stage for stage, _, _ in told] == [*training.STAGES, "done"]
    assert told[-1][1] == told[-1][2]


def test_the_registration_fits_the_approval_screen(trained):
    _, registration = trained
    assert registration.run_name == "2026-11-22 manual 44d"
    assert registration.experiment == "azure_pdm/machine_failure"
    assert len(registration.params) <= 20
    assert all(np.isfinite(value) for value in registration.metrics.values())
    text = registration.describe("#/experiments/1/runs/2/artifacts/report/index.html")
    first = text.splitlines()[0]
    assert len(first) <= 30
    assert not first.startswith("#")
    parts = ("| on the same held-out windows |", "**To ship:**", "**To undo:**", "](#/experiments/1/runs/2/")
    places = [text.index(part) for part in (*parts, "Leak check: ")]
    assert places == sorted(places)


def test_tags_lead_back_to_data_code_and_trigger(works):
    origin = {"airflow.url": "http://airflow/dags/train"}
    works.train(replace(FAST, origin=origin, trigger="scheduled", note="weekly"))
    tags = works.registry.registrations[0].tags
    assert tags["airflow.url"] == origin["airflow.url"]
    assert tags["mlflow.note.content"] == "weekly"
    assert tags["features.digest"] == USECASE.features.digest
    assert set(json.loads(tags["tables"])) == {"features", "events"}


def bundle_of_few_features(past, features):
    """A bundle that sees only the first features of the fleet."""
    values = np.tile(past.windows.values[:, :1], len(features.names)).astype(np.float32).astype(np.float64)
    label = USECASE.label.label(past.windows, (), past.events, past.until)
    rows = Windows(past.windows.device, past.windows.end, values, label).select(~np.isnan(label))
    fitted = fit(Recipe("linear", "probability", features.names), rows)
    manifest = Manifest("machine_failure", features, 0.5, 86_400, "linear", ("cloud",), {}, {}, "failure_within_24h")
    return pack(manifest, fitted.onnx(len(features.names)), golden_rows(fitted, rows.values, seed=0)), values


def test_a_champion_with_other_features_is_asked_with_its_own(works, past):
    features = replace(USECASE.features, features=USECASE.features.features[:6])
    data, values = bundle_of_few_features(past, features)
    works.train()
    works.registry.registrations[0].files[BUNDLE] = data
    works.registry.champions["machine_failure"] = "1"
    table = works.lake.features(features)
    dates = [datetime.fromtimestamp(end // 1_000_000, UTC).date().isoformat() for end in past.windows.end.tolist()]
    rows = {"date": dates, "device": past.windows.device, "end": past.windows.end}
    half = {name: column[: len(dates) // 2] for name, column in rows.items()}
    done, _ = writers(features)  # nothing is left to materialize
    append(table, half | dict(zip(features.names, values[: len(dates) // 2].T, strict=True)), done)
    summary = works.train(replace(FAST, seed=3))
    assert [reason.partition(":")[0] for reason in summary.reasons] == ["champion_comparable"]
    half = {name: column[len(dates) // 2 :] for name, column in rows.items()}
    append(table, half | dict(zip(features.names, values[len(dates) // 2 :].T, strict=True)), done)
    summary = works.train(replace(FAST, seed=4))
    assert summary.metrics["champion_average_precision"] > 0
    assert summary.metrics["champion_average_precision"] > 0.5
