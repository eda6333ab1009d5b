"""What came of the predictions: quality against what happened, drift against training, and whether to train anew.

    load prediction logs -> pick the version in use -> join outcomes known by now -> soundness and drift -> decide
                                                                         -> the challenger in its shadow

Every version that predicted lately is reported on (`pipelines.watched`); the decision is about the one that predicted
last. What is broken, a sensor or a clock, is found first and kept out of drift (`pipelines.soundness`).

Kept: ``reports/monitoring/<use case>/<date>.json`` with every number (`pipelines.monitorreport`), decisions in
``ledger/retraining/<use case>/<date>.json`` and its successors (`pipelines.decisions`), and what came of each
prediction in the table ``outcomes`` (`pipelines.outcomes`). A run that finds today's decision made repeats it, because
the run that made it may have been killed before it could wake the training; once that has trained, or once a no would
rest on something else, it decides anew.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from features.errors import TidemillError
from pipelines import monitorreport, outcomes, shadowing
from pipelines.decisions import asked, decide_once
from pipelines.drift import Shift
from pipelines.ingest import Progress, silent
from pipelines.lake import Lake
from pipelines.monitorreport import Seen, plain
from pipelines.outcomes import delay_hours
from pipelines.predictionlog import Log, read_log
from pipelines.predictions import load_predictions
from pipelines.retraining import Asked, Decision, Evidence, RetrainingRules, decide, drifted
from pipelines.shadowing import ShadowRegistry, ShadowSummary
from pipelines.signals import SignalHistory, histories
from pipelines.slicedrift import slice_drifts
from pipelines.soundness import broken, findings
from pipelines.tasks import task_of
from pipelines.usecases import UseCase
from pipelines.watched import Watched, events_of, present, watched_versions
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
        bundle: Digest of its bundle.
        windows: Windows it predicted.
        devices: Devices it predicted for.
        joined: Predictions whose outcome became known to this run.
        joined_share: Share of the windows whose outcome is known.
        label_delay_hours: Median time from the end of a window to its outcome.
        quality: Windows by alert and outcome (``tp fp fn tn``), ``precision``, ``recall``, ``f1``.
        judged: How much came true that it can be judged by: failures, lives that ended, windows.
        counted: What was counted.
        headline: What it reached, in a few words.
        figures: What it reached, by measure.
        offline: What it reached on the test it was judged on, by the same measures; empty if nobody knows.
        drifted: The features that moved far, most first.
        features: How many features were compared.
        score_index: Stability index of its latest scores against those of its test.
        score_distance: Their distance, in scales of those of the test.
        worst_slice: The part of the fleet that moved most, in a sentence; empty if parts cannot be told.
        findings: What is not sound, in sentences: missing values, frozen sensors, clocks. Never part of drift.
        notes: What could not be told, and why.
        shadow: How the challenger compares on the same windows (`pipelines.shadowing`).
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
    bundle: str
    windows: int
    devices: int
    joined: int
    joined_share: float | None
    label_delay_hours: float | None
    quality: dict[str, float | None]
    judged: int
    counted: str
    headline: str
    figures: dict[str, float | None]
    offline: dict[str, float | None]
    drifted: list[str]
    features: int
    score_index: float | None
    score_distance: float | None
    worst_slice: str
    findings: list[str]
    notes: list[str]
    shadow: ShadowSummary
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
    registry: ShadowRegistry | None = None,
    rules: RetrainingRules = RetrainingRules(),  # noqa: B008 - frozen
) -> MonitorSummary:
    """Look at what a use case predicted, and decide whether to train anew.

    Args:
        store: Where prediction logs, bundles and the ledger lie.
        lake: The tables of the same store.
        usecase: What is foreseen.
        now_us: The clock, UTC microseconds. Given an earlier one, only what was known then is used.
        progress: Told what is going on.
        registry: Knows the challenger; without one, or when it does not answer, there is no shadow.
        rules: The limits of the decision.

    Raises:
        IngestRunningError: Another run loads the same predictions.
        CommitConflictError: Another run joins outcomes of the same predictions.
    """
    loaded = load_predictions(store, lake, usecase.name, now_us, progress)
    present_us, events = present(lake, usecase, now_us), events_of(lake, usecase)
    log = read_log(lake, usecase.name, now_us)
    watched = watched_versions(store, log, usecase, events, present_us)
    progress("join outcomes", 1, 4)
    joined = outcomes.join(lake, usecase.name, watched, usecase.label, now_us)
    progress("measure", 2, 4)
    last = watched[-1] if watched else None
    seen = _look(lake, usecase, watched, log, rules=rules, now_us=now_us)
    before = asked(store, usecase.name, now_us - rules.memory_us, now_us)
    evidence = _evidence(usecase, last, seen.shifts, before)
    date = f"{datetime.fromtimestamp(now_us / 1e6, UTC):%Y-%m-%d}"
    found = _found(usecase, evidence, seen, rules)
    named: dict[str, Any] = {
        "usecase": usecase.name,
        "date": date,
        "report": f"reports/monitoring/{usecase.name}/{date}.json",
    }
    document = {**named, "decided_at_us": now_us, **_document(found, evidence, rules)}
    made = decide(evidence, usecase.gate, rules, now_us)
    key, decision = decide_once(store, made, document)
    progress("shadow", 3, 4)
    shadowed, why = _shadowed(store, lake, registry, usecase, last, now_us=now_us)
    notes = [*seen.notes, *why]
    summary = MonitorSummary(
        loaded=loaded.new,
        unreadable=loaded.unreadable,
        joined=joined.new + joined.changed,
        decision=key,
        notes=notes,
        shadow=shadowed,
        **named,
        **found,
        **_decided(decision),
    )
    report = monitorreport.report(
        replace(seen, notes=notes), usecase.label, events, now_us=now_us, present_us=present_us
    )
    monitorreport.write(store, summary.report, {**report, "summary": asdict(summary)})
    return summary


def _look(
    lake: Lake, usecase: UseCase, watched: list[Watched], log: Log, *, rules: RetrainingRules, now_us: int
) -> Seen:
    """Look at the version in use: is what it is fed sound, and has the rest of it moved?"""
    notes: list[str] = []
    last = watched[-1] if watched else None
    late_after = usecase.fleet_schema.late_after + usecase.features.every
    signals = _signals(lake, last, now_us, notes)
    told = findings(last, log, signals, late_after)
    if last is None or last.manifest is None:
        return Seen(watched, [], signals, told, {}, notes)
    useless = broken(last.windows.select(last.lately), last.manifest.features, signals)
    parts, why = slice_drifts(lake, last, useless, rules)
    if why:
        notes.append(f"parts of the fleet cannot be compared: {why}")
    if last.tested_scores is None:
        notes.append("scores are compared with those of the first week: no gate record keeps those of the test")
    return Seen(watched, parts, signals, told, last.feature_shifts(last.lately, useless), notes)


def _signals(lake: Lake, last: Watched | None, now_us: int, notes: list[str]) -> list[SignalHistory]:
    if last is None:
        return []
    if last.manifest is None:
        notes.append("inputs cannot be compared with training: the bundle of this version is not in this store")
        return []
    lineage = last.manifest.lineage
    span = [int(lineage[name]) for name in ("since", "until") if lineage.get(name, "").isdecimal()]
    found = histories(lake, last.manifest.features, (span[0], span[1]) if len(span) == 2 else None, now_us)  # noqa: PLR2004 - both ends
    if not found:
        notes.append("signals cannot be told day by day: there are no panes of its features in this store")
    return found


def _shadowed(
    store: Store, lake: Lake, registry: ShadowRegistry | None, usecase: UseCase, last: Watched | None, *, now_us: int
) -> tuple[ShadowSummary, list[str]]:
    """Compare the challenger; whatever goes wrong there is told and takes nothing from what was decided before."""
    if registry is None or last is None:
        return ShadowSummary(), []
    try:
        return shadowing.run(store, lake, registry, usecase, last, now_us=now_us), []
    except TidemillError as error:
        return ShadowSummary(), [f"no challenger was compared: {' '.join(str(error).split())}"]


def _evidence(usecase: UseCase, watched: Watched | None, shifts: Mapping[str, Shift], before: list[Asked]) -> Evidence:
    if watched is None:
        return Evidence(0, 0, task_of(usecase.label), 0, "", {}, asked=before)
    judged, counted = watched.task.evidence(watched.bare.select(watched.joined), watched.span)
    return Evidence(
        windows=len(watched.windows),
        devices=len(np.unique(watched.windows.device)),
        task=watched.task,
        judged=judged,
        counted=counted,
        figures=watched.metrics().figures,
        features=shifts,
        score=watched.score_shift(),
        asked=before,
    )


def _found(usecase: UseCase, evidence: Evidence, seen: Seen, rules: RetrainingRules) -> dict[str, Any]:
    """What is told of the version that predicted last, by names of `MonitorSummary`."""
    last = seen.watched[-1] if seen.watched else None
    worst = next((part for part in seen.slices if not part.small), None)
    metrics = last.metrics() if last else None
    return {
        "version": last.version if last else "",
        "bundle": last.digest if last else "",
        "windows": evidence.windows,
        "devices": evidence.devices,
        "joined_share": float(last.joined.mean()) if last else None,
        "label_delay_hours": _told(delay_hours(last, usecase.label)) if last else None,
        "quality": monitorreport.quality(last.windows.label, last.alert) if last else {},
        "judged": evidence.judged,
        "counted": evidence.counted,
        "headline": last.task.headline(metrics) if last and evidence.judged else "",
        "figures": plain(dict(evidence.figures)),
        "offline": plain(monitorreport.offline(last, metrics)) if last and metrics else {},
        "features": len(evidence.features),
        "drifted": drifted(evidence.features, rules),
        "score_index": _told(evidence.score.index),
        "score_distance": _told(evidence.score.distance),
        "worst_slice": worst.sentence if worst else "",
        "findings": [finding.sentence for finding in seen.findings],
    }


def _document(found: dict[str, Any], evidence: Evidence, rules: RetrainingRules) -> dict[str, Any]:
    """What the ledger keeps beside the decision (`pipelines.decisions`)."""
    kept = ("windows", "devices", "joined_share", "judged", "counted", "figures", "features", "worst_slice", "findings")
    far = [{"name": name, **evidence.features[name].to_json()} for name in drifted(evidence.features, rules)]
    said = {name: found[name] for name in kept} | {"drifted": far, "score": evidence.score.to_json()}
    return {"version": found["version"], "bundle": found["bundle"], "evidence": said}


def _decided(decision: Decision) -> dict[str, Any]:
    return {**asdict(decision), "sentence": decision.sentence}


def _told(value: float) -> float | None:
    return None if math.isnan(value) else value
