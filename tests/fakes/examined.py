"""Examinations of each kind of question, made of a small fleet with a past: what reports are written of."""

import time
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
from onnx import helper

from pipelines import usecases
from pipelines.candidate import build
from pipelines.dataset import build as cut
from pipelines.estimators import ESTIMATORS, Parameters, Space
from pipelines.examine import Champion, examine
from pipelines.labels import Anomaly, Events, FailureWithin, Forecast, Label, RemainingLife, State
from pipelines.links import Nodes
from pipelines.rules import Alerting, Cost, GateRules
from tests.fakes.histories import HOUR, history

MACHINES = usecases.load("machine_failure")
DAY = timedelta(days=1)
KNOWN = 8  # features that know what is coming
LABELS: dict[str, Label] = {
    "failure": FailureWithin(DAY, recovery=timedelta(hours=12)),
    "life": RemainingLife(cap=5 * DAY, step=timedelta(hours=1)),
    "state": State("hot"),
    "anomaly": Anomaly(normal=15 * DAY, state="hot"),
    "forecast": Forecast(MACHINES.features.names[0], timedelta(hours=6), "V"),
}
ALERTING = {"failure": Alerting(cost=Cost(missed_failure=8000, false_alarm=100)), "life": Alerting(at=24.0)}


class Distance:
    """How far values are from those of normal operation, squared and averaged: the simplest that learns normality."""

    name = "distance"
    learns = frozenset({"normality"})
    defaults: ClassVar[Parameters] = {}
    space: ClassVar[Space] = {}

    def fit(self, rows, parameters, seed):
        self._median = np.nanmedian(rows.values, axis=0)
        known = np.where(np.isnan(rows.values), self._median, rows.values)
        self._mean, self._std = known.mean(axis=0), known.std(axis=0) + 1e-12

    def margin(self, values):
        known = np.where(np.isnan(values), self._median, values)
        return (((known - self._mean) / self._std) ** 2).mean(axis=1)

    def nodes(self):
        steps = [("IsNaN", ["wide"], "missing"), ("Where", ["missing", "median", "wide"], "known")]
        steps += [("Sub", ["known", "mean"], "centred"), ("Div", ["centred", "std"], "scaled")]
        nodes = [helper.make_node(name, inputs, [output]) for name, inputs, output in steps]
        nodes += [helper.make_node("Mul", ["scaled", "scaled"], ["squared"])]
        nodes += [helper.make_node("ReduceMean", ["squared"], ["margin"], axes=[1], keepdims=1)]
        return Nodes(nodes, {"median": self._median, "mean": self._mean, "std": self._std})

    def thresholds(self):
        return []


def usecase_of(question, **changes):
    """A use case that asks a question of the machines."""
    plain = replace(MACHINES, label=LABELS[question], estimator="linear", gate=GateRules(), owner="Line 3, maintenance")
    plain = replace(plain, title=f"Machines: {LABELS[question].name}", alerting=ALERTING.get(question, Alerting()))
    return replace(plain, **changes)


def dataset_of(question, usecase, devices=12, days=45, events=None, *, remember=False):
    """A data set: eight features warm up before failures, the others know nothing.

    With ``remember``, those others are what windows of a day share with their neighbours.
    """
    past = history(devices=devices, days=days)
    random = np.random.default_rng(1)
    known = past.windows.values[:, :1]
    noise = random.normal(size=(len(known), len(usecase.features.names) - KNOWN))
    if remember:
        noise = np.column_stack([np.convolve(column, np.ones(8) / 8**0.5, "same") for column in noise.T])
    windows = replace(past.windows, values=np.hstack([np.tile(known, KNOWN), noise]))
    if question == "forecast":  # something that can be foreseen
        wave = np.sin(windows.end / (30 * HOUR)) + random.normal(size=len(windows)) * 0.1
        windows.values[:, 0], windows.values[:, 1] = wave, np.cos(windows.end / (30 * HOUR))
    happened = events or past.events
    if question in {"state", "anomaly"}:
        happened = _spells(past)
    return cut(
        usecase.features.names,
        windows,
        usecase.label,
        happened,
        usecase.split,
        known_until=past.until,
        every_us=past.every,
        lineage={"features.version": "7", "events.version": "3"},
    )


def _spells(past):
    """Each failure was a day in a state; devices without one were told of, too."""
    begun = past.events.time - 24 * HOUR
    names = np.unique(past.windows.device)
    first = np.full(len(names), int(past.windows.end.min()) - HOUR)
    device = np.concatenate([past.events.device, past.events.device, names])
    moment = np.concatenate([begun, past.events.time, first])
    kind = np.repeat(["hot_begin", "hot_end", "hot_end"], [len(begun), len(begun), len(names)])
    return Events.of({"device": device, "time": moment, "kind": kind, "known_at": moment})


@cache
def usual(question):
    """The examination of a kind of question as it usually is, made once: it takes a second or two."""
    return examined(question)


def examined(question="failure", *, champion=False, events=None, rebuild=None, **changes):
    """Build and examine a candidate."""
    usecase = usecase_of(question, **changes)
    data = dataset_of(question, usecase, events=events)
    estimator = Distance.name if question == "anomaly" else usecase.estimator
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ESTIMATORS, Distance.name, Distance)
        candidate = build(usecase, data, estimator, {}, 0)
        return examine_candidate(usecase, data, candidate, champion=champion, rebuild=rebuild)


def examine_candidate(usecase, data, candidate=None, *, champion=False, rebuild=None):
    """Examine a candidate, the usual one if none is given; the champion is the same once more."""
    candidate = candidate or build(usecase, data, usecase.estimator, {}, 0)
    other = Champion("3", candidate.predictor, data.test.values) if champion else None
    same = rebuild or (lambda sample: sample.values)
    timer = time.perf_counter
    return examine(usecase, data, candidate, other, panes=lambda _: [], seed=0, timer=timer, rebuild=same)
