"""What a quality benchmark measures, and how one set is brought from its files to scores.

A set is imported as its hub would have written it, then goes the way of all telemetry: ingest, panes, features, data
set, candidate. What is scored is the bundle, by the predictor that will serve it, on rows that nothing was learned
from. Seeds change what a training may draw: fits, folds, and held-out devices where a share of them is held out.

A protocol may train several *variants* of its use case for one seed, such as one for each device left out; their
answers are judged together.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features import catalog
from pipelines import history, regimes, usecases
from pipelines.candidate import Candidate, build
from pipelines.dataset import Dataset
from pipelines.importers.arrivals import Reading, Report, Target, write
from pipelines.ingest import ingest
from pipelines.lake import Lake
from pipelines.materialize import materialize
from pipelines.usecases import UseCase
from serving.store import Store, open_store
from tests.bench.table import Row, of_runs

SEEDS = range(5)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one bundle said of its test.

    Attributes:
        usecase: What was trained, its regimes learned.
        dataset: What was learned from and judged with.
        candidate: The bundle.
        score: Score of each window of the test.
        alert: Whether each alerts.
    """

    usecase: UseCase
    dataset: Dataset
    candidate: Candidate
    score: NDArray[np.float64]
    alert: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number to report.

    Attributes:
        id: Its name.
        of: From the answers of all variants to the number.
        unit: Its unit.
        goal: ``">= 0.92"`` or ``"<= 10.5"``; None where it is only reported.
        note: What it is, beside the protocol.
        peers: What others reach.
    """

    id: str
    of: Callable[[Sequence[Answers]], float]
    unit: str = "1"
    goal: str | None = None
    note: str = ""
    peers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one set is measured.

    Attributes:
        name: Of the set; ``BENCH_ONLY`` picks by it, and ``seconds_<name>`` is told.
        usecase: What is trained.
        items: From the folder of the set to what its hub received.
        text: The protocol in words: it stands beside each number.
        figures: What is reported.
        variants: Changes of the use case, each trained for itself.
        seconds: Goal of the time from raw objects to a bundle.
    """

    name: str
    usecase: str
    items: Callable[[Path], Iterable[Reading | Report]]
    text: str
    figures: tuple[Figure, ...]
    variants: tuple[Callable[[UseCase], UseCase], ...] = (lambda usecase: usecase,)
    seconds: str | None = None


def measure(protocol: Protocol, *, seeds: Iterable[int] = SEEDS) -> list[Row]:
    """Train a set with each seed and return its rows: median and all runs.

    The time is that of the first variant with the first seed, from raw objects to the bundle; the others find features
    that are there already.
    """
    usecase = usecases.load(protocol.usecase)
    fleet = catalog.load(usecase.fleet).fleet
    with tempfile.TemporaryDirectory() as place:
        store = open_store(place, create=True)
        write(store, Target.of(fleet), protocol.items(Path(os.environ["TIDEMILL_DATA"], fleet.name)))
        lake, now_us = Lake(store.uri), time.time_ns() // 1000
        began, worked = time.perf_counter(), time.process_time()
        ingest(store, lake, fleet, now_us)
        found, took, cpu = [], 0.0, 0.0
        for seed in seeds:
            answers = []
            for change in protocol.variants:
                answers.append(train(store, lake, change(usecase), seed=seed, now_us=now_us))
                took, cpu = took or time.perf_counter() - began, cpu or time.process_time() - worked
            found.append([figure.of(answers) for figure in protocol.figures])
    rows = [
        of_runs(figure.id, runs, figure.unit, figure.goal, note=_note(protocol, figure), peers=figure.peers)
        for figure, runs in zip(protocol.figures, map(list, zip(*found, strict=True)), strict=True)
    ]
    note = f"Wall seconds from raw objects to a bundle: ingest, features, one training. {cpu:.0f} CPU seconds."
    return [*rows, Row(f"seconds_{protocol.name}", took, "s", protocol.seconds, [took], note=note)]


def train(store: Store, lake: Lake, usecase: UseCase, *, seed: int, now_us: int) -> Answers:
    """Train as ``pipelines.training`` does up to the bundle, and ask it."""
    usecase = regimes.learned(store, lake, usecase, since=None, until=None, seed=seed, now_us=now_us)
    materialize(lake, usecase.features)
    data = history.load(store, lake, usecase, since=None, until=None, seed=seed, now_us=now_us)
    candidate = build(usecase, data, usecase.estimator, {}, seed)
    given = candidate.predictor.predict(data.test.values)
    return Answers(usecase, data, candidate, given.score, given.alert)


def _note(protocol: Protocol, figure: Figure) -> str:
    return " ".join(part for part in (protocol.text, figure.note) if part)
