"""The gateways of a use case, counted, told apart and put in order: pure, from their reports.

Why so: *each gateway stands where its own report puts it* (`serving.rollout.standing`); what was sent to it counts for
nothing. *There is no sum of everything bad*: silent, failed, stopped and unreadable have different causes and different
remedies. *A rate needs two reports* of a gateway, since each only says how much there was since its start; how many
gateways a rate rests on is told beside it.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from serving.release import Release
from serving.reports import Report
from serving.rollout import STANDINGS, Standing, standing

State = Standing | Literal["unreadable"]
STATES: tuple[State, ...] = (*STANDINGS, "unreadable")
_MINUTE_US = 60_000_000
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a gateway counted between two of its reports, per minute."""

    predictions: float
    alerts: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A gateway as it is shown.

    Attributes:
        report: What it said last.
        state: Where it stands.
        pace: How fast it predicts; None before it was heard twice, and after a restart.
    """

    report: Report
    state: State
    pace: Pace | None


class Paces:
    """Remembers the counts of the report before, and how fast each gateway counted."""

    def __init__(self) -> None:
        self._last: dict[_Key, tuple[int, int, int]] = {}
        self._pace: dict[_Key, Pace] = {}

    def hear(self, reports: Iterable[Report]) -> None:
        """Compare reports with those before; gateways that are gone are forgotten.

        Example:
            >>> from dataclasses import replace
            >>> said = Report("kiln-1", "kilns", "kiln_failure", 0, "serving", predictions=10)
            >>> paces = Paces()
            >>> paces.hear([said])
            >>> paces.hear([replace(said, at_us=60_000_000, predictions=13)])
            >>> paces.of(said)
            Pace(predictions=3.0, alerts=0.0)
        """
        heard = {_key(report): (report.at_us, report.predictions, report.alerts) for report in reports}
        for key, now in heard.items():
            before = self._last.get(key, now)
            if now == before:
                continue
            minutes = (now[0] - before[0]) / _MINUTE_US
            predictions, alerts = now[1] - before[1], now[2] - before[2]
            self._pace.pop(key, None)
            if minutes > 0 and predictions >= 0 and alerts >= 0:
                self._pace[key] = Pace(predictions / minutes, alerts / minutes)
        self._last = heard
        self._pace = {key: pace for key, pace in self._pace.items() if key in heard}

    def of(self, report: Report) -> Pace | None:
        """How fast a gateway counts."""
        return self._pace.get(_key(report))


@dataclass(frozen=True, slots=True)
class VersionCount:
    """The gateways that say they answer with a version.

    Attributes:
        version: The version; empty for gateways without one.
        gateways: How many say so, or said so last.
        silent: How many of them are silent.
        median_age_us: How old their reports are; so is ``oldest_age_us``, of the oldest.
        paced: How many of them the two rates are of.
        predictions: Predictions a minute; None where no gateway was heard twice.
        alerts: Alerts a minute.
        missing_share: How many of the values that it was shown were missing (NaN), from 0 to 1; None for none shown.
    """

    version: str
    gateways: int
    silent: int
    median_age_us: int
    oldest_age_us: int
    paced: int
    predictions: float | None
    alerts: float | None
    missing_share: float | None


@dataclass(frozen=True, slots=True)
class Muster:
    """What the gateways of a use case say, in numbers.

    Attributes:
        counts: Gateways by state, all of ``STATES``.
        versions: By version, most gateways first.
        standing_alerts: Alerts that stand.
        pending: Predictions that have not reached the store.
        newest_us: Time of the newest report, UTC microseconds; 0 for none.
    """

    counts: Mapping[str, int]
    versions: tuple[VersionCount, ...]
    standing_alerts: int
    pending: int
    newest_us: int

    @property
    def gateways(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


def look(reports: Iterable[Report], release: Release | None, paces: Paces, now_us: int) -> list[Seen]:
    """Tell where each gateway of a use case stands; without a release all that serve nothing are in order."""
    against = release or Release("", 0, "", "", "", 0)
    return [
        Seen(
            report,
            "unreadable" if report.state == "unreadable" else standing(report, against, now_us),
            paces.of(report),
        )
        for report in reports
    ]


def count(seen: Sequence[Seen], now_us: int) -> Muster:
    """Put gateways into numbers."""
    counts = Counter(each.state for each in seen)
    by_version: dict[str, list[Seen]] = {}
    for each in seen:
        if each.state != "unreadable":
            by_version.setdefault(each.report.version, []).append(each)
    versions = [_version(version, those, now_us) for version, those in by_version.items()]
    return Muster(
        {name: counts[name] for name in STATES},
        tuple(sorted(versions, key=lambda found: (-found.gateways, found.version))),
        sum(each.report.standing_alerts for each in seen),
        sum(each.report.pending for each in seen),
        max((each.report.at_us for each in seen), default=0),
    )


def _version(version: str, seen: Sequence[Seen], now_us: int) -> VersionCount:
    ages = [max(0, now_us - each.report.at_us) for each in seen]
    silent = sum(each.state == "silent" for each in seen)
    paces = [each.pace for each in seen if each.pace is not None and each.state not in ("silent", "stopped")]
    values = sum(each.report.values for each in seen)
    return VersionCount(
        version,
        len(seen),
        silent,
        round(statistics.median(ages)),
        max(ages),
        len(paces),
        sum(pace.predictions for pace in paces) if paces else None,
        sum(pace.alerts for pace in paces) if paces else None,
        sum(each.report.missing for each in seen) / values if values else None,
    )


def _key(report: Report) -> _Key:
    return report.fleet, report.gateway, report.usecase
