import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from features import catalog
from features.batch import feature_rows
from features.feature import Difference, EventCount, Feature, Lag, Since, TimeSince, grid
from features.featureset import FeatureSet
from features.pane import PANE_FIELDS, empty, summarize
from features.panetable import panes_of
from features.schema import Fleet, Signal
from features.statistic import STATISTICS
from pipelines import history, usecases
from pipelines.errors import ExportError
from pipelines.estimators import Rows, create
from pipelines.export import write
from pipelines.graph import feature_graph, panes_behind, score_graph
from pipelines.graph.statistic import FORMS, WITHOUT_FORM
from pipelines.labels import FailureWithin
from pipelines.lake import Lake
from pipelines.links import Sigmoid
from pipelines.materialize import materialize
from pipelines.registration import BUNDLE
from pipelines.training import Parameters, train
from serving.bundle import unpack
from serving.operators import operators
from serving.predictor import PanePredictor, Predictor, pane_shape
from serving.store import open_store
from tests.fakes.histories import HOUR, append
from tests.fakes.histories import history as past_of
from tests.fakes.trainings import MemoryTrainings

SECOND, SECOND_US = timedelta(seconds=1), 1_000_000
FLEET = Fleet(
    name="presses",
    description="",
    signals=(Signal("force", "N", -1e6, 1e6, limit=2.0), Signal("count", "1", 1e8, 1e8 + 1e3, limit=1e8 + 5)),
    sampling=SECOND,
    late_after=SECOND,
    max_future=SECOND,
    max_age=timedelta(days=1),
)
WINDOWS = [3 * SECOND, 8 * SECOND]
EVERY = FeatureSet(FLEET, SECOND, SECOND, grid(FLEET.signal_names, FORMS, WINDOWS))
PUMPS = catalog.load("pumps").features


def answer(graph, dense, output="features"):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run([output], {"panes": dense})[0]


ASKED = onnxruntime.InferenceSession(feature_graph(EVERY), providers=["CPUExecutionProvider"])


