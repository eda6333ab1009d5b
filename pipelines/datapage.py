"""The data report of a run as one page, for whoever looks after the devices."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from features.schema import Fleet
from pipelines.findings import COUNTED, headlines, spoken
from pipelines.pages import render

_CHANGES: Final = {
    "joined": "Records that share a row with another one",
    "replaced": "Rows replaced or taken out",
    "restored": "Rows that came back from objects read before",
    "excluded": "Objects passed over, as the mapping says",
}


def page(fleet: Fleet, report: Mapping[str, Any]) -> str:
    """Write a report as HTML.

    Args:
        fleet: Says what signals mean.
        report: What `pipelines.findings.document` gave.
    """
    filters = {"amount": _amount, "spoken": _spoken, "moment": _moment, "percent": _percent, "precise": _precise}
    values = {
        "it": report,
        "fleet": fleet,
        "signals": {signal.name: signal for signal in fleet.signals},
        "counted": COUNTED,
        "changed": [(words, report["changed"][name]) for name, words in _CHANGES.items() if report["changed"][name]],
        "commonest": max((each["share"] for each in report["reasons"]), default=1.0),
        "headlines": headlines(report),
        "slowest": max(report["lateness"]["up_to"].values()),
        "longest": max((each["missing_s"] for each in report["gaps"]["worst"]), default=0.0),
    }
    return render("ingest.html.j2", filters, values)


def _amount(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _spoken(seconds: float | None) -> str:
    return "-" if seconds is None else spoken(seconds)


def _moment(moment_us: int | None) -> str:
    return "-" if moment_us is None else datetime.fromtimestamp(moment_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _precise(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.4g} s"
