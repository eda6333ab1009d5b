"""The report of a training: one page for a plant engineer, and the same figures as JSON.

The page is one file without a single address in it: MLflow shows it in a frame, it can be mailed, printed and opened in
ten years. Its ten parts have fixed ids (``PARTS``), so tests and links find them. All figures stem from an
``Examination``; nothing is computed here but sentences.

Why so:

- *Own SVG instead of a plotting library*: 35 kB and 4 ms for what others draw in 0.1 to 5 MB and seconds.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines import charts
from pipelines.candidate import span_of
from pipelines.errors import ReportError
from pipelines.evaluate import Metrics, failures, rate_interval, share_interval
from pipelines.examine import Examination
from pipelines.pages import render
from pipelines.rules import BUDGETS
from pipelines.timeline import Timeline
from pipelines.verdict import day, figure, metrics_of

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


def page(examination: Examination, shown: Sequence[Timeline], *, now_us: int, note: str = "") -> str:
    """Write the report as HTML.

    Args:
        examination: What was found.
        shown: Stretches of time to look at.
        now_us: When, UTC microseconds.
        note: Why this training.

    Raises:
        ReportError: The page is larger than ``MOST_BYTES``.
    """
    dataset, candidate = examination.dataset, examination.candidate
    bands = {leaning.signal: leaning.normal for leaning in examination.leanings}
    leads = [f.lead_hours for f in failures(dataset.test, examination.alert, span_of(dataset)) if f.first_alert]
    values = {
        "it": examination,
        "usecase": examination.usecase,
        "data": dataset,
        "found": examination.metrics,
        "manifest": candidate.bundle.manifest,
        "digest": candidate.bundle.digest,
        "size": len(candidate.data),
        "budgets": BUDGETS,
        "sentence": sentence(examination),
        "money": money(examination),
        "caught_interval": share_interval(examination.metrics.caught, examination.metrics.failures),
        "alarm_interval": rate_interval(examination.metrics.false_alarms, examination.metrics.device_weeks),
        "champion": examination.champion,
        "timelines": [charts.timeline_picture(t, candidate.threshold, bands[t.signal]) for t in shown],
        "split": charts.split_picture(dataset),
        "dial": charts.dial_picture(examination.dial, candidate.threshold),
        "points": [_point(point.threshold, point.metrics) for point in examination.dial],
        "chosen": [point.threshold for point in examination.dial].index(candidate.threshold),
        "lead": charts.lead_picture(leads, dataset.horizon_us),
        "importances": list(zip(examination.leanings, charts.bar_widths(examination.leanings), strict=True)),
        "devices": examination.devices[:_MOST_DEVICES],
        "unlisted": len(examination.devices[_MOST_DEVICES:]),
        "device_count": len(np.unique(np.concatenate([dataset.train.device, dataset.test.device]))),
        "now_us": now_us,
        "note": note,
    }
    filters = {"figure": figure, "day": day, "percent": _percent, "amount": _amount}
    html = render("report.html.j2", filters, values)
    if len(html.encode()) > MOST_BYTES:
        raise ReportError(f"the report has {len(html.encode())} bytes, at most {MOST_BYTES} are allowed")
    return html


def document(examination: Examination) -> dict[str, Any]:
    """Return the figures of the report, ready for JSON; NaN is null."""
    dataset, candidate = examination.dataset, examination.candidate
    champion = examination.champion
    content = {
        "format": 1,
        "usecase": examination.usecase.name,
        "verdict": sentence(examination),
        "gate": {"passed": examination.passed, "rules": examination.results},
        "metrics": metrics_of(examination),
        "slices": {"known_devices": examination.known, "new_devices": examination.new},
        "champion": {"version": champion.version, "metrics": champion.metrics, "note": champion.note}
        if champion
        else None,
        "baselines": {"constant": examination.constant, "logistic": examination.logistic},
        "parity": examination.parity,
        "data": {
            "quality": dataset.quality,
            "lineage": dict(dataset.lineage),
            "since_us": dataset.since,
            "train_until_us": dataset.train_until,
            "test_from_us": dataset.test_from,
            "until_us": dataset.until,
            "held_out": list(dataset.held_out),
            "windows": {"train": len(dataset.train), "test": len(dataset.test)},
            "outside": examination.outside,
        },
        "devices": [{"device": name, **plain(metrics)} for name, metrics in examination.devices],
        "signals": examination.leanings,
        "thresholds": [_point(point.threshold, point.metrics) for point in examination.dial],
        "bundle": {
            "digest": candidate.bundle.digest,
            "bytes": len(candidate.data),
            "latency_us": examination.latency_us,
            "memory_mib": examination.memory_mib,
            "threshold": candidate.threshold,
            "feature_digest": candidate.bundle.manifest.features.digest,
        },
    }
    result: dict[str, Any] = plain(content)
    return result


def sentence(examination: Examination) -> str:
    """Say in one sentence what the model does, in events."""
    found = examination.metrics
    if not found.failures:
        return "No failure fell into the test, so nothing can be said about this model."
    alarms = f"{figure(found.false_alarms_per_device_week)} false alarms per device and week"
    if not found.caught:
        return f"It warns of none of {found.failures} failures, with {alarms}."
    lead = f"{found.lead_time_hours_median:.0f} hours ahead at the median"
    return f"It warns of {found.caught} of {found.failures} failures, {lead}, with {alarms}."


def money(examination: Examination) -> str:
    """Say what mistakes would have cost in the weeks of the test, with the model and without; empty without prices."""
    cost, found = examination.usecase.cost, examination.metrics
    if cost is None:
        return ""
    paid = cost.of(found.failures - found.caught, found.false_alarms)
    alone = cost.of(found.failures, 0)
    words = f"Its mistakes would have cost {_amount(paid)} {cost.currency} in the weeks of the test; "
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


def _point(threshold: float, metrics: Metrics) -> dict[str, Any]:
    return {
        "threshold": round(threshold, 6),
        "caught": metrics.caught,
        "failures": metrics.failures,
        "false_alarms": metrics.false_alarms,
        "false_alarms_per_device_week": plain(metrics.false_alarms_per_device_week),
        "lead_time_hours_median": plain(metrics.lead_time_hours_median),
    }


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.3g} %"


def _amount(number: float) -> str:
    return f"{number:,.0f}"
