"""What a training says in the registry, for the person who decides there.

MLflow's version page is the approval screen: the list shows the first thirty characters of a description raw, the page
renders its Markdown, tags are cut at twelve characters. So the first line is the verdict, and the rest answers what a
person asks before setting an alias: better than what runs? how to ship? how to undo?
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from pipelines.evaluate import Metrics
from pipelines.examine import Examination

MOST_PARAMS = 20
# Figures of a run that a summary leaves out.
DETAILS = (
    "roc_auc",
    "brier",
    "known_devices_failures_caught_share",
    "known_devices_average_precision",
    "constant_average_precision",
    "parity_rows",
    "parity_label_flips",
    "parity_max_abs",
)
_DAY_US = 86_400_000_000


def run_name(now_us: int, trigger: str, since_us: int, until_us: int) -> str:
    """Name a run after its date, what triggered it, and how much history it took.

    Example:
        >>> run_name(1_795_305_600_000_000, "scheduled", 0, 90 * 86_400_000_000)
        '2026-11-22 scheduled 90d'
    """
    return f"{day(now_us)} {trigger} {round((until_us - since_us) / _DAY_US)}d"


def day(moment_us: int) -> str:
    """Return the UTC day of a moment, ``yyyy-mm-dd``."""
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).strftime("%Y-%m-%d")


def headline(examination: Examination) -> str:
    """Return the verdict in at most thirty characters: lists show no more of a description, some of them only half."""
    found = examination.metrics
    if examination.passed:
        return f"Passed: {found.caught}/{found.failures} failures caught"[:30]
    count = len(examination.reasons)
    return f"Refused by {count} rule{'s' * (count > 1)}"


def description(examination: Examination, report: str) -> str:
    """Write the description of a version as Markdown.

    Args:
        examination: What was found.
        report: Link to the report, relative to the MLflow page.
    """
    champion = examination.champion
    lines = [headline(examination), "", *_table(examination), ""]
    lines += [f"- {reason}" for reason in examination.reasons]
    lines += [""] * bool(examination.reasons)
    if examination.passed:
        lines.append("**To ship:** set the alias `champion` on this version (the pencil beside *Aliases*).")
        lines.append("The blue button *Promote model* does something else.")
    else:
        lines.append("**To ship:** this version cannot be shipped, a release refuses it. Train again.")
    undo = f"set `champion` on version {champion.version} again" if champion else "remove the alias `champion`"
    lines += ["", f"**To undo:** {undo}.", "", f"[Open the report]({report})"]
    return "\n".join(lines)


def metrics_of(examination: Examination) -> dict[str, float]:
    """Return the figures of a run; the same names are used live."""
    found = examination.metrics
    result = {
        "failures": found.failures,
        "failures_caught": found.caught,
        "failures_caught_share": found.caught_share,
        "false_alarms": found.false_alarms,
        "false_alarms_per_device_week": found.false_alarms_per_device_week,
        "lead_time_hours_median": found.lead_time_hours_median,
        "lead_time_hours_p10": found.lead_time_hours_p10,
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "average_precision": found.average_precision,
        "roc_auc": found.roc_auc,
        "brier": found.brier,
        "new_devices_failures_caught_share": examination.new.caught_share,
        "new_devices_average_precision": examination.new.average_precision,
        "known_devices_failures_caught_share": examination.known.caught_share,
        "known_devices_average_precision": examination.known.average_precision,
        "logistic_average_precision": examination.logistic.average_precision,
        "constant_average_precision": examination.constant.average_precision,
        "parity_rows": examination.parity.rows,
        "parity_label_flips": examination.parity.label_flips,
        "parity_max_abs": examination.parity.max_abs,
        "latency_us": examination.latency_us,
        "bundle_bytes": len(examination.candidate.data),
        "memory_mib": examination.memory_mib,
    }
    if examination.champion and (other := examination.champion.metrics):
        result["champion_failures_caught"] = other.caught
        result["champion_false_alarms_per_device_week"] = other.false_alarms_per_device_week
        result["champion_average_precision"] = other.average_precision
    return {name: float(value) for name, value in result.items()}


def params_of(examination: Examination) -> dict[str, str]:
    """Return the parameters of a run: what makes the bundle what it is, and nothing else."""
    dataset, candidate = examination.dataset, examination.candidate
    settings = {**candidate.fitted.estimator.defaults, **candidate.parameters}
    result = {
        "estimator": candidate.estimator,
        "since": day(dataset.since),
        "until": day(dataset.until),
        "seed": dataset.lineage["seed"],
        "label": examination.usecase.label.name,
        "features": str(len(dataset.names)),
        "windows_train": str(len(dataset.train)),
        "windows_test": str(len(dataset.test)),
        "devices_held_out": str(len(dataset.held_out)),
        "threshold": f"{candidate.threshold:.6f}",
        **{name: str(value) for name, value in sorted(settings.items())},
    }
    return dict(list(result.items())[:MOST_PARAMS])


def _table(examination: Examination) -> list[str]:
    champion = examination.champion
    other = champion.metrics if champion else None
    name = f"champion v{champion.version}" if champion else "no champion yet"
    rows: list[tuple[str, Callable[[Metrics], str]]] = [
        ("Failures caught", lambda m: f"{m.caught} of {m.failures}"),
        ("False alarms per device and week", lambda m: figure(m.false_alarms_per_device_week)),
        ("Hours of warning, median", lambda m: figure(m.lead_time_hours_median, 0)),
        ("Hours of warning, shortest tenth", lambda m: figure(m.lead_time_hours_p10, 0)),
        ("F1 of the windows", lambda m: figure(m.f1)),
        ("Average precision", lambda m: figure(m.average_precision)),
    ]
    head = [f"| on the same held-out weeks | {name} | this version |", "|---|---|---|"]
    return head + [f"| {what} | {show(other) if other else '-'} | {show(examination.metrics)} |" for what, show in rows]


def figure(value: float, digits: int = 2) -> str:
    """Write a figure for people; what is not there is a dash.

    Example:
        >>> figure(0.1234), figure(20.4, 0), figure(-0.001), figure(math.nan)
        ('0.12', '20', '0.00', '-')
    """
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: there is no -0.00
