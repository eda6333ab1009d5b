"""The report of a training: one page for a plant engineer.

The page is one file without a single address in it: MLflow shows it in a frame, it can be mailed, printed and opened in
ten years. Its ten parts have fixed ids (``PARTS``), so tests and links find them. All figures stem from an
``Examination``; nothing is computed here but sentences.

Why so:

- *Own SVG instead of a plotting library*: 35 kB and 4 ms for what others draw in 0.1 to 5 MB and seconds.
"""

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
from pipelines.reportfile import point
from pipelines.rules import BUDGETS
from pipelines.sensitivity import Leaning
from pipelines.slices import rounded
from pipelines.spells import spell_curves
from pipelines.tasks.failure import FailureMetrics, failures
from pipelines.timeline import ReadSignal, Timeline
from pipelines.verdict import day, figure, leak_verdict, money, sentence, titled
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
        "points": [point(each.threshold, each.metrics) for each in examination.dial],
        "chosen": [each.threshold for each in examination.dial].index(threshold),
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
