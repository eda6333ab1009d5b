"""The examination of a candidate: everything that is known about its bundle before somebody decides.

The bundle is asked through the predictor that will serve it, on every held-out row. But for time and memory, which are
measured, the same bundle and data give the same findings.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.errors import TidemillError
from pipelines.candidate import Candidate, span_of
from pipelines.dataset import Dataset, Windows
from pipelines.estimator import Logistic, fit
from pipelines.evaluate import DialPoint, Metrics, Span, by_device, choose_threshold, dial, measure
from pipelines.footprint import peak_memory_mib
from pipelines.gate import Comparison, Evidence, RuleResult, judge, passed, reasons
from pipelines.parity import Panes, Parity, compare, compare_panes
from pipelines.sensitivity import Leaning, lean
from pipelines.usecases import UseCase
from serving.errors import GoldenMismatchError
from serving.predictor import Predictor, Scores

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
        score: Probability of each window of the test.
        alert: Whether each alerts.
        metrics: On the whole test.
        known: On devices that were in training.
        new: On held-out devices.
        constant: Of always guessing the base rate.
        logistic: Of a plain logistic model.
        champion: The version in use, on the same rows.
        parity: Bundle against fitted model.
        golden_passed: Whether the bundle gives its golden scores here.
        latency_us: Median time of one row.
        memory_mib: Peak memory of a process that opens the bundle.
        outside: Share of test windows with a value outside what training saw.
        dial: What other thresholds would have done.
        devices: Metrics by device, worst first.
        leanings: What the model leans on, most important signal first.
        results: The rules of the gate, judged.
    """

    usecase: UseCase
    dataset: Dataset
    candidate: Candidate
    score: NDArray[np.float64]
    alert: NDArray[np.bool_]
    metrics: Metrics
    known: Metrics
    new: Metrics
    constant: Metrics
    logistic: Metrics
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
    """
    test, span, new = dataset.test, span_of(dataset), dataset.new
    answers = _Answers(test, span, candidate.predictor.predict(test.values))
    evidence = _evidence(usecase, dataset, candidate, champion, answers, panes=panes, seed=seed, timer=timer)
    return Examination(
        usecase=usecase,
        dataset=dataset,
        candidate=candidate,
        score=answers.given.score,
        alert=answers.given.alert,
        metrics=evidence.candidate,
        known=answers.measured(~new),
        new=answers.measured(new),
        constant=evidence.constant,
        logistic=evidence.logistic,
        champion=evidence.champion,
        parity=evidence.parity,
        golden_passed=evidence.golden_passed,
        latency_us=evidence.latency_us,
        memory_mib=evidence.memory_mib,
        outside=_outside(dataset.train.values, test.values),
        dial=dial(test, answers.given.score, span, candidate.threshold),
        devices=by_device(test, answers.given.alert, span),
        leanings=lean(candidate.predictor, dataset.train, test, span, seed) if test.positive.any() else [],
        results=judge(usecase.gate, evidence),
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the bundle says of the windows of the test."""

    test: Windows
    span: Span
    given: Scores

    def measured(self, rows: NDArray[np.bool_]) -> Metrics:
        """Metrics on some of them."""
        return measure(self.test.select(rows), self.given.score[rows], self.given.alert[rows], self.span)


def _evidence(
    usecase: UseCase,
    dataset: Dataset,
    candidate: Candidate,
    champion: Champion | None,
    answers: _Answers,
    *,
    panes: Panes,
    seed: int,
    timer: Callable[[], float],
) -> Evidence:
    """What the gate judges."""
    test, span, predictor = answers.test, answers.span, candidate.predictor
    metrics = answers.measured(np.ones(len(test), dtype=np.bool_))
    constant = np.full(len(test), dataset.train.positive.mean())
    return Evidence(
        train_failures=dataset.events_in(dataset.train),
        train_devices=len(np.unique(dataset.train.device)),
        quality=dataset.quality,
        candidate=metrics,
        constant=measure(test, constant, np.zeros(len(test), dtype=np.bool_), span),
        logistic=metrics if candidate.estimator == Logistic.name else _logistic(usecase, dataset, span, seed),
        champion=_compare(champion, test, span) if champion else None,
        parity=_parity(candidate, test, panes, seed),
        golden_passed=_gives_golden_scores(predictor),
        latency_us=_latency_us(predictor, test.values, timer),
        bundle_bytes=len(candidate.data),
        memory_mib=peak_memory_mib(candidate.data),
        placements=usecase.placements,
        cost=usecase.cost,
    )


def _parity(candidate: Candidate, test: Windows, panes: Panes, seed: int) -> Parity:
    found = compare(candidate.fitted, candidate.predictor, test.values, seed)
    if candidate.bundle.pane_model is None:
        return found
    return compare_panes(found, candidate.predictor, test, panes)


def _logistic(usecase: UseCase, dataset: Dataset, span: Span, seed: int) -> Metrics:
    fitted = fit(Logistic.name, {}, dataset.train, seed)
    threshold = choose_threshold(dataset.train, fitted.rehearsed, span, usecase.cost)
    score = fitted.score(dataset.test.values)
    return measure(dataset.test, score, score >= threshold, span)


def _compare(champion: Champion, test: Windows, span: Span) -> Comparison:
    if champion.predictor is None or champion.values is None:
        return Comparison(champion.version, None, champion.note)
    try:
        answer = champion.predictor.predict(champion.values)
    except TidemillError as error:
        return Comparison(champion.version, None, str(error))
    return Comparison(champion.version, measure(test, answer.score, answer.alert, span))


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
