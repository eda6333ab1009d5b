"""The faults that public templates of such pipelines have, each under its name.

Each test passes on the true code and puts its fault in where it can, to see that a rule or a detector finds it. The
docstrings name the change of the code that each was seen to fail with.
"""

import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines import intervals, searching
from pipelines.candidate import build, span_of
from pipelines.drift import MAJOR, shift, shifts
from pipelines.gate import Comparison, judge, passed, reasons
from pipelines.lake import Lake
from pipelines.monitor import monitor
from pipelines.recording import gate_record
from pipelines.registration import BUNDLE
from pipelines.tasks import TASKS
from pipelines.tasks.quantity import QuantityMetrics
from pipelines.training import Parameters, train
from serving.approval import Desired, GateRecord, gate_key, read_gate, write_gate
from serving.baseline import Baseline
from serving.bundle import digest_of
from serving.decision import MAX_GATE_AGE_US, decide
from serving.predictor import Predictor
from serving.store import open_store
from tests.fakes import predictions
from tests.fakes.examined import dataset_of, examine_candidate, usecase_of, usual
from tests.fakes.histories import HOUR, fill_lake, history
from tests.fakes.stores import MemoryStore
from tests.fakes.trainings import MemoryTrainings
from tests.unit.pipelines.test_gate import GOOD, LIFE, METRICS, RULES

NOW = 1_795_305_600_000_000
DAY = 24 * HOUR
USECASE = usecase_of("failure")
KNOWING = "volt_mean_3h"  # the feature that knows most of what is coming


class Works:
    """A store, its lake and a registry."""

    def __init__(self, folder, past):
        self.store, self.lake, self.registry = open_store(str(folder)), Lake(str(folder)), MemoryTrainings()
        fill_lake(self.lake, USECASE, past)

    def train(self, now_us=NOW, **parameters):
        given = Parameters(estimator="linear", **{"seed": 1, **parameters})
        return train(self.store, self.lake, self.registry, USECASE, given, now_us=now_us)

    @contextmanager
    def doctored(self, column):
        """Change a column of the stored feature rows for a while: a function of devices, ends and values."""
        table = self.lake.features(USECASE.features).open()
        rows = table.read().sort_by([("device", "ascending"), ("end", "ascending")])
        device = rows["device"].to_numpy(zero_copy_only=False)
        values = column(device, rows["end"].to_numpy(), rows[KNOWING].to_numpy())
        place = rows.column_names.index(KNOWING)
        table.replace(rows.set_column(place, rows.schema.field(KNOWING), pa.array(values)), None)
        yield
        self.lake.features(USECASE.features).open().replace(rows, None)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Intervals are not the matter here, and take most of the time of a training this small."""
    monkeypatch.setattr(intervals, "_DRAWS", 3)


@pytest.fixture(scope="module")
def past():
    return history(devices=12, days=45)


@pytest.fixture(scope="module")
def filled(tmp_path_factory, past):
    return Works(tmp_path_factory.mktemp("named"), past)


@pytest.fixture
def works(filled):
    filled.registry = MemoryTrainings()
    return filled


def failed(results):
    return [result.rule for result in results if not result.passed]


def life_of(rmse):
    return QuantityMetrics(2000, 20, rmse=rmse, mae=rmse / 2, bias=1.0, r2=0.8, score=900.0)


def test_promotes_the_worst_model():
    """Seen to fail with `better="higher"` for the error of a remaining life (pipelines/tasks/quantity.py)."""
    better, worse = replace(LIFE, champion=Comparison("3", life_of(20.0))), replace(LIFE, candidate=life_of(20.0))
    assert passed(judge(RULES, better))
    assert {"champion_ahead", "behind_linear"} <= set(failed(judge(RULES, worse)))
    usecase = usecase_of("life")
    data = dataset_of("life", usecase)
    small = replace(usecase, search={"C": [1e-9, 1.0]}, estimator="linear", parameters={})  # the first learns nothing
    found = searching.searched(MemoryStore(), small, Parameters(budget_s=2.0), data, now_us=NOW)
    assert len(found.trials) > 1
    assert found.parameters == {"C": 1.0}


def test_registers_the_incumbent_again(works):
    """Seen to fail with the champion's bundle under `BUNDLE` in what `training.train` registers."""
    first = works.train()
    works.registry.champions[USECASE.name] = "1"
    second = works.train(seed=2)
    incumbent, registered = (each.files[BUNDLE] for each in works.registry.registrations)
    assert second.champion == first.version == "1"
    assert digest_of(registered) == second.digest == works.registry.registrations[1].digest
    assert registered != incumbent
    again = works.train(seed=2)
    assert (again.version, again.reused) == ("2", True)


