"""The command fleet: what the Fleet page shows, in the terminal or as one file."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.errors import CommandError

if TYPE_CHECKING:
    from serving.fleet import Fleet, Overview

_PATIENCE_S = 600.0
HEADER = ("use case", "wanted", "released", "stage", "current", "updating", "failed", "silent", "stopped", "later")


@command(
    "Show what gateways run and what needs attention.",
    example="tidemill fleet pump_failure --html fleet.html",
    also="The same as the Fleet page in Airflow, read from the store alone. Counts are of what gateways report, never "
    "of what was sent to them. Without USECASE, all use cases.",
)
@click.argument("usecase", required=False)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write the page, as one file.")
def fleet(run: Run, usecase: str | None, *, html: Path | None) -> Outcome:
    """Look at the store once."""
    from dags.fleet import exports  # noqa: PLC0415 - `--help` must not pay for it
    from serving.fleet import FleetView  # noqa: PLC0415 - see above

    found = FleetView(run.open_store(), lambda: time.time_ns() // 1000).fleet(_PATIENCE_S)
    if found.problem:
        raise CommandError("the store cannot be read", why=found.problem, fix="tidemill doctor")
    chosen = {name: each for name, each in found.overviews.items() if usecase in (None, name)}
    if usecase is not None and not chosen:
        known = f"known are {', '.join(found.overviews) or 'none'}"
        raise CommandError(f"there is nothing about {usecase} in the store", why=known, fix="tidemill fleet")
    lines = [*table(HEADER, [_row(each) for each in chosen.values()])] if chosen else ["nothing was released yet"]
    for name, each in chosen.items():
        lines += _details(name, each)
    if html is not None:
        html.write_text(_page(run, found, usecase or next(iter(chosen), "")), encoding="utf-8")
        lines += ["", f"page: {html}"]
    return Outcome({"usecases": {name: exports.overview(each) for name, each in chosen.items()}}, lines)


def _row(found: "Overview") -> tuple[object, ...]:
    release, counts = found.release, found.muster.counts if found.muster else {}
    stage = f"{release.stage} of {release.stages}" if release else "-"
    states = (counts.get(name, 0) for name in HEADER[4:])
    return (found.usecase, found.told.text("wanted") or "-", release.version if release else "-", stage, *states)


def _details(name: str, found: "Overview") -> list[str]:
    from serving.words import gateways  # noqa: PLC0415 - `--help` must not pay for it

    running = [
        f"{gateways(each.gateways)} {'reports' if each.gateways == 1 else 'report'} "
        f"{f'version {each.version}' if each.version else 'no version'}"
        for each in (found.muster.versions if found.muster else ())
    ]
    waits = found.told.text("reason")
    told = [*running, *([f"waits: {waits}"] if waits else [])]
    needs = [f"! {each.sentence}. Next: {each.step}" for each in found.attention]
    return ["", name, *(f"  {line}" for line in told + needs)] if told or needs else []


def _page(run: Run, found: "Fleet", usecase: str) -> str:
    from dags import settings as airflow  # noqa: PLC0415 - `--help` must not pay for it
    from dags.fleet import pages  # noqa: PLC0415 - see above
    from serving.roster import Query  # noqa: PLC0415 - see above

    registry = airflow.registry_page({"MLFLOW_TRACKING_URI": run.settings.tracking})
    site = pages.Site("", "", registry, "", writes=False, now_us=found.read_us, live=False)
    if not usecase:
        return pages.list_of_usecases(site, found)
    return pages.usecase(site, found, found.overviews[usecase], Query())
