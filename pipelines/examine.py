"""The examination of a candidate: everything that is known about its bundle before somebody decides.

The bundle is asked through the predictor that will serve it, on every held-out row. But for time and memory, which are
measured, the same bundle and data give the same findings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from features.errors import TidemillError
from pipelines import intervals, leak
from pipelines.answers import Answers
from pipelines.calibration import Calibration, calibration
from pipelines.candidate import Candidate, output_of, recipe_of, span_of
from pipelines.dataset import Dataset
from pipelines.estimators import able
from pipelines.estimators.linear import Linear
from pipelines.fitting import fit
from pipelines.footprint import peak_memory_mib
from pipelines.gate import Comparison, Evidence, RuleResult, judge, passed, reasons
from pipelines.leak import Rebuild, Scrambled, Shifted
from pipelines.parity import Panes, Parity, compare, compare_panes
from pipelines.sensitivity import Leaning, lean
from pipelines.slices import Slice, slices
from pipelines.stability import Fold, Period, by_fold, by_period
from pipelines.tasks import Metrics, Task, task_of
from pipelines.tasks.failure import DialPoint, dial
from pipelines.usecases import UseCase
from pipelines.windows import Windows
from serving.errors import GoldenMismatchError
from serving.predictor import Predictor

_LATENCY_CALLS = 200


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in use.

    Attributes:
        version: Its version.
        predictor: Its bundle; None when it cannot be opened.
        values: Its features on the windows of the test, shape ``(n, F)``; None when they could not be had.
        note: Why something is missing.
    """

    version: str
    predictor: Predictor | None
    values: NDArray[np.float64] | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes:
        usecase: The use case.
        dataset: What was learned from and examined with.
        candidate: The candidate.
        score: Score of each window of the test.
        alert: Whether each alerts.
        metrics: On the whole test.
        intervals: 95 % interval of each figure, when devices are drawn anew.
        known: On devices that were in training.
        new: On held-out devices.
        constant: Of always guessing the same.
        linear: Of a linear model; None where none can learn this.
        champion: The version in use, on the same rows.
        parity: Bundle against fitted model.
        golden_passed: Whether the bundle gives its golden scores here.
        latency_us: Median time of one row.
        memory_mib: Peak memory of a process that opens the bundle.
        outside: Share of test windows with a value outside what training saw.
        dial: What other thresholds would have done; for failures only.
        devices: Metrics by device, worst first.
        leanings: What the model leans on, most important signal first.
        results: The rules of the gate, judged.
        scrambled: What training knows about scrambled labels; None where nothing is learned from labels.
        shifted: What became of features without the future; None where they were not made again.
        folds: The same recipe on parts of training.
        periods: The bundle in stretches of the test.
        slices: The bundle on parts of the test.
        calibration: Whether probabilities come true; None where there are none.
    """

    usecase: UseCase
    dataset: Dataset
    candidate: Candidate
    score: NDArray[np.float64]
    alert: NDArray[np.bool_]
    metrics: Metrics
    intervals: Mapping[str, tuple[float, float]]
    known: Metrics
    new: Metrics
    constant: Metrics
    linear: Metrics | None
    champion: Comparison | None
    parity: Parity
    golden_passed: bool
    latency_us: float
    memory_mib: float
    outside: float
    dial: list[DialPoint]
    devices: list[tuple[str, Metrics]]
    leanings: list[Leaning]
    results: list[RuleResult]
    scrambled: Scrambled | None
    shifted: Shifted | None
    folds: list[Fold]
    periods: list[Period]
    slices: list[Slice]
    calibration: Calibration | None

    @property
    def task(self) -> Task:
        """How the answers are judged."""
        return task_of(self.usecase.label)

    @property
    def passed(self) -> bool:
        """Whether the gate lets the candidate through."""
        return passed(self.results)

    @property
    def reasons(self) -> list[str]:
        """Why it does not."""
        return reasons(self.results)


def examine(
    usecase: UseCase,
    dataset: Dataset,
    candidate: Candidate,
    champion: Champion | None,
    *,
    panes: Panes,
    seed: int,
    timer: Callable[[], float],
    rebuild: Rebuild | None = None,
) -> Examination:
    """Examine and judge a candidate.

    Args:
        usecase: Rules, cost and placements.
        dataset: Its test is asked.
        candidate: The bundle.
        champion: The version in use; None when there is none.
        panes: Gives the panes behind windows; asked only for a bundle that holds the graph from panes.
        seed: Of the rows that are changed.
        timer: A monotonic clock, seconds.
        rebuild: Makes features again without the future; None where there is no telemetry to make them from.
    """
    test, new, task = dataset.test, dataset.new, task_of(usecase.label)
    given = candidate.predictor.predict(test.values)
    answers = Answers(task, test, span_of(dataset), given.score, given.alert)
    evidence = _evidence(usecase, dataset, candidate, champion, answers, panes=panes, seed=seed, timer=timer)
    evidence = replace(
        evidence,
        scrambled=leak.scrambled(task.learns, dataset, seed=seed),
        shifted=None if rebuild is None else leak.shifted(dataset.names, test, rebuild, seed=seed),
    )
    return Examination(
        usecase=usecase,
        dataset=dataset,
        candidate=candidate,
        score=answers.score,
        alert=answers.alert,
        metrics=evidence.candidate,
        intervals=intervals.by_devices(test, dataset.events, answers.drawn, seed=seed),
        known=answers.on(~new),
        new=answers.on(new),
        constant=evidence.constant,
        linear=evidence.linear,
        champion=evidence.champion,
        parity=evidence.parity,
        golden_passed=evidence.golden_passed,
        latency_us=evidence.latency_us,
        memory_mib=evidence.memory_mib,
        outside=_outside(dataset.train.values, test.values),
        dial=dial(test, answers.score, answers.span, candidate.threshold) if task.question == "failure" else [],
        devices=answers.by_device(),
        leanings=lean(task, candidate.predictor, dataset.train, test, answers.span, seed=seed),
        results=judge(usecase.gate, evidence),
        scrambled=evidence.scrambled,
        shifted=evidence.shifted,
        folds=_folds(usecase, dataset, candidate, answers, seed),
        periods=by_period(task, test, answers.span, answers.on),
        slices=slices(task, dataset, candidate.bundle.manifest.features, answers.span, answers.on),
        calibration=calibration(answers.score, test.positive) if task.learns == "probability" else None,
    )


def _evidence(
    usecase: UseCase,
    dataset: Dataset,
    candidate: Candidate,
    champion: Champion | None,
    answers: Answers,
    *,
    panes: Panes,
    seed: int,
    timer: Callable[[], float],
) -> Evidence:
    """What the gate judges."""
    task, test, span, predictor = answers.task, answers.test, answers.span, candidate.predictor
    metrics = answers.on(np.ones(len(test), dtype=np.bool_))
    (learned, _), (judged, counted) = task.evidence(dataset.train, span), task.evidence(test, span)
    # Always the same: the base rate, the mean quantity, or nothing unusual.
    constant = np.full(len(test), dataset.train.label.mean())
    return Evidence(
        task=task,
        train=learned,
        test=judged,
        counted=counted,
        train_devices=len(np.unique(dataset.train.device)),
        quality=dataset.quality,
        candidate=metrics,
        constant=task.measure(test, constant, np.zeros(len(test), dtype=np.bool_), span),
        linear=metrics if candidate.estimator == Linear.name else _linear(usecase, dataset, answers, seed),
        champion=_compare(champion, answers) if champion else None,
        parity=_parity(candidate, test, panes, seed),
        range=candidate.bundle.manifest.output.range,
        golden_passed=_gives_golden_scores(predictor),
        latency_us=_latency_us(predictor, test.values, timer),
        bundle_bytes=len(candidate.data),
        memory_mib=peak_memory_mib(candidate.data),
        placements=usecase.placements,
        cost=usecase.alerting.cost,
    )


def _folds(usecase: UseCase, dataset: Dataset, candidate: Candidate, answers: Answers, seed: int) -> list[Fold]:
    recipe = recipe_of(usecase, dataset, candidate.estimator, candidate.parameters, seed)
    gap_us = usecase.split.purge_us + usecase.label.known_after // timedelta(microseconds=1)
    return by_fold(answers.task, recipe, dataset.train, answers.span, usecase.split, gap_us=gap_us)


def _parity(candidate: Candidate, test: Windows, panes: Panes, seed: int) -> Parity:
    found = compare(candidate.fitted, candidate.predictor, test.values, seed)
    if candidate.bundle.pane_model is None:
        return found
    return compare_panes(found, candidate.predictor, test, panes)


def _linear(usecase: UseCase, dataset: Dataset, answers: Answers, seed: int) -> Metrics | None:
    task, span = answers.task, answers.span
    if Linear.name not in able(task.learns):
        return None
    fitted = fit(recipe_of(usecase, dataset, Linear.name, {}, seed), dataset.train)
    threshold = task.threshold(dataset.train, fitted.rehearsed, span, usecase.alerting)
    score = fitted.score(dataset.test.values)
    alert = output_of(usecase, dataset).alerts(score, threshold)
    found: Metrics = task.measure(dataset.test, score, alert, span)
    return found


def _compare(champion: Champion, answers: Answers) -> Comparison:
    if champion.predictor is None or champion.values is None:
        return Comparison(champion.version, None, champion.note)
    try:
        answer = champion.predictor.predict(champion.values)
    except TidemillError as error:
        return Comparison(champion.version, None, str(error))
    found: Metrics = answers.task.measure(answers.test, answer.score, answer.alert, answers.span)
    return Comparison(champion.version, found)


def _gives_golden_scores(predictor: Predictor) -> bool:
    try:
        predictor.check_golden()
    except GoldenMismatchError:
        return False
    return True


def _latency_us(predictor: Predictor, values: NDArray[np.float64], timer: Callable[[], float]) -> float:
    times = []
    for number in range(_LATENCY_CALLS):
        row = values[number % len(values)].reshape(1, -1)
        began = timer()
        predictor.predict(row)
        times.append(timer() - began)
    return float(np.median(times) * 1e6)


def _outside(train: NDArray[np.float64], test: NDArray[np.float64]) -> float:
    low, high = np.fmin.reduce(train), np.fmax.reduce(train)
    return float(np.mean(((test < low) | (test > high)).any(axis=1)))
