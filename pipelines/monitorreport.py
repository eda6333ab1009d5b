"""The report of a monitoring run: every number behind its decision, as JSON.

Specification, format 2. ``reports/monitoring/<use case>/<yyyy-mm-dd>.json``, written anew by each run of a day:
``made_at_us`` and ``present_us`` (what was known when), ``summary`` (`pipelines.monitor.MonitorSummary`), ``versions``
(below, the one that predicted last at the end), ``slices`` (parts of the fleet, the one that moved most first),
``signals`` (day by day, from panes), ``findings`` (what is not sound), ``sources`` (which part was made from what) and
``notes`` (what could not be told, and why).

Of each version: ``figures`` by measure, ``live`` beside ``offline`` (the test it was judged on, by its gate record),
``beside`` (the same of the measures that people look at first, with title and unit),
``as_of`` (the same figures by what was known at the end of each week), ``features`` and ``score`` (how far they moved
in the latest week: index, distance, values), ``feature_index`` (the first of these alone, as format 1 had it) and
``days``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.drift import Shift
from pipelines.labels import Events, Label
from pipelines.outcomes import delay_hours
from pipelines.signals import SignalHistory
from pipelines.slicedrift import SliceDrift
from pipelines.soundness import Finding
from pipelines.tasks import Metrics, Span
from pipelines.unique import date_names
from pipelines.watched import WEEK_US, Watched
from serving.store import Store

FORMAT = 2
SOURCES = {
    "features": "the prediction log, against the deciles in the bundle",
    "scores": "the prediction log, against the scores of the test in the gate record of the bundle",
    "slices": "the prediction log, against feature rows of the training's days",
    "signals and frozen": "panes; no reading was read again",
    "outcomes": "the table of events",
    "offline": "the gate record of the bundle",
}
_WEEKS = 4
_FIRST = 3  # measures that a page has room for


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a run saw.

    Attributes:
        watched: What each version predicted, the one that predicted last at the end.
        slices: Parts of the fleet.
        signals: The signals behind the features of the version in use.
        findings: What is not sound.
        shifts: How far each feature of the version in use moved, what is not sound left out.
        notes: What could not be told, and why.
    """

    watched: Sequence[Watched]
    slices: Sequence[SliceDrift]
    signals: Sequence[SignalHistory]
    findings: Sequence[Finding]
    shifts: Mapping[str, Shift]
    notes: Sequence[str]


def report(seen: Seen, label: Label, events: Events, *, now_us: int, present_us: int) -> dict[str, Any]:
    """Return the report, without its summary."""
    moved = [each.feature_shifts(each.lately) for each in seen.watched[:-1]] + [seen.shifts]
    versions = [
        _version(each, shifts, label, as_of=_as_of(each, label, events, present_us))
        for each, shifts in zip(seen.watched, moved, strict=False)
    ]
    return {
        "format": FORMAT,
        "made_at_us": now_us,
        "present_us": present_us,
        "sources": SOURCES,
        "versions": versions,
        "slices": [each.to_json() for each in seen.slices],
        "signals": {each.name: each.to_json() for each in seen.signals},
        "findings": [each.to_json() for each in seen.findings],
        "notes": list(seen.notes),
    }


def write(store: Store, key: str, document: Mapping[str, Any]) -> None:
    """Write a report."""
    store.put(key, json.dumps(plain(document), indent=1, allow_nan=False).encode())


def offline(watched: Watched, live: Metrics) -> dict[str, float]:
    """Return what the gate measured of a version on its test, under the names of the live figures; empty if unknown."""
    kept = watched.tested.get("metrics")
    if not isinstance(kept, Mapping):
        return {}
    try:  # the record holds what the metrics are made of; the figures that follow are computed, not stored
        metrics: Metrics = type(live)(**{name: math.nan if value is None else value for name, value in kept.items()})
        return dict(metrics.figures)
    except TypeError:
        return {}


def quality(label: NDArray[np.float64], alert: NDArray[np.bool_]) -> dict[str, float | None]:
    """Count windows by alert and outcome; those without a known outcome are left out.

    Example:
        >>> quality(np.array([1.0, 1.0, 0.0, np.nan]), np.array([True, False, False, True]))["recall"]
        0.5
    """
    positive, negative = label == 1, label == 0
    tp, fp = int(np.sum(positive & alert)), int(np.sum(negative & alert))
    fn, tn = int(np.sum(positive & ~alert)), int(np.sum(negative & ~alert))
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "precision": tp / (tp + fp) if tp + fp else None,
        "recall": tp / (tp + fn) if tp + fn else None,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
    }


def plain(value: Any) -> Any:
    """Return a value with None where a number cannot be told: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _version(
    watched: Watched, shifts: Mapping[str, Shift], label: Label, *, as_of: list[dict[str, Any]]
) -> dict[str, Any]:
    days = np.asarray(date_names(watched.windows.end).to_pylist())
    live = watched.metrics()
    tested = offline(watched, live)
    return {
        "version": watched.version,
        "bundle": watched.digest,
        "windows": len(watched.windows),
        "predictions": len(watched.ids),
        "joined_share": float(watched.joined.mean()),
        "label_delay_hours": delay_hours(watched, label),
        "quality": quality(watched.windows.label, watched.alert),
        "figures": {name: {"live": value, "offline": tested.get(name)} for name, value in live.figures.items()},
        "beside": [
            {
                "title": each.title,
                "unit": label.unit if each.unit == "label" else each.unit,
                "live": live.figures[each.name],
                "offline": tested.get(each.name),
            }
            for each in watched.task.measures[:_FIRST]
        ],
        "as_of": as_of,
        "feature_index": {name: shift.index for name, shift in shifts.items()},
        "features": {name: shift.to_json() for name, shift in shifts.items()},
        "score": watched.score_shift().to_json(),
        "days": [_day(watched, str(day), days == day) for day in np.unique(days)],
    }


def _as_of(watched: Watched, label: Label, events: Events, present_us: int) -> list[dict[str, Any]]:
    """The figures by what was known at the end of each of the latest weeks."""
    names = watched.manifest.features.names if watched.manifest else ()
    found = []
    for week in range(_WEEKS, 0, -1):
        moment = present_us - (week - 1) * WEEK_US
        there = watched.windows.end <= moment
        told = label.label(watched.windows, names, events, moment)
        joined = there & ~np.isnan(told)
        windows = replace(watched.bare, label=told).select(joined)
        span = Span(label.known(events, moment), watched.span.horizon_us, watched.span.every_us)
        figures = watched.task.measure(windows, watched.score[joined], watched.alert[joined], span).figures
        count = int(there.sum())
        share = len(windows) / count if count else None
        date = f"{datetime.fromtimestamp(moment / 1e6, UTC):%Y-%m-%d}"
        found.append({"date": date, "windows": count, "joined_share": share, "figures": figures})
    return found


def _day(watched: Watched, day: str, rows: NDArray[np.bool_]) -> dict[str, Any]:
    moved = watched.feature_shifts(rows)
    known = [name for name, shift in moved.items() if not math.isnan(shift.index)]
    most = max(known, key=lambda name: moved[name].index, default="")
    return {
        "date": day,
        "windows": int(rows.sum()),
        "joined_share": float(watched.joined[rows].mean()),
        "quality": quality(watched.windows.label[rows], watched.alert[rows]),
        "alerts": int(watched.alert[rows].sum()),
        "mean_score": float(watched.score[rows].mean()),
        "most": most,
        "shift": moved[most].to_json() if most else None,
    }
