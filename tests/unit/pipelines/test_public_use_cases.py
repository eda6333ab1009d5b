"""The use cases of public sets, end to end on slices of the real files: from what a hub received to a judged bundle."""

import itertools
import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features import catalog
from features.feature import grid, lagged
from pipelines import history, regimes, usecases
from pipelines.candidate import build
from pipelines.examine import Champion, examine
from pipelines.importers import backblaze, occupancy, skab
from pipelines.importers.arrivals import Target, write
from pipelines.ingest import ingest
from pipelines.lake import Lake
from pipelines.materialize import materialize
from pipelines.parity import compare
from pipelines.tasks.state import measure
from serving.store import open_store
from tests.unit.pipelines.test_estimators import needing

pytestmark = pytest.mark.skipif(
    "TIDEMILL_DATA" not in os.environ, reason="TIDEMILL_DATA names no folder of public sets"
)

SKAB = catalog.load("skab")


def loaded(place, name, items, feature_set=None):
    """The data set of a use case, from the messages of its devices."""
    usecase, now_us = replace(usecases.load(name), feature_set=feature_set), time.time_ns() // 1000
    fleet = catalog.load(usecase.fleet).fleet
    store = open_store(str(place), create=True)
    write(store, Target.of(fleet), items)
    lake = Lake(store.uri)
    ingest(store, lake, fleet, now_us)
    asked: dict[str, Any] = {"since": None, "until": None, "seed": 0, "now_us": now_us}
    if usecase.feature_set is None:
        materialize(lake, usecase.features)
    usecase = regimes.learned(store, lake, usecase, **asked)
    return usecase, history.load(store, lake, usecase, **asked)


def folder(name):
    return Path(os.environ["TIDEMILL_DATA"], name)


def examined(usecase, data, estimator, champion=None, **parameters):
    candidate = build(usecase, data, estimator, parameters, seed=0)
    return candidate, examine(
        usecase, data, candidate, champion, panes=lambda _windows: [], seed=0, timer=time.perf_counter
    )


def test_the_gate_keeps_a_linear_champion_over_boosting_that_does_not_carry_over_to_other_days(tmp_path):
    usecase, data = loaded(tmp_path, "room_occupancy", occupancy.items(folder("occupancy")))
    assert len(data.train) == 8143
    assert data.test.end.min() < data.train.end.min() < data.train.end.max() < data.test.end.max()
    linear, judged = examined(usecase, data, "linear")
    assert judged.passed, judged.reasons
    before = data.test.end < data.train.end.min()
    right = judged.alert == data.test.positive
    assert right[before].mean() >= 0.977
    assert right[~before].mean() >= 0.985
    champion = Champion("1", linear.predictor, data.test.values)
    _, refused = examined(usecase, data, "hist_gradient_boosting", champion)
    assert not refused.passed
    assert any(reason.startswith("champion_ahead") for reason in refused.reasons)


def test_runs_of_the_testbed_are_told_from_how_they_began(tmp_path):
    # Four runs of about 1150 readings each, with their events.
    few = itertools.islice((one for one in skab.items(folder("skab")) if _of_valve(one)), 4530)
    usecase, data = loaded(tmp_path, "process_anomaly", few)
    assert (data.train.label == 0).all()
    assert 310 <= len(data.train) <= 320  # 400 s of four runs, a row every 5 s
    _, forest = examined(usecase, data, "isolation_forest")
    _, judged = examined(usecase, data, "pca")
    assert (forest.parity.label_flips, judged.parity.label_flips) == (0, 0)
    assert judged.metrics.roc_auc > 0.8


def test_a_run_of_another_month_and_another_flow_is_learned_as_a_normal_operation_of_its_own(tmp_path):
    every = list(skab.items(folder("skab")))
    normal, valve = ([one for one in every if _of_valve(one) == there] for there in (False, True))
    usecase, data = loaded(tmp_path, "process_anomaly", [*normal, *valve[:9060]])
    assert data.quality.gaps < 0.02
    assert _flows(data.train) > 3 * _flows(data.test)
    _, judged = examined(usecase, data, "pca")
    assert judged.passed, judged.reasons
    assert judged.parity.label_flips == 0
    single = replace(usecase, parameters={**usecase.parameters, "modes": 1})
    _, refused = examined(single, data, "pca")
    assert not refused.passed  # in the way between two flows, faults drown


def _flows(windows):
    return np.quantile(windows.values[:, catalog.load("skab").fleet.signal_names.index("flow")], 0.99)


def _of_valve(one):
    return one.time_us > 1_583_700_000_000_000  # the run without anomalies is a month older


@needing("torch_autoencoder")
def test_an_autoencoder_sees_the_last_minute_of_the_water_loop(tmp_path):
    few = itertools.islice((one for one in skab.items(folder("skab")) if _of_valve(one)), 2265)  # two runs
    levels = grid(SKAB.fleet.signal_names, ["mean"], [timedelta(seconds=5)])
    minute = replace(SKAB.features, features=lagged(levels, rows=12))
    usecase, data = loaded(tmp_path, "process_anomaly", few, minute)
    assert len(data.names) == 12 * len(levels)
    candidate = build(usecase, data, "torch_autoencoder", {"epochs": 15, "batch": 32}, seed=0)
    assert compare(candidate.fitted, candidate.predictor, data.test.values, seed=0).label_flips == 0
    given = candidate.predictor.predict(data.test.values)
    assert measure(data.test, given.score, given.alert).roc_auc > 0.7
    asked = data.test.values[:50]
    backwards = asked.reshape(50, 12, -1)[:, ::-1].reshape(50, -1)  # a row says each feature, then each a step before
    assert not np.allclose(candidate.fitted.estimator.margin(asked), candidate.fitted.estimator.margin(backwards))


def test_disks_that_report_few_attributes_make_a_model(tmp_path):
    failing = {"9XW02JCL", "9VS3ESD9", "9XW01M11", "6XW1FXMM", "5YD3H02B", "6XW057BA"}
    some = (
        one for one in backblaze.items(folder("backblaze")) if one.device in failing or one.device.startswith("6XW0G")
    )
    usecase, data = loaded(tmp_path, "drive_failure", some)
    assert np.isnan(data.train.values).all(axis=0).any()  # attributes nobody reported in 2013
    assert data.train.end.max() <= data.test_from
    for estimator in ("hist_gradient_boosting", "random_forest", "linear"):
        candidate = build(usecase, data, estimator, {}, seed=0)
        assert np.isfinite(candidate.predictor.predict(data.test.values).score).all()
