"""What needs somebody's attention in a use case: few lines, each with its reason and the next step.

Causes are told apart, because their remedies are: a gateway that is silent needs a look at its site, one that failed a
look at the version, one with a wrong clock a time server. Gateways with the same trouble share a line.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from serving.evidence import Monitoring, Retraining
from serving.muster import Muster, Seen
from serving.release import Release
from serving.reports import Report
from serving.roster import LITTLE_DISK, MANY_PENDING, TROUBLES, troubled
from serving.words import age, gateways

MOST = 10
_CODE = re.compile(r"\bTM-\d{3}\b")
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Attention:
    """One line.

    Attributes:
        kind: What it is about, one word: ``approval``, ``refused``, ``failed``, ``silent`` …
        sentence: What is the matter, with its reason.
        step: What to do next.
        state: The state or trouble by which the list of gateways shows those it is about; empty for none.
        code: The code of an error in the reason, for ``tidemill explain``; empty for none.
    """

    kind: str
    sentence: str
    step: str
    state: str = ""
    code: str = ""


def attention(
    status: Mapping[str, object],
    release: Release | None,
    seen: Sequence[Seen],
    muster: Muster | None,
    *,
    monitoring: Monitoring | None = None,
    retraining: Retraining | None,
    now_us: int,
) -> list[Attention]:
    """Return what needs attention, what blocks people first, at most ``MOST``.

    Args:
        status: What the last release run found (`serving.status`); empty for nothing.
        release: What is published; None for nothing.
        seen: The gateways; empty while they are not counted.
        muster: Their numbers; None while they are not counted.
        monitoring: The latest look at the predictions.
        retraining: The latest decision to train anew.
        now_us: The time, UTC microseconds.
    """
    found = [*_of_status(status)]
    if muster is not None:
        found += [*_failed(seen, release), *_states(muster, seen, now_us), *_troubles(seen)]
    if monitoring is not None and monitoring.findings:
        found.append(_unsound(monitoring.findings))
    if retraining is not None and retraining.retrain:
        found.append(_retrain(retraining))
    return found[:MOST]


def code_in(text: str) -> str:
    """Return the code of an error that a text names; empty for none.

    Example:
        >>> code_in("TM-221 the bundle does not answer its golden rows")
        'TM-221'
    """
    found = _CODE.search(text)
    return found[0] if found else ""


def _of_status(status: Mapping[str, object]) -> Iterable[Attention]:
    reason, version = str(status.get("reason") or ""), str(status.get("wanted") or "")
    if status.get("question"):
        asked = "answer it in Airflow, DAG approve, or by `tidemill approve`"
        yield Attention("approval", reason, asked if status.get("asks", True) else "change it by `tidemill approve`")
    elif status.get("action") == "refused":
        step = "mend what the reason names, or set the alias champion on another version"
        yield Attention("refused", f"version {version} is not released: {reason}", step, code=code_in(reason))
    elif reason.startswith("paused"):
        yield Attention("paused", f"the rollout is {reason}", "resume it, or abort it")


def _unsound(findings: Sequence[str]) -> Attention:
    """What the model is fed is not sound: nothing that a new model would mend."""
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    step = "look at the sensor or clock that it names; a new model would not mend it"
    return Attention("unsound", f"monitoring finds: {findings[0]}{more}", step)


def _retrain(retraining: Retraining) -> Attention:
    """A model that was asked for: to come, refused, or waiting for the alias."""
    judged = retraining.followed
    if judged is None:
        return Attention("retrain", f"monitoring says {retraining.sentence}", "follow the DAG train")
    if not judged.passed:
        told = f"a new model was trained, and the gate refused it: {'; '.join(judged.reasons)}"
        return Attention("retrain", told, "read its report in MLflow; the version in use stays")
    told = "a new model was trained as monitoring asked for, and has passed the gate"
    return Attention("retrain", told, "look at the challenger in MLflow; it serves once it has the alias champion")


def _failed(seen: Sequence[Seen], release: Release | None) -> Iterable[Attention]:
    """One line for each kind of reason: gateways whose reasons differ in numbers only share one."""
    groups: dict[str, list[Report]] = {}
    for each in seen:
        if each.state == "failed":
            groups.setdefault(_NUMBERS.sub("#", each.report.reason), []).append(each.report)
    for reports in sorted(groups.values(), key=len, reverse=True)[:3]:
        reason = reports[0].reason
        running = f"running version {reports[0].version}" if reports[0].version else "running nothing"
        wanted = f"version {release.version}" if release and release.version else "the release"
        yield Attention(
            "failed",
            f"{_named(reports)} cannot run {wanted}: {reason} ({running})",
            "read the reason of one of them; roll back if all have it",
            "failed",
            code_in(reason),
        )


def _states(muster: Muster, seen: Sequence[Seen], now_us: int) -> Iterable[Attention]:
    if muster.counts["silent"]:
        silent = [each.report for each in seen if each.state == "silent"]
        oldest = min(silent, key=lambda report: report.at_us)
        longest = age(now_us - oldest.at_us)
        told = f"10 minutes, the longest {oldest.gateway}, {longest}" if len(silent) > 1 else longest
        step = "look at power and network of the site; what runs there is not known"
        yield Attention("silent", f"{_named(silent)} did not report for {told}", step, "silent")
    if muster.counts["unreadable"]:
        unreadable = [each.report for each in seen if each.state == "unreadable"]
        step = "update this program or the gateway, or remove the file"
        yield Attention("unreadable", f"{_named(unreadable)} left a report that cannot be read", step, "unreadable")


def _troubles(seen: Sequence[Seen]) -> Iterable[Attention]:
    steps = {
        "clock": ("has", "have", "a clock that is not set: times are not to be relied on", "look at the time server"),
        "updates": ("does", "do", "not get the releases", "look at the way from the gateway to the store"),
        "pending": (
            "keeps",
            "keep",
            f"{MANY_PENDING:,} predictions or more that the store does not have",
            "look at the network",
        ),
        "disk": (
            "has",
            "have",
            f"less than {LITTLE_DISK:.0%} of the disk free",
            "make room there; without any, predictions are dropped and no release is installed",
        ),
    }
    for trouble in TROUBLES:
        reports = [
            each.report for each in seen if each.state not in ("silent", "stopped") and troubled(each.report, trouble)
        ]
        if reports:
            one, several, rest, step = steps[trouble]
            sentence = f"{_named(reports)} {one if len(reports) == 1 else several} {rest}"
            why = reports[0].updates_reason if trouble == "updates" else ""
            told = f": {reports[0].updates}{f', {why}' if why else ''}" if trouble == "updates" else ""
            yield Attention(trouble, f"{sentence}{told}", step, trouble, code_in(why))


def _named(reports: Sequence[Report]) -> str:
    """Return how many, with the name where there is one only."""
    return gateways(len(reports)) if len(reports) > 1 else f"gateway {reports[0].gateway}"
