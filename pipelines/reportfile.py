"""The figures of a training's report as JSON, for programs and for whoever compares trainings.

Format 1, ``report/report.json`` of a run. Moments are UTC microseconds; what is not known is null.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.cautions import card, cautions
from pipelines.examine import Examination
from pipelines.slices import Slice
from pipelines.stability import Period
from pipelines.tasks.failure import FailureMetrics
from pipelines.verdict import metrics_of, sentence


def document(examination: Examination) -> dict[str, Any]:
    """Return the figures of the report, ready for JSON; NaN is null."""
    champion = examination.champion
    content = {
        "format": 1,
        "usecase": examination.usecase.name,
        "verdict": sentence(examination),
        "gate": {"passed": examination.passed, "rules": examination.results},
        "question": examination.task.question,
        "metrics": metrics_of(examination),
        "intervals": dict(examination.intervals),
        **_trust(examination),
        "champion": {"version": champion.version, "metrics": champion.metrics, "note": champion.note}
        if champion
        else None,
        "baselines": {"constant": examination.constant, "linear": examination.linear},
        "parity": examination.parity,
        "data": _data(examination),
        "devices": [{"device": name, **plain(metrics.figures)} for name, metrics in examination.devices],
        "signals": examination.leanings,
        "thresholds": [point(each.threshold, each.metrics) for each in examination.dial],
        "bundle": _bundle(examination),
    }
    result: dict[str, Any] = plain(content)
    return result


def point(threshold: float, metrics: FailureMetrics) -> dict[str, Any]:
    """Return what a threshold between 0 and 1 would have come to: one stop of the dial."""
    return {
        "threshold": round(threshold, 6),
        "caught": metrics.caught,
        "failures": metrics.failures,
        "false_alarms": metrics.false_alarms,
        "false_alarms_per_device_week": plain(metrics.false_alarms_per_device_week),
        "lead_time_hours_median": plain(metrics.lead_time_hours_median),
    }


def plain(value: Any) -> Any:
    """Return a value as JSON has it: data classes as objects, NaN and infinities as null.

    Example:
        >>> plain({"a": (1.0, math.nan)})
        {'a': [1.0, None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _trust(examination: Examination) -> dict[str, Any]:
    """How far the figures carry: parts, leaks, stability, and what to watch."""
    return {
        "slices": {
            "known_devices": examination.known,
            "new_devices": examination.new,
            "parts": _parts(examination.slices),
        },
        "leak": {"shuffled_labels": examination.scrambled, "future_shift": examination.shifted},
        "stability": {"folds": examination.folds, "periods": _parts(examination.periods)},
        "calibration": examination.calibration,
        "watch": cautions(examination),
        "card": card(examination),
    }


def _data(examination: Examination) -> dict[str, Any]:
    """What was learned from and judged with."""
    dataset = examination.dataset
    return {
        "quality": dataset.quality,
        "lineage": dict(dataset.lineage),
        "since_us": dataset.since,
        "train_until_us": dataset.train_until,
        "test_from_us": dataset.test_from,
        "until_us": dataset.until,
        "held_out": list(dataset.held_out),
        "windows": {"train": len(dataset.train), "test": len(dataset.test)},
        "outside": examination.outside,
    }


def _bundle(examination: Examination) -> dict[str, Any]:
    """What serves, and what it takes."""
    candidate = examination.candidate
    return {
        "digest": candidate.bundle.digest,
        "bytes": len(candidate.data),
        "latency_us": examination.latency_us,
        "memory_mib": examination.memory_mib,
        "threshold": candidate.threshold,
        "feature_digest": candidate.bundle.manifest.features.digest,
    }


def _parts(parts: Sequence[Slice] | Sequence[Period]) -> list[dict[str, Any]]:
    """Parts of the test with figures in place of metrics."""
    return [
        {f.name: getattr(part, f.name) for f in dataclasses.fields(part)} | {"metrics": part.metrics.figures}
        for part in parts
    ]
