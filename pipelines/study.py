"""The study of a search: what was tried and what it reached, one object a trial, shared by all who take part.

    searches/<use case>/<key>/trials/0007.json    what is tried and by whom; what it reached, once it has ended
    searches/<use case>/<key>/shares/1-of-2.json  a share of the budget that is used up
    searches/<use case>/<key>/again.json          what the best reached when they were judged again

Numbers are taken by conditional writes, so two who search at once never try the same thing under one number. Whoever is
killed leaves a trial that runs; the next attempt at the same share ends it. What has ended is never tried again.

Why so:

- *Objects instead of Optuna's own storages*: its journal wants a file that all see, or a Redis, and writes ten entries
  a trial; its database wants a server. Every store of ours has conditional writes, and two of them are enough here.
  Optuna still proposes what to try: it is told of all trials before each proposal (`pipelines.tuning`).
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pipelines.tasks import Measure
from serving.store import Store

FOLDER = "searches"


@dataclass(frozen=True, slots=True)
class Trial:
    """One estimator with one set of parameters.

    Attributes:
        number: From 0 on, in the order in which they were begun.
        family: Name of the estimator.
        parameters: What was tried, as JSON has it.
        share: Who tries it: ``"1-of-2"``.
        state: ``"failed"`` where no score came of it.
        score: What it reached by the first measure of the task; None while it runs or when it failed.
        seconds: How long it took.
        began_us: When it was begun, UTC microseconds.
        note: Why it failed.
    """

    number: int
    family: str
    parameters: Mapping[str, Any]
    share: str
    state: Literal["running", "done", "failed"] = "running"
    score: float | None = None
    seconds: float = 0.0
    began_us: int = 0
    note: str = ""

    def ended(self, score: float, seconds: float, note: str = "") -> "Trial":
        """Return it with what came of it; a score that is no number is none.

        Example:
            >>> Trial(0, "linear", {}, "1-of-1").ended(math.nan, 0.5, "no failure to judge by").state
            'failed'
        """
        if math.isnan(score):
            return replace(self, state="failed", seconds=seconds, note=note)
        return replace(self, state="done", score=score, seconds=seconds)


class Study:
    """The trials of one search.

    Args:
        store: Where they lie.
        usecase: Name of the use case.
        key: What the search is about, to the last byte: `pipelines.searching.key_of`.
    """

    def __init__(self, store: Store, usecase: str, key: str) -> None:
        self._store, self._home = store, f"{FOLDER}/{usecase}/{key}"
        self._ended: dict[str, Trial] = {}

    def trials(self) -> list[Trial]:
        """Return all of them by number. What has ended is read once."""
        found = []
        for entry in self._store.list(f"{self._home}/trials/"):
            trial = self._ended.get(entry.key) or Trial(**json.loads(self._store.get(entry.key)))
            if trial.state != "running":
                self._ended[entry.key] = trial
            found.append(trial)
        return found

    def begin(self, trial: Trial) -> bool:
        """Take the number of a trial; False when somebody else has it."""
        return self._store.put_if_absent(self._key(trial), _bytes(asdict(trial)))

    def end(self, trial: Trial) -> None:
        """Write down what came of a trial that was begun."""
        self._store.put(self._key(trial), _bytes(asdict(trial)))

    def close(self, share: str, seconds: float) -> None:
        """Write down that a share is used up; a second time changes nothing."""
        self._store.put_if_absent(f"{self._home}/shares/{share}.json", _bytes({"seconds": seconds}))

    def closed(self) -> dict[str, float]:
        """Return the shares that are used up, with their seconds."""
        prefix = f"{self._home}/shares/"
        return {
            entry.key.removeprefix(prefix).removesuffix(".json"): float(
                json.loads(self._store.get(entry.key))["seconds"]
            )
            for entry in self._store.list(prefix)
        }

    def decide(self, judge: Callable[[], Mapping[int, float]]) -> dict[int, float]:
        """Return what the best reached when they were judged again, by number; asked of ``judge`` once."""
        key = f"{self._home}/again.json"
        if not any(entry.key == key for entry in self._store.list(key)):
            self._store.put_if_absent(key, _bytes({str(number): score for number, score in judge().items()}))
        return {int(number): float(score) for number, score in json.loads(self._store.get(key)).items()}

    def _key(self, trial: Trial) -> str:
        return f"{self._home}/trials/{trial.number:04d}.json"


def ranked(trials: Sequence[Trial], measure: Measure) -> list[Trial]:
    """Return the trials that reached something, the best first; of equals the earlier one.

    Example:
        >>> reached = [Trial(n, "linear", {}, "1-of-1").ended(score, 1.0) for n, score in enumerate([2.0, 1.0, 2.0])]
        >>> [trial.number for trial in ranked(reached, Measure("rmse", "error", "lower"))]
        [1, 0, 2]
        >>> [trial.number for trial in ranked(reached, Measure("f1", "F1"))]
        [0, 2, 1]
    """
    sign = -1.0 if measure.better == "higher" else 1.0
    reached = [(sign * trial.score, trial.number, trial) for trial in trials if trial.score is not None]
    return [trial for _, _, trial in sorted(reached, key=lambda row: row[:2])]


def runner_up(best_first: Sequence[Trial]) -> Trial | None:
    """Return the best trial of another family than the best one's; where all are of one family, the second best.

    Example:
        >>> names = ["forest", "forest", "linear"]
        >>> runner_up([Trial(number, name, {}, "1-of-1") for number, name in enumerate(names)]).number
        2
    """
    others = [trial for trial in best_first if trial.family != best_first[0].family] or best_first[1:]
    return others[0] if others else None


def _bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, allow_nan=False).encode()