def test_the_files_of_yesterday_pass_the_gate_of_today(tmp_path, past):
    """Seen to fail with a `write_gate` that leaves a record alone that is there (serving/approval.py)."""
    random = np.random.default_rng(5)
    time = np.sort(random.choice(past.windows.end, len(past.events.time))) + HOUR
    device = random.choice(np.unique(past.windows.device), len(time))
    noise = Works(tmp_path, replace(past, events=replace(past.events, time=time, device=device, known_at=time)))
    refused = noise.train()
    assert refused.gate == "failed"
    noise.store.delete(gate_key(refused.digest))
    write_gate(noise.store, GateRecord(USECASE.name, refused.digest, True, (), NOW - DAY))
    noise.train()
    record = read_gate(noise.store, refused.digest)
    assert record is not None
    assert (record.passed, record.decided_at_us) == (False, NOW)
    bundle = usual("failure").candidate
    good = GateRecord(USECASE.name, bundle.bundle.digest, True, (), NOW)
    wanted = Desired(USECASE.name, "7", bundle.data, bundle.bundle.digest)
    assert decide(wanted, None, good, NOW).action == "released"
    assert decide(wanted, None, good, NOW + MAX_GATE_AGE_US + 1).action == "refused"
    assert decide(wanted, None, None, NOW).action == "refused"


def test_the_gate_cannot_fail():
    """Seen to fail with an `_at_least` that is always true, and with a `passed` that is true of nothing (gate.py)."""
    assert not passed([])
    it = usual("failure")
    assert it.passed
    always_the_same = replace(GOOD, candidate=GOOD.constant)
    unknown = replace(GOOD, candidate=replace(METRICS, average_precision=float("nan"), failures=0, caught=0))
    for evidence in (always_the_same, unknown):
        assert {"average_precision", "caught_share", "gain_over_guessing"} <= set(failed(judge(RULES, evidence)))
        assert reasons(judge(RULES, evidence))
    assert all(not np.isnan(result.limit) for result in it.results)


def test_a_random_split():
    """Seen to fail with a test of rows drawn at random, and labels as of now for training (pipelines/dataset.py)."""
    usecase = usecase_of("failure")
    data = dataset_of("failure", usecase, remember=True)
    for name in np.unique(data.test.device).tolist():
        learned = data.train.end[data.train.device == name]
        assert not len(learned) or learned.max() < data.test.end[data.test.device == name].min()
    assert "leak.shuffled_labels" not in failed(examine_candidate(usecase, data).results)
    rows = _joined(data.train, data.test)
    learned = np.random.default_rng(0).random(len(rows)) < 0.7
    at_random = replace(data, train=rows.select(learned), test=rows.select(~learned))
    assert "leak.shuffled_labels" in failed(examine_candidate(usecase, at_random).results)


def test_the_target_is_computed_with_the_features(works, past):
    """Seen to fail without `rebuild` in what `training.train` hands to the examination."""
    assert works.train().gate == "passed"
    times = {name: past.events.time[past.events.device == name] for name in np.unique(past.windows.device).tolist()}

    def hours_until_failure(device, end, _values):
        keys = zip(device.tolist(), end.tolist(), strict=True)
        return np.array([min([*(at - end for at in times[name] if at > end), 999 * HOUR]) / HOUR for name, end in keys])

    with works.doctored(hours_until_failure):
        summary = works.train()
    assert summary.metrics["average_precision"] > 0.95
    assert [reason.partition(":")[0] for reason in summary.reasons] == ["leak.future_shift"]
    assert KNOWING in summary.reasons[0]


def test_fill_values_look_ahead(works):
    """Seen to fail without `rebuild` in what `training.train` hands to the examination."""

    def filled_from_behind(_device, _end, values):
        known = np.flatnonzero(~np.isnan(values))
        place = np.searchsorted(known, np.arange(len(values))).clip(max=len(known) - 1)
        return values[known[place]]

    with works.doctored(filled_from_behind):
        summary = works.train()
    assert [reason.partition(":")[0] for reason in summary.reasons] == ["leak.future_shift"]
    assert KNOWING in summary.reasons[0]


