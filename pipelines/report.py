"""The report of a training: one page for a plant engineer, and the same figures as JSON.

The page is one file without a single address in it: MLflow shows it in a frame, it can be mailed, printed and opened in
ten years. Its ten parts have fixed ids (``PARTS``), so tests and links find them. All figures stem from an
``Examination``; nothing is computed here but sentences.

Why so:

- *Own SVG instead of a plotting library*: 35 kB and 4 ms for what others draw in 0.1 to 5 MB and seconds.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines import charts, curves
from pipelines.candidate import span_of
from pipelines.cautions import card, cautions
from pipelines.errors import ReportError
from pipelines.examine import Examination
from pipelines.intervals import rate_interval, share_interval
from pipelines.labels import RemainingLife
from pipelines.lanes import lanes_picture
from pipelines.pages import render
from pipelines.rules import BUDGETS
from pipelines.sensitivity import Leaning
from pipelines.slices import Slice, rounded
from pipelines.spells import spell_curves
from pipelines.stability import Period
from pipelines.tasks.failure import FailureMetrics, failures, paid
from pipelines.timeline import ReadSignal, Timeline
from pipelines.verdict import day, figure, leak_verdict, metrics_of, titled
from pipelines.verdict import shown as shown_measure

PARTS = (
    "verdict",
    "numbers",
    "lead-time",
    "timeline",
    "devices",
    "signals",
    "data",
    "trust",
    "threshold",
    "footer",
)
MOST_BYTES = 300_000
_MOST_DEVICES = 40
_HARDLY = 1e-4  # a share of which the exact value helps nobody


def page(
    examination: Examination,
    shown: Sequence[Timeline],
    *,
    now_us: int,
    note: str = "",
    read: ReadSignal | None = None,
) -> str:
    """Write the report as HTML.

    Args:
        examination: What was found.
        shown: Stretches of time to look at.
        now_us: When, UTC microseconds.
        note: Why this training.
        read: Reads raw readings, for curves; without it they are drawn without their signal.

    Raises:
        ReportError: The page is larger than ``MOST_BYTES``.
    """
    dataset, candidate, task = examination.dataset, examination.candidate, examination.task
    span = span_of(dataset)
    values = {
        "it": examination,
        "usecase": examination.usecase,
        "unit": examination.usecase.label.unit,
        "data": dataset,
        "found": examination.metrics,
        "manifest": candidate.bundle.manifest,
        "digest": candidate.bundle.digest,
        "size": len(candidate.data),
        "budgets": BUDGETS,
        "sentence": sentence(examination),
        "money": money(examination),
        "champion": examination.champion,
        "evidence": task.evidence(dataset.train, span),
        "judged": task.evidence(dataset.test, span),
        "split": charts.split_picture(dataset) if examination.usecase.split.in_time else None,
        "lanes": None if examination.usecase.split.in_time else lanes_picture(dataset),
        "importances": list(zip(examination.leanings, charts.bar_widths(examination.leanings), strict=True)),
        "cautions": cautions(examination),
        "card": card(examination),
        "leak": leak_verdict(examination),
        "folds": list(zip(examination.folds, charts.shares([fold.value for fold in examination.folds]), strict=True)),
        "reliability": charts.reliability_picture(examination.calibration) if examination.calibration else None,
        "devices": examination.devices[:_MOST_DEVICES],
        "unlisted": len(examination.devices[_MOST_DEVICES:]),
        "device_count": len(np.unique(np.concatenate([dataset.train.device, dataset.test.device]))),
        "now_us": now_us,
        "note": note,
        "shown": shown_measure,
        "titled": titled,
        **_in_failures(examination, shown),
        **_in_quantities(examination, read),
        **_in_states(examination, read),
    }
    html = render("report.html.j2", _FILTERS, values)
    if len(html.encode()) > MOST_BYTES:
        raise ReportError(f"the report has {len(html.encode())} bytes, at most {MOST_BYTES} are allowed")
    return html


def _in_failures(examination: Examination, shown: Sequence[Timeline]) -> dict[str, Any]:
    """What is told of failures alone."""
    found, dataset, threshold = examination.metrics, examination.dataset, examination.candidate.threshold
    if not isinstance(found, FailureMetrics):
        return {}
    leads = [f.lead_hours for f in failures(dataset.test, examination.alert, span_of(dataset)) if f.first_alert]
    return {
        "caught_interval": share_interval(found.caught, found.failures),
        "alarm_interval": rate_interval(found.false_alarms, found.device_weeks),
        "timelines": [charts.timeline_picture(t, threshold) for t in shown],
        "dial": charts.dial_picture(examination.dial, threshold),
        "points": [_point(point.threshold, point.metrics) for point in examination.dial],
        "chosen": [point.threshold for point in examination.dial].index(threshold),
        "lead": charts.lead_picture(leads, dataset.horizon_us),
    }


def _in_quantities(examination: Examination, read: ReadSignal | None) -> dict[str, Any]:
    """What is told of quantities alone."""
    if examination.task.learns != "quantity":
        return {}
    label, true, score = examination.usecase.label, examination.dataset.test.label, examination.score
    cap = label.longest if isinstance(label, RemainingLife) else None
    return {
        "cap": cap,
        "scatter": curves.scatter_picture(true, score, cap, label.unit),
        "errors": curves.errors_picture(true, score, cap, label.unit),
        "curves": curves.quantity_curves(examination, read),
    }


def _in_states(examination: Examination, read: ReadSignal | None) -> dict[str, Any]:
    """What is told of states and anomalies alone."""
    if examination.task.question not in {"state", "anomaly"}:
        return {}
    alert, positive = examination.alert, examination.dataset.test.positive
    state = examination.usecase.label.name
    wrong = examination.task.question == "anomaly"
    named = ("something was wrong", "all was well") if wrong else (state, f"not {state}")
    rows = zip(named, (positive, ~positive), (True, False), strict=True)
    confusion = [(name, int((alert & own).sum()), int((~alert & own).sum()), good) for name, own, good in rows]
    return {"confusion": confusion, "curves": spell_curves(examination, read)}


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
        "thresholds": [_point(point.threshold, point.metrics) for point in examination.dial],
        "bundle": _bundle(examination),
    }
    result: dict[str, Any] = plain(content)
    return result


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


def sentence(examination: Examination) -> str:
    """Say in one sentence what the model does."""
    return examination.task.sentence(examination.metrics, examination.usecase.label.unit)


def money(examination: Examination) -> str:
    """Say what mistakes would have cost in the weeks of the test, with the model and without; empty without prices."""
    cost, found = examination.usecase.alerting.cost, examination.metrics
    if cost is None or not isinstance(found, FailureMetrics):
        return ""
    alone = cost.of(found.failures, 0)
    words = f"Its mistakes would have cost {_amount(paid(cost, found))} {cost.currency} in the weeks of the test; "
    return words + f"without it, failures nobody was warned of would have cost {_amount(alone)} {cost.currency}."


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


def _point(threshold: float, metrics: FailureMetrics) -> dict[str, Any]:
    return {
        "threshold": round(threshold, 6),
        "caught": metrics.caught,
        "failures": metrics.failures,
        "false_alarms": metrics.false_alarms,
        "false_alarms_per_device_week": plain(metrics.false_alarms_per_device_week),
        "lead_time_hours_median": plain(metrics.lead_time_hours_median),
    }


def _percent(share: float) -> str:
    """Write a share for people: of what is hardly there only that.

    Example:
        >>> _percent(0.0108), _percent(0.0), _percent(0.00000697), _percent(math.nan)
        ('1.08 %', '0 %', 'below 0.01 %', '-')
    """
    if math.isnan(share):
        return "-"
    return "below 0.01 %" if 0 < share < _HARDLY else f"{100 * share:.3g} %"


def _band(leaning: Leaning) -> str:
    """Say where a signal usually is, with as many digits as tell its ends apart."""
    low, high = leaning.normal
    span = high - low or abs(high)
    return "-" if math.isnan(low) else f"{rounded(low, span)} to {rounded(high, span)}{_unit(leaning)}"


def _usual(leaning: Leaning) -> str:
    """Say where a signal is with label 1, with the digits of its band."""
    span = leaning.normal[1] - leaning.normal[0] or abs(leaning.before)
    known = not math.isnan(leaning.before) and not math.isnan(span)
    return f"{rounded(leaning.before, span)}{_unit(leaning)}" if known else "-"


def _unit(leaning: Leaning) -> str:
    return "" if leaning.unit == "1" else f" {leaning.unit}"


def _amount(number: float) -> str:
    return f"{number:,.0f}"


_FILTERS: Mapping[str, Callable[..., str]] = {
    "figure": figure,
    "day": day,
    "percent": _percent,
    "amount": _amount,
    "band": _band,
    "usual": _usual,
}
