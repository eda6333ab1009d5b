"""What a search decided, and how that is told: to the run, to the report and in a sentence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.estimators.linear import Linear
from pipelines.study import Trial, ranked, runner_up
from pipelines.tasks import Measure


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search decided.

    Attributes:
        estimator: What to fit.
        parameters: Its parameters, on top of those of the use case.
        measure: What trials were judged by.
        trials: All of them by number; none where nothing was searched.
        constant: What always guessing the same reaches on the same parts; NaN where nothing was searched.
        note: Why nothing could be searched; empty when it could, or nobody asked.
        again: What the best reached over other divisions of the devices as well, by number of trial.
    """

    estimator: str
    parameters: Mapping[str, Any]
    measure: Measure
    trials: tuple[Trial, ...] = ()
    constant: float = float("nan")
    note: str = ""
    again: Mapping[int, float] = field(default_factory=dict)

    @property
    def order(self) -> list[Trial]:
        """The best first: those that were judged again with what they reached then, before all others."""
        finalists = [
            replace(trial, score=self.again[trial.number]) for trial in self.trials if trial.number in self.again
        ]
        others = [trial for trial in self.trials if trial.number not in self.again]
        return [*ranked(finalists, self.measure), *ranked(others, self.measure)]

    @property
    def best(self) -> Trial | None:
        """The trial that is built."""
        return next(iter(self.order), None)

    @property
    def second(self) -> Trial | None:
        """The runner-up, of another family where there is one."""
        found = self.order
        return runner_up(found) if found else None

    @property
    def linear(self) -> Trial | None:
        """The best linear model among them."""
        return next((trial for trial in self.order if trial.family == Linear.name), None)

    def sentence(self) -> str:
        """Say what came of it; empty when nobody asked for a search."""
        best, second = self.best, self.second
        if best is None:
            return self.note
        words = f"Best of {len(self.trials)} trials on training devices left out in turn: {reached(best)}"
        beside = [f"next {reached(second)}"] if second else []
        if self.linear and self.linear not in (best, second):
            beside.append(reached(self.linear))
        return f"{words}; {', '.join([*beside, f'always the same guess {self.constant:.4g}'])} ({self.measure.title})."

    def tags(self) -> dict[str, str]:
        """Return what a run says of it."""
        found = {"search.found": json.dumps(dict(self.parameters))} if self.best is not None or self.parameters else {}
        if self.best is None:
            return found
        told = {"search.best": self.best, "search.runner_up": self.second, "search.linear": self.linear}
        found |= {name: json.dumps(_brief(trial)) for name, trial in told.items() if trial is not None}
        return found | {
            "search.measure": self.measure.name,
            "search.trials": str(len(self.trials)),
            "search.constant": f"{self.constant:.6g}",
        }

    def document(self) -> dict[str, Any]:
        """Return it for the report's JSON."""
        return {
            "measure": self.measure.name,
            "better": self.measure.better,
            "best": _brief(self.best) if self.best else None,
            "runner_up": _brief(self.second) if self.second else None,
            "baselines": {
                "constant": self.constant if self.trials else None,
                "linear": _brief(self.linear) if self.linear else None,
            },
            "trials": [_brief(trial) for trial in self.trials],
            "judged_again": {str(number): score for number, score in self.again.items()},
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several found who search together.

    Attributes:
        usecase: The use case.
        share: Which share, ``"1-of-2"``.
        trials: Trials of all shares so far.
        own: Trials of this share.
        estimator: The best so far.
        score: What it reached; None where nothing did.
        measure: By what.
        seconds: How long this share took.
    """

    usecase: str
    share: str
    trials: int
    own: int
    estimator: str
    score: float | None
    measure: str
    seconds: float


def reached(trial: Trial) -> str:
    """Say which estimator reached how much.

    Example:
        >>> reached(Trial(3, "linear", {}, "1-of-1").ended(0.51234, 1.0))
        'linear 0.5123 (trial 3)'
    """
    return f"{trial.family} {trial.score:.4g} (trial {trial.number})"


def _brief(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "estimator": trial.family,
        "parameters": dict(trial.parameters),
        "score": trial.score,
        "seconds": round(trial.seconds, 3),
        "note": trial.note,
    }