def test_the_stage_api():
    """Seen to fail with a `client.transition_model_version_stage` in pipelines/registry/marks.py.

    Stages of versions were taken out of MLflow; a champion is who has the alias.
    """
    stages = re.compile(
        r"transition_model_version_stage|get_latest_versions|current_stage|archive_existing_versions"
        r"|models:/[^\s\"']*/(Production|Staging)"
    )
    root = Path(__file__).parents[3]
    sources = [path for part in ("pipelines", "serving", "dags", "infra") for path in (root / part).rglob("*.py")]
    assert len(sources) > 100
    assert [path.name for path in sources if stages.search(path.read_text())] == []


def test_a_metric_is_computed_on_training_rows():
    """Seen to fail with `test = dataset.train` in `pipelines.examine.examine`.

    In the test labels are noise here, so that whoever reaches anything did not look at it.
    """
    usecase = usecase_of("failure")
    data = dataset_of("failure", usecase)
    data = replace(data, test=replace(data.test, label=np.random.default_rng(3).permutation(data.test.label)))
    candidate = build(usecase, data, usecase.estimator, {}, 0)
    learned = candidate.predictor.predict(data.train.values)
    task = TASKS["failure"]
    assert task.measure(data.train, learned.score, learned.alert, span_of(data)).average_precision > 0.8
    found = examine_candidate(usecase, data, candidate)
    assert found.metrics.average_precision < 0.25
    assert found.metrics.windows == len(data.test)
    assert {"average_precision", "gain_over_guessing"} <= set(failed(found.results))


def test_a_scaler_is_fitted_on_test_rows():
    """Seen to fail with training and test joined in what `pipelines.candidate.build` fits."""
    usecase = usecase_of("failure")
    data = dataset_of("failure", usecase)
    other = replace(data, test=replace(data.test, values=data.test.values * 1e3 + 77, label=1 - data.test.label))
    bundles = [build(usecase, each, "linear", {}, 0).data for each in (data, other)]
    assert bundles[0] == bundles[1]


def test_a_drift_monitor_that_cannot_run(tmp_path):
    """Seen to fail with `reference={}`, or without `baseline`, in what `pipelines.candidate.build` packs."""
    it = usual("failure")
    manifest = Predictor(it.candidate.bundle).bundle.manifest
    values = it.dataset.test.values
    calm = shifts(manifest.features.names, manifest.reference, values)
    assert list(calm) == list(manifest.features.names)
    assert np.nanmax([each.index for each in calm.values()]) < MAJOR
    moved = shifts(manifest.features.names, manifest.reference, values + 5)
    assert np.nanmin([each.index for each in moved.values()]) > MAJOR
    kept = gate_record(it, 0).evidence["scores"]
    assert isinstance(kept, list)
    scores = Predictor(it.candidate.bundle).predict(values).score
    assert shift(kept, scores).index < 0.01
    assert shift(kept, 1 - scores).index > MAJOR
    train = it.dataset.train
    gaps = np.isnan(train.values).mean(axis=0).round(6).tolist()
    assert manifest.baseline == Baseline(len(train), dict(zip(manifest.features.names, gaps, strict=True)))
    store = open_store(str(tmp_path / "store"), create=True)
    predictions.publish(store)
    predictions.send(tmp_path, store, predictions.a_fortnight(np.random.default_rng(1), shift=8.0))
    summary = monitor(store, Lake(store.uri), predictions.USECASE, predictions.NOW)
    assert len(summary.drifted) == summary.features > 0
    assert summary.retrain


def test_each_named_fault_has_a_test():
    named = (
        "promotes the worst model", "registers the incumbent again", "the files of yesterday", "the gate cannot fail",
        "a random split", "the target is computed", "fill values look ahead", "the stage api", "training rows",
        "fitted on test rows", "a drift monitor that cannot run",
    )  # fmt: skip
    tests = [name.replace("_", " ") for name in globals() if name.startswith("test_")]
    assert all(any(fault in test for test in tests) for fault in named)


def _joined(one, other):
    rows = type(one)(*(np.concatenate([getattr(part, n) for part in (one, other)]) for n in one.__slots__))
    return rows.select(np.lexsort((rows.end, rows.device)))
