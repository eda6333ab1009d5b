"""Refuse a training that cannot be, before anything is read; light, so that the first task of a schedule can ask.

Which estimator learns what is spelt out here, because the estimators themselves load learning libraries; a test holds
the tables against them.
"""

import importlib.util
from collections.abc import Mapping
from datetime import UTC, datetime

from pipelines.errors import RequestError
from pipelines.request import Parameters
from pipelines.usecases import AUTOMATIC, UseCase

LEARNED: Mapping[str, str] = {
    "failure": "probability",
    "state": "probability",
    "life": "quantity",
    "forecast": "quantity",
    "anomaly": "normality",
}
"""What an estimator learns, by the question of the label."""
LEARNS: Mapping[str, tuple[str, ...]] = {
    "probability": ("hist_gradient_boosting", "random_forest", "linear", "mlp", "torch_cnn", "keras_cnn"),
    "quantity": ("hist_gradient_boosting", "random_forest", "linear", "mlp", "average", "torch_cnn", "keras_cnn"),
    "normality": ("pca", "isolation_forest", "torch_autoencoder", "keras_autoencoder"),
}
"""Estimators by what they learn."""
NEEDS: Mapping[str, tuple[str, ...]] = {
    "torch_cnn": ("torch",),
    "torch_autoencoder": ("torch",),
    "keras_cnn": ("keras", "tensorflow"),
    "keras_autoencoder": ("keras", "tensorflow"),
}
"""Libraries that come as an extra, by estimator."""
MOST_BUDGET_S = 86_400
"""The longest search, in seconds: a day. More is a slip of the hand, and would hold slots of its pool for that long."""
MOST_SEED = 2**31 - 1
"""The largest seed: scikit-learn takes those below 2**32, and parts of a training add their number to it."""
MOST_WORKERS = 16
"""The most tasks that share a search."""
_SECOND = 1_000_000


def refuse(usecase: UseCase, parameters: Parameters, now_us: int, workers: int = 1) -> None:
    """Refuse what cannot be.

    Args:
        usecase: What is to be foreseen.
        parameters: What is asked for.
        now_us: The clock, UTC microseconds.
        workers: How many tasks are to share the search.

    Raises:
        RequestError: Everything that is wrong with it, in one message.

    Example:
        >>> from pipelines import usecases
        >>> refuse(usecases.load("pump_failure"), Parameters(since=2, until=1, estimator="pca"), 3)
        Traceback (most recent call last):
        ...
        pipelines.errors.RequestError: since 1970-01-01 00:00 UTC is not before until 1970-01-01 00:00 UTC; estimator
        pca learns no probability (training of pump_failure). Fix: give an earlier since (From in the form) or a later
        until (To); use one of hist_gradient_boosting, random_forest, linear, mlp, torch_cnn, keras_cnn
    """
    found = [
        *_dates(parameters, now_us),
        *_estimator(usecase, parameters.estimator),
        *_budget(parameters.budget_s),
        *_within(f"seed {parameters.seed}", parameters.seed, 0, MOST_SEED, f"give a seed of 0 to {MOST_SEED}"),
        *_within(f"a number of {workers} search tasks", workers, 1, MOST_WORKERS, f"give 1 to {MOST_WORKERS} of them"),
    ]
    if found:
        raise RequestError(
            "; ".join(what for what, _ in found),
            where=f"training of {usecase.name}",
            fix="; ".join(dict.fromkeys(fix for _, fix in found)),
        )


def _dates(parameters: Parameters, now_us: int) -> list[tuple[str, str]]:
    since, until, found = parameters.since, parameters.until, []
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment > now_us:
            found.append((f"{name} {_told(moment)} is still to come", f"give a moment of the past as {name}, or none"))
    if since is not None and until is not None and since >= until:
        found.append(
            (
                f"since {_told(since)} is not before until {_told(until)}",
                "give an earlier since (From in the form) or a later until (To)",
            )
        )
    return found


def _estimator(usecase: UseCase, name: str | None) -> list[tuple[str, str]]:
    learned = LEARNED[usecase.label.question]
    if name is None or ":" in name:
        return []
    if name == AUTOMATIC:
        if learned != "normality":
            return []
        what = "an automatic search has nothing to judge by: what is normal has no answers"
        return [(what, f"use one of {', '.join(LEARNS[learned])}")]
    if name not in LEARNS[learned]:
        return [(f"estimator {name} learns no {learned}", f"use one of {', '.join(LEARNS[learned])}")]
    missing = [library for library in NEEDS.get(name, ()) if importlib.util.find_spec(library) is None]
    if missing:
        what = f"estimator {name} needs {' and '.join(missing)}, which is not installed here"
        return [(what, "tidemill explain TM-328, or use another estimator")]
    return []


def _budget(seconds: float) -> list[tuple[str, str]]:
    # So written that what is no number is refused too.
    if 0 <= seconds <= MOST_BUDGET_S:
        return []
    what = f"a search budget of {seconds:,.10g} s is not between 0 and {MOST_BUDGET_S:,} s (a day)"
    return [(what, f"give at most {MOST_BUDGET_S} seconds, or none")]


def _within(what: str, value: int, least: int, most: int, fix: str) -> list[tuple[str, str]]:
    return [] if least <= value <= most else [(f"{what} is not between {least} and {most:,}", fix)]


def _told(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us // _SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")