def by_definition(times, values):
    """Every feature of ``EVERY``, from all readings of its window summed up at once."""
    row = []
    for feature in EVERY.features:
        assert isinstance(feature, Feature)
        assert isinstance(feature.window, timedelta)
        begin = (8 - feature.window // SECOND) * SECOND_US
        inside = times >= begin
        signal = FLEET.signal_names.index(feature.signal)
        state = summarize(times[inside] - begin, values[inside, signal], FLEET.limits[signal])
        row.append(float(STATISTICS[feature.statistic].function(state, feature.window // SECOND * 1e6)))
    return np.array(row)


def panes_from(times, values):
    """The readings of one row in its eight panes."""
    dense = empty((8, 2))
    for number in range(8):
        inside = times // SECOND_US == number
        dense[number] = summarize(times[inside] - number * SECOND_US, values[inside], FLEET.limits)
    return dense


# Few times, so that panes are often empty, or full of readings one microsecond apart.
moments = st.lists(st.integers(0, 7).flatmap(lambda pane: st.integers(0, 5).map(lambda us: pane * SECOND_US + us)))
sizes = st.one_of(st.just(np.nan), st.integers(-3, 3).map(float), st.floats(-1e5, 1e5))


@given(st.data(), moments)
def test_a_row_is_what_its_readings_say_however_they_lie_in_panes(data, found):
    times = np.unique(np.array(found, np.int64))
    force = data.draw(st.lists(sizes, min_size=len(times), max_size=len(times)))
    count = data.draw(st.lists(sizes, min_size=len(times), max_size=len(times)))
    values = np.array([force, 1e8 + np.array(count)]).T.reshape(len(times), 2)
    (given_back,) = ASKED.run(["features"], {"panes": panes_from(times, values)[None]})
    expected = by_definition(times, values)
    for feature, right, got in zip(EVERY.features, expected, given_back[0], strict=True):
        scale = max(scale_of(feature, times, values), 1.0)
        assert got == pytest.approx(right, rel=1e-9, abs=1e-9 * scale, nan_ok=True), feature.name


def scale_of(feature, times, values):
    """The size of number the feature works with; numbers about 1e8 are apart by no more than their spread."""
    column = values[:, FLEET.signal_names.index(feature.signal)]
    inside = (times >= (8 - feature.window // SECOND) * SECOND_US) & ~np.isnan(column)
    if not inside.any():
        return 0.0
    spread, duration = np.ptp(column[inside]), max(np.ptp(times[inside]), 1)
    return spread / duration * 3.6e9 if feature.statistic == "slope" else spread


def test_every_statistic_has_a_form_in_onnx_or_a_reason_to_have_none():
    assert set(STATISTICS) - set(WITHOUT_FORM) == set(FORMS)


def test_a_pane_that_does_not_know_its_changes_makes_no_number_of_them():
    times, values = np.array([0, 10, 6 * SECOND_US]), np.array([[1.0, 1e8], [4.0, 1e8], [2.0, 1e8]])
    dense = panes_from(times, values)
    dense[0, 0, PANE_FIELDS.index("change")] = np.nan  # its readings came out of order
    found = dict(zip(EVERY.names, ASKED.run(None, {"panes": dense[None]})[0][0], strict=True))
    assert np.isnan(found["force_mean_absolute_change_8s"])
    assert found["count_mean_absolute_change_8s"] == 0.0
    assert found["force_mean_8s"] == pytest.approx(7 / 3)


def test_changes_reach_over_panes_without_readings():
    times, values = np.array([0, 7 * SECOND_US]), np.array([[1.0, 1e8], [4.0, 1e8 + 7]])
    found = dict(zip(EVERY.names, ASKED.run(None, {"panes": panes_from(times, values)[None]})[0][0], strict=True))
    assert found["force_mean_absolute_change_8s"] == 3.0
    assert found["count_mean_absolute_change_8s"] == 7.0
    assert np.isnan(found["force_mean_absolute_change_3s"])


def test_rows_do_not_touch_each_other():
    random = np.random.default_rng(4)
    rows = []
    for number in range(6):
        times = np.unique(random.integers(0, 8 * SECOND_US, 3 * number))
        rows.append(panes_from(times, random.normal(size=(len(times), 2))))
    alone = [ASKED.run(None, {"panes": row[None]})[0][0] for row in rows]
    together = ASKED.run(None, {"panes": np.stack(rows)})[0]
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)


def test_another_runtime_gives_the_same_numbers():
    """The reference runtime of ONNX: nothing here leans on what one runtime makes of NaN."""
    random = np.random.default_rng(6)
    rows = [panes_from(np.zeros(0, np.int64), np.zeros((0, 2)))]
    for number in range(1, 12):
        times = np.unique(random.integers(0, 8 * SECOND_US, number))
        values = random.normal([0.0, 1e8], 1.0, (len(times), 2))
        values[random.random(values.shape) < 0.3] = np.nan
        rows.append(panes_from(times, values))
    dense = np.stack(rows)
    with np.errstate(all="ignore"):
        (found,) = ReferenceEvaluator(onnx.load_from_string(feature_graph(EVERY))).run(None, {"panes": dense})
    np.testing.assert_allclose(found, ASKED.run(None, {"panes": dense})[0], rtol=1e-9, atol=1e-9)


def test_the_same_features_give_the_same_bytes():
    assert feature_graph(PUMPS) == feature_graph(FeatureSet.from_json(PUMPS.to_json()))


def test_the_graph_neither_loops_nor_branches():
    assert operators(feature_graph(EVERY)).isdisjoint({"Loop", "If", "Scan", "ConstantOfShape", "Expand", "Tile"})


def test_a_statistic_without_a_form_is_refused_by_the_name_of_its_feature(monkeypatch):
    monkeypatch.delitem(FORMS, "slope")
    with pytest.raises(ExportError, match=r"vibration_slope_6h cannot .*the statistic 'slope' has no form in ONNX"):
        feature_graph(PUMPS)


@pytest.mark.parametrize(
    ("feature", "why"),
    [
        (Feature("force", "mean", Since()), "force_mean_since_start .*grows without bound"),
        (Feature("force", "mean", Since("service")), "force_mean_since_service .*grows without bound"),
        (EventCount("service", 4 * SECOND), "service_count_4s .*events are no part of panes"),
        (Lag(TimeSince("service"), 2), "time_since_service .*events are no part of panes"),
    ],
)
def test_what_needs_more_than_panes_is_refused_with_its_reason(feature, why):
    fleet = replace(FLEET, event_kinds=("service",))
    with pytest.raises(ExportError, match=why):
        feature_graph(FeatureSet(fleet, SECOND, SECOND, (feature,)))


def test_a_graph_larger_than_serving_reads_is_refused():
    windows = [number * SECOND for number in range(1, 50)]
    with pytest.raises(ExportError, match="not one that serving reads"):
        feature_graph(FeatureSet(FLEET, SECOND, SECOND, grid(FLEET.signal_names, FORMS, windows)))


class TestDensePanes:
    def test_panes_lie_where_their_time_is_and_the_rest_is_empty(self):
        times = np.array([10, 12, 13]) * SECOND_US
        table = panes_of(EVERY, np.array([3, 3, 5], np.int32), times, np.array([[1.0, 1e8], [2.0, 1e8], [9.0, 1e8]]))
        ends = np.array([13, 13, 20, 12]) * SECOND_US
        dense = panes_behind(EVERY, table, np.array([3, 5, 3, 4], np.int32), ends)
        held = [np.flatnonzero(row[:, 0, 0]).tolist() for row in dense]
        assert held == [[5, 7], [], [0], []]
        assert dense[0, 7, 0, PANE_FIELDS.index("first")] == 2.0
        np.testing.assert_array_equal(dense[1], empty((8, 2)))

    def test_without_panes_every_row_is_empty(self):
        table = panes_of(EVERY, np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros((0, 2)))
        dense = panes_behind(EVERY, table, np.array([0], np.int32), np.array([0]))
        np.testing.assert_array_equal(dense[0], empty((8, 2)))


@pytest.mark.parametrize("name", ["hist_gradient_boosting", "random_forest", "linear"])
def test_panes_to_score_is_features_to_score(name):
    random = np.random.default_rng(8)
    minutes = np.arange(0, 60 * 24 * 60, 5)
    times = np.tile(minutes, 3) * 60 * SECOND_US
    device = np.repeat(np.arange(3, dtype=np.int32), len(minutes))
    values = 5.0 + random.normal(size=(len(times), 6)).cumsum(axis=0) * 0.01
    values[random.random(values.shape) < 0.2] = np.nan
    values[(device == 1) & (times > 1e12)] = np.nan  # dead: rows of nothing but missing values
    table = panes_of(PUMPS, device, times, values)
    rows = feature_rows(PUMPS, table)
    seen = rows.values.astype(np.float32).astype(np.float64)
    label = (np.nan_to_num(seen[:, 0]) > np.nanmedian(seen[:, 0])).astype(float)
    estimator = create(name, "probability")
    estimator.fit(Rows("probability", PUMPS.names, seen, label), {}, seed=1)
    model = write(estimator.nodes(), Sigmoid(), len(PUMPS.names))
    expected = onnxruntime.InferenceSession(model).run(["score"], {"features": rows.values.astype(np.float32)})[0]
    found = answer(score_graph(PUMPS, model), panes_behind(PUMPS, table, rows.device, rows.end), "score")
    assert np.isnan(rows.values).any(axis=1).sum() > 100
    assert ((expected > 0.5) != (found > 0.5)).sum() == 0
    assert np.abs(expected - found).max() < 1e-6


MACHINES = usecases.load("machine_failure")
FROM_PANES = tuple(
    feature
    for feature in MACHINES.features.features
    if isinstance(feature, Difference) or (isinstance(feature, Feature) and isinstance(feature.window, timedelta))
)
USECASE = replace(
    MACHINES,
    feature_set=replace(MACHINES.features, features=FROM_PANES),  # no graph of panes knows events or a beginning
    label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12)),
    pane_graph=True,
)
NOW = 1_795_305_600_000_000
LEARNED = Parameters(seed=1)


def fill(lake, past):
    """Machines whose voltage rises in the day before they fail: telemetry hour by hour, and what is made of it."""
    random = np.random.default_rng(3)
    names = USECASE.fleet_schema.signal_names
    times = np.arange(int(past.windows.end.min()), past.until, HOUR)
    dates = [str(np.datetime64(time, "us").astype("datetime64[D]")) for time in times.tolist()]
    parts = []
    for device in np.unique(past.windows.device).tolist():
        failures = past.events.time[past.events.device == device]
        ahead = failures[:, None] - times
        signals = {name: random.normal(50, 5, len(times)) for name in names}
        signals["volt"] += 40.0 * ((ahead > 0) & (ahead < 24 * HOUR)).any(axis=0)
        signals["rotate"][random.random(len(times)) < 0.9] = np.nan
        for name in names:
            if name.startswith("error"):
                signals[name] = np.where(random.random(len(times)) < 0.05, 1.0, np.nan)
        rows = {"date": dates, "device": [device] * len(times), "time": times, "received": times}
        parts.append(pa.table(rows | {"batch": np.ones(len(times), np.int64)} | signals))
    telemetry = lake.telemetry(USECASE.fleet).create()
    telemetry.append(pa.concat_tables(parts), transaction=(f"ingest:{USECASE.fleet}", 1))
    events = past.events
    told = {"device": events.device, "time": events.time, "kind": events.kind, "known_at": events.known_at}
    append(lake.events(USECASE.fleet), told | {"detail": [""] * len(events.time)})
    materialize(lake, USECASE.features)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("store"))
    fill(Lake(folder), past_of(devices=8, days=45))
    return folder


@pytest.fixture(scope="module")
def training(folder):
    def run(registry, **more):
        return train(open_store(folder), Lake(folder), registry, USECASE, LEARNED, now_us=NOW, **more)

    return run


@pytest.fixture(scope="module")
def trained(training):
    registry = MemoryTrainings()
    summary = training(registry)
    return summary, registry.registrations[0]


def test_every_window_gets_its_panes_in_parts_of_devices_and_rows(folder, monkeypatch):
    monkeypatch.setattr(history, "_DEVICES_AT_ONCE", 3)
    monkeypatch.setattr(history, "_BYTES_AT_ONCE", 2**23)
    lake, features = Lake(folder), USECASE.features
    windows = history.windows_of(lake.features(features).open(), features, after={}, before={})
    shuffled = windows.select(np.random.default_rng(1).permutation(len(windows))[:1500])
    parts = list(history.panes_behind(lake, features, shuffled))
    assert len(parts) > 10
    assert sorted(np.concatenate([rows for rows, _ in parts]).tolist()) == list(range(1500))
    session = onnxruntime.InferenceSession(feature_graph(features), providers=["CPUExecutionProvider"])
    for rows, behind in parts:
        (values,) = session.run(["features"], {"panes": behind})
        np.testing.assert_allclose(values, shuffled.values[rows], rtol=1e-9, atol=1e-9)


class TestTraining:
    def test_the_gate_lets_pass_what_says_the_same_from_panes_on_every_held_out_window(self, trained):
        summary, registration = trained
        assert (summary.gate, summary.parity["label_flips"]) == ("passed", 0)
        assert summary.parity["max_abs"] < 1e-6
        found = json.loads(registration.files["report/report.json"])["parity"]
        assert found["pane_rows"] == summary.rows["test"] > 500

    def test_the_bundle_holds_the_graph_and_answers_panes(self, trained):
        bundle = unpack(trained[1].files[BUNDLE])
        assert bundle.pane_model == score_graph(USECASE.features, bundle.model)
        predictor, nothing = PanePredictor(bundle), empty((2, *pane_shape(USECASE.features)[:2]))
        missing = np.full((2, len(USECASE.features.names)), np.nan)
        missing[:, [name.endswith(("_count_24h", "_count_3d", "_count_72h")) for name in USECASE.features.names]] = 0.0
        expected = Predictor(bundle).predict(missing)
        np.testing.assert_array_equal(predictor.predict(nothing).score, expected.score)
        assert len(predictor.predict(nothing[:0]).score) == 0

    def test_the_gate_refuses_a_graph_that_says_something_else(self, training, monkeypatch):
        monkeypatch.setitem(FORMS, "mean", FORMS["max"])
        registry = MemoryTrainings()
        summary = training(registry)
        assert summary.gate == "failed"
        assert any(reason.startswith("label_flips") for reason in summary.reasons)

    def test_a_set_without_a_graph_is_refused_before_anything_is_fitted(self, training, monkeypatch):
        monkeypatch.delitem(FORMS, "std")
        with pytest.raises(ExportError, match="has no form in ONNX"):
            training(MemoryTrainings(), progress=lambda *_: pytest.fail("it began"))
