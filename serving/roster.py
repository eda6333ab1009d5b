"""The list of gateways: filtered, sorted and cut into pages, from a query that fits into an address."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serving.muster import Seen
from serving.reports import Report

_WORST_FIRST: Mapping[str, int] = {
    name: place
    for place, name in enumerate(("failed", "unreadable", "silent", "updating", "stopped", "later", "current"))
}
PAGE = 50
SORTS = ("worst", "gateway", "version", "heard", "memory", "alerts")
TROUBLES = ("clock", "updates", "pending", "disk")
"""What may be wrong with a gateway beside where it stands: clock, way to the releases, way to the store, full disk."""
MANY_PENDING = 1000
LITTLE_DISK = 0.05


@dataclass(frozen=True, slots=True)
class Query:
    """Which gateways are shown, in which order.

    Attributes:
        state: One of ``STATES`` or ``TROUBLES``; empty for all.
        version: The version that they say they run; ``none`` for gateways without one; empty for all.
        text: A part of the name, the fleet or the reason, in small or capital letters.
        sort: One of ``SORTS``.
        page: From 1.
    """

    state: str = ""
    version: str = ""
    text: str = ""
    sort: str = "worst"
    page: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the gateways that a query finds: how many there are, and where this part is."""

    rows: tuple[Seen, ...]
    found: int
    page: int
    pages: int


def pick(seen: Iterable[Seen], query: Query) -> list[Seen]:
    """Return the gateways that a query finds, in its order."""
    return sorted((each for each in seen if _matches(each, query)), key=lambda each: _place(each, query.sort))


def page(seen: Iterable[Seen], query: Query) -> Page:
    """Return one page of what a query finds; the last one where the page is too far."""
    found = pick(seen, query)
    pages = max(1, -(-len(found) // PAGE))
    number = min(max(1, query.page), pages)
    return Page(tuple(found[(number - 1) * PAGE : number * PAGE]), len(found), number, pages)


def troubled(report: Report, trouble: str) -> bool:
    """Whether a gateway has one of ``TROUBLES``."""
    match trouble:
        case "clock":
            return report.clock != "plausible"
        case "updates":
            return report.updates not in ("current", "unknown")
        case "disk":
            return report.disk_free_share is not None and report.disk_free_share < LITTLE_DISK
        case _:
            return report.pending >= MANY_PENDING


def _matches(each: Seen, query: Query) -> bool:
    report = each.report
    if query.state in TROUBLES and not troubled(report, query.state):
        return False
    if query.state and query.state not in TROUBLES and each.state != query.state:
        return False
    if query.version and report.version != ("" if query.version == "none" else query.version):
        return False
    text = query.text.casefold()
    return not text or any(text in word.casefold() for word in (report.gateway, report.fleet, report.reason))


def _place(each: Seen, sort: str) -> tuple[object, ...]:
    report = each.report
    match sort:
        case "gateway":
            first: object = 0
        case "version":
            first = (len(report.version), report.version)
        case "heard":
            first = report.at_us
        case "memory":
            first = -report.memory_mib
        case "alerts":
            first = -report.standing_alerts
        case _:
            first = _WORST_FIRST[each.state]
    return first, report.gateway, report.usecase
