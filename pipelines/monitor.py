"""What came of the predictions: quality against what happened, drift against training, and whether to train anew.

    load prediction logs -> pick the version in use -> join failures known by now -> drift by effect size -> decide

Every version that predicted lately is reported on (`pipelines.watched`); the decision is about the one that predicted
last.

Kept: ``reports/monitoring/<use case>/<date>.json`` with every number, and the decision of a day, made once, in
``ledger/retraining/<use case>/<date>.json``. A run that finds today's decision made repeats it, because the run that
made it may have been killed before it could wake the training.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.ingest import Progress, silent
from pipelines.lake import Lake
from pipelines.predictions import load_predictions
from pipelines.retraining import Decision, Evidence, RetrainingRules, decide, drifted
from pipelines.tasks import task_of
from pipelines.unique import date_names
from pipelines.usecases import UseCase
from pipelines.watched import Watched, present, watched_versions
from serving.store import Store


@dataclass(frozen=True, slots=True)
class MonitorSummary:
    """What a run found, about the version that predicted last. What cannot be told is None.

    Attributes:
        usecase: Name of the use case.
        date: UTC day of the run.
        loaded: Predictions that were new in the log.
        unreadable: Objects of the log that could not be read.
        version: The version in use; empty when nothing was predicted yet.
        windows: Windows it predicted.
        devices: Devices it predicted for.
        joined_share: Share of the windows whose outcome is known.
        quality: Windows by alert and outcome (``tp fp fn tn``), ``precision``, ``recall``, ``f1``.
        judged: How much came true that it can be judged by: failures, lives that ended, windows.
        counted: What was counted.
        headline: What it reached, in a few words.
        figures: What it reached, by measure.
        drifted: The features that moved far, most first.
        features: How many features were compared.
        score_index: Stability index of its latest scores against its first.
        retrain: Whether to train anew.
        reasons: What speaks for it.
        brakes: What speaks against it.
        sentence: The decision in a sentence.
        report: Key of the report.
        decision: Key of the decision.
    """

    usecase: str
    date: str
    loaded: int
    unreadable: int
    version: str
    windows: int
    devices: int
    joined_share: float | None
    quality: dict[str, float | None]
    judged: int
    counted: str
    headline: str
    figures: dict[str, float | None]
    drifted: list[str]
    features: int
    score_index: float | None
    retrain: bool
    reasons: list[str]
    brakes: list[str]
    sentence: str
    report: str
    decision: str


def monitor(
    store: Store,
    lake: Lake,
    usecase: UseCase,
    now_us: int,
    progress: Progress = silent,
    *,
    rules: RetrainingRules = RetrainingRules(),  # noqa: B008 - frozen
) -> MonitorSummary:
    """Look at what a use case predicted, and decide whether to train anew.

    Args:
        store: Where prediction logs, bundles and the ledger lie.
        lake: The tables of the same store.
        usecase: What is foreseen.
        now_us: The clock, UTC microseconds.
        progress: Told what is going on.
        rules: The limits of the decision.

    Raises:
        IngestRunningError: Another run loads the same predictions.
    """
    loaded = load_predictions(store, lake, usecase.name, now_us, progress)
    present_us = present(lake, usecase, now_us)
    watched = watched_versions(store, lake, usecase, present_us)
    progress("measure", 1, 1)
    date = f"{datetime.fromtimestamp(now_us / 1e6, UTC):%Y-%m-%d}"
    last = watched[-1] if watched else None
    evidence = _evidence(usecase, last, _retrained(store, usecase.name))
    decision_key = f"ledger/retraining/{usecase.name}/{date}.json"
    decision = _decide_once(store, decision_key, decide(evidence, usecase.gate, rules, now_us), last, now_us)
    summary = MonitorSummary(
        usecase=usecase.name,
        date=date,
        loaded=loaded.new,
        unreadable=loaded.unreadable,
        drifted=drifted(evidence.feature_index, rules),
        retrain=decision.retrain,
        reasons=decision.reasons,
        brakes=decision.brakes,
        sentence=decision.sentence,
        report=f"reports/monitoring/{usecase.name}/{date}.json",
        decision=decision_key,
        **_found(last, evidence),
    )
    _write_report(store, summary, watched, now_us=now_us, present_us=present_us)
    return summary


def _found(last: Watched | None, evidence: Evidence) -> dict[str, Any]:
    """What is told of the version that predicted last, by names of `MonitorSummary`."""
    return {
        "version": last.version if last else "",
        "windows": evidence.windows,
        "devices": evidence.devices,
        "joined_share": float(last.joined.mean()) if last else None,
        "quality": _quality(last.windows.label, last.alert) if last else {},
        "judged": evidence.judged,
        "counted": evidence.counted,
        "headline": last.task.headline(last.metrics()) if last and evidence.judged else "",
        "figures": _plain(dict(evidence.figures)),
        "features": len(evidence.feature_index),
        "score_index": _told(evidence.score_index),
    }


def _write_report(
    store: Store, summary: MonitorSummary, watched: Sequence[Watched], *, now_us: int, present_us: int
) -> None:
    report = {
        "format": 1,
        "made_at_us": now_us,
        "present_us": present_us,
        "summary": asdict(summary),
        "versions": [_version_report(each) for each in watched],
    }
    store.put(summary.report, json.dumps(_plain(report), indent=1, allow_nan=False).encode())


def _evidence(usecase: UseCase, watched: Watched | None, retrained_at: list[int]) -> Evidence:
    if watched is None:
        task = task_of(usecase.label)
        return Evidence(0, 0, task, 0, "", {}, {}, math.nan, retrained_at)
    judged, counted = watched.task.evidence(watched.windows.select(watched.joined), watched.span)
    return Evidence(
        windows=len(watched.windows),
        devices=len(np.unique(watched.windows.device)),
        task=watched.task,
        judged=judged,
        counted=counted,
        figures=watched.metrics().figures,
        feature_index=watched.feature_index(),
        score_index=watched.score_index(),
        retrained_at=retrained_at,
    )


def _retrained(store: Store, usecase: str) -> list[int]:
    """Return when retraining was decided before, UTC microseconds."""
    keys = [entry.key for entry in store.list(f"ledger/retraining/{usecase}/")]
    decisions = [json.loads(store.get(key)) for key in keys[-31:]]
    return [int(decision["decided_at_us"]) for decision in decisions if decision["retrain"]]


def _decide_once(store: Store, key: str, decision: Decision, last: Watched | None, now_us: int) -> Decision:
    """Write the decision down, or return the one that this day already has."""
    document = {"decided_at_us": now_us, **asdict(decision), "sentence": decision.sentence}
    if last:
        document |= {"version": last.version, "bundle": last.bundle}
    if store.put_if_absent(key, json.dumps(document, indent=1).encode()):
        return decision
    made = json.loads(store.get(key))
    return Decision(bool(made["retrain"]), list(made["reasons"]), list(made["brakes"]))


def _version_report(watched: Watched) -> dict[str, Any]:
    days = np.asarray(date_names(watched.windows.end).to_pylist())
    return {
        "version": watched.version,
        "bundle": watched.bundle,
        "windows": len(watched.windows),
        "joined_share": float(watched.joined.mean()),
        "quality": _quality(watched.windows.label, watched.alert),
        "metrics": watched.metrics().figures,
        "feature_index": watched.feature_index(),
        "score_index": watched.score_index(),
        "days": [_day_report(watched, str(day), days == day) for day in np.unique(days)],
    }


def _day_report(watched: Watched, day: str, rows: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "date": day,
        "windows": int(rows.sum()),
        "joined_share": float(watched.joined[rows].mean()),
        "quality": _quality(watched.windows.label[rows], watched.alert[rows]),
        "mean_score": float(watched.score[rows].mean()),
        "feature_index": watched.feature_index(rows),
    }


def _quality(label: NDArray[np.float64], alert: NDArray[np.bool_]) -> dict[str, float | None]:
    """Count windows by alert and outcome; those without a known outcome are left out.

    Example:
        >>> _quality(np.array([1.0, 1.0, 0.0, np.nan]), np.array([True, False, False, True]))["recall"]
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


def _told(value: float) -> float | None:
    return None if math.isnan(value) else value


def _plain(value: Any) -> Any:
    """Return a value with None where a number cannot be told: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return _told(value) if isinstance(value, float) else value
