"""What a training says in the registry, for the person who decides there.

MLflow's version page is the approval screen: the list shows the first thirty characters of a description raw, the page
renders its Markdown, tags are cut at twelve characters. So the first line is the verdict, and the rest answers what a
person asks before setting an alias: better than what runs? how to ship? how to undo?
"""

import math
from datetime import UTC, datetime

from pipelines.examine import Examination
from pipelines.tasks import Measure, Metrics
from pipelines.tasks.failure import FailureMetrics, paid

MOST_PARAMS = 20
_ROWS = 6  # of the table in a description
_GAP = "&ensp;"  # MLflow draws the cells of a table without a space between them, and trims plain ones
# Figures of a run that a summary leaves out.
DETAILS = ("known_devices_", "constant_", "parity_", "interval_", "brier", "roc_auc", "windows", "positives")
_DAY_US = 86_400_000_000
_TELLING, _LEAST = 2, 1e-4  # digits that tell figures apart, and what is as good as nothing


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


def sentence(examination: Examination) -> str:
    """Say in one sentence what the model does."""
    return examination.task.sentence(examination.metrics, examination.usecase.label.unit)


def money(examination: Examination) -> str:
    """Say what mistakes would have cost in the weeks of the test, with the model and without; empty without prices."""
    cost, found = examination.usecase.alerting.cost, examination.metrics
    if cost is None or not isinstance(found, FailureMetrics):
        return ""
    alone = cost.of(found.failures, 0)
    words = f"Its mistakes would have cost {paid(cost, found):,.0f} {cost.currency} in the weeks of the test; "
    return words + f"without it, failures nobody was warned of would have cost {alone:,.0f} {cost.currency}."


def headline(examination: Examination) -> str:
    """Return the verdict in at most thirty characters: lists show no more of a description, some of them only half."""
    if examination.passed:
        return f"Passed: {examination.task.headline(examination.metrics)}"[:30]
    count = len(examination.reasons)
    leaks = any(not result.passed and result.rule.startswith("leak.") for result in examination.results)
    return f"Refused by {count} rule{'s' * (count > 1)}{': a leak' * leaks}"


def leak_verdict(examination: Examination) -> list[tuple[str, bool | None]]:
    """Say whether figures are borrowed from overlap or from the future: sentences, and whether all is well.

    What was not checked is None.
    """
    results = {result.rule: result for result in examination.results}
    overlap, ahead = results.get("leak.shuffled_labels"), results.get("leak.future_shift")
    scrambled, shifted = examination.scrambled, examination.shifted
    first = "It learns from normal operation, without labels: there is nothing to know by heart."
    if scrambled is not None and overlap is not None:
        by_heart = "training and test overlap, and every figure here is by heart"
        knows = "does not know" if overlap.passed else "knows"
        first = (
            f"With scrambled labels there is nothing to learn, and training {knows} those of {scrambled.windows:,} "
            f"windows of the test (correlation {figure(scrambled.skill)}, lower bound {figure(scrambled.bound)}, "
            f"allowed {figure(overlap.limit)}): {'training and test do not overlap' if overlap.passed else by_heart}."
        )
    second = "Features were not made again without the future."
    if shifted is not None and ahead is not None:
        named = f", in {', '.join(shifted.names[:5])}" if shifted.names else ""
        second = (
            f"Features of {shifted.windows} windows were made again from what was there before each ended: "
            f"{shifted.changed} of {shifted.values:,} values differ{named}."
        )
    return [(first, overlap.passed if overlap else None), (second, ahead.passed if ahead else None)]


def description(examination: Examination, report: str) -> str:
    """Write the description of a version as Markdown.

    Args:
        examination: What was found.
        report: Link to the report, relative to the MLflow page.
    """
    champion = examination.champion
    unit = examination.usecase.label.unit
    lines = [headline(examination), "", examination.task.sentence(examination.metrics, unit), ""]
    lines += [*_table(examination), ""]
    lines += [f"- {reason}" for reason in examination.reasons]
    lines += [""] * bool(examination.reasons)
    if examination.passed:
        lines.append("**To ship:** set the alias `champion` on this version (the pencil beside *Aliases*).")
        lines.append("The blue button *Promote model* does something else.")
    else:
        lines.append("**To ship:** this version cannot be shipped, a release refuses it. Train again.")
    undo = f"set `champion` on version {champion.version} again" if champion else "remove the alias `champion`"
    lines += ["", f"**To undo:** {undo}.", "", f"[Open the report]({report})", ""]
    # MLflow cuts long descriptions: what there is to do stands before what was checked.
    lines += [
        f"{'Leak check' if good is not None else 'Not checked'}: {text}  " for text, good in leak_verdict(examination)
    ]
    return "\n".join(lines)


def metrics_of(examination: Examination) -> dict[str, float]:
    """Return the figures of a run; the same names are used live.

    Every figure of the task, the interval of its first measures, and how the first one does on devices that were in
    training, on new ones, for a linear model, for guessing and for the champion.
    """
    first = examination.task.measures[0].name
    result = dict(examination.metrics.figures)
    compared = {
        "known_devices": examination.known,
        "new_devices": examination.new,
        "linear": examination.linear,
        "constant": examination.constant,
        "champion": examination.champion.metrics if examination.champion else None,
    }
    result |= {f"{name}_{first}": metrics.figures[first] for name, metrics in compared.items() if metrics is not None}
    for measure in examination.task.measures:
        if measure.name in examination.intervals:
            low, high = examination.intervals[measure.name]
            result |= {f"interval_low_{measure.name}": low, f"interval_high_{measure.name}": high}
    result |= {
        "parity_rows": examination.parity.rows,
        "parity_label_flips": examination.parity.label_flips,
        "parity_max_abs": examination.parity.max_abs,
        "latency_us": examination.latency_us,
        "bundle_bytes": len(examination.candidate.data),
        "memory_mib": examination.memory_mib,
    }
    return {name: float(value) for name, value in result.items()}


def told(examination: Examination) -> dict[str, float]:
    """Return the figures that a summary tells: those of a run without its details."""
    return {name: value for name, value in metrics_of(examination).items() if not name.startswith(DETAILS)}


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
    head = [f"| on the same held-out windows | {_GAP}{name} | {_GAP}this version |", "|---|---|---|"]
    unit = examination.usecase.label.unit
    return head + [
        f"| {titled(measure, unit)} | {_GAP}{shown(measure, other)} | {_GAP}{shown(measure, examination.metrics)} |"
        for measure in examination.task.measures[:_ROWS]
    ]


def titled(measure: Measure, unit: str) -> str:
    """Return the title of a measure with its unit."""
    named = unit if measure.unit == "label" else measure.unit
    return f"{measure.title}, {named}" if named and named != "1" else measure.title


def shown(measure: Measure, metrics: Metrics | None) -> str:
    """Write a measure for people; a dash where there is none."""
    return "-" if metrics is None else figure(metrics.figures[measure.name], measure.digits)


def figure(value: float, digits: int = 2) -> str:
    """Write a figure for people; what is not there is a dash.

    Where failures are rare, all there is to compare lies behind the second digit: small figures keep two digits.

    Example:
        >>> figure(0.1234), figure(25_013.4, 0), figure(0.00956), figure(-0.00001), figure(math.nan)
        ('0.12', '25,013', '0.0096', '0.00', '-')
    """
    if math.isnan(value):
        return "-"
    if digits >= _TELLING and _LEAST <= abs(value) < 1:
        digits = max(digits, _TELLING - 1 - math.floor(math.log10(abs(value))))
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # + 0.0: there is no -0.00
