"""Commands about the tables of the lake: what they hold, their upkeep, and the reports of what came in."""

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.parameters import AGE, FLEET, iso

if TYPE_CHECKING:
    from pipelines.lake import Table
    from pipelines.lake.stock import Stock
    from pipelines.lake.upkeep import Upkeep

HEADER = ("fleet", "table", "rows", "files", "MB", "version", "first", "last", "changed", "small files")


class _ShowByDefault(click.Group):
    """``tidemill lake pumps`` is short for ``tidemill lake show pumps``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not {*args[:1]} & {*self.commands, "--help", "-h"}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShowByDefault, help="Show and look after the tables of a fleet.")
def lake() -> None:
    """Group of the lake."""


@command(
    "Show the tables of a fleet, or of all: rows, files, size, versions, oldest and newest reading.",
    example="tidemill lake show pumps",
    also="Read from the tables' logs; no data file is opened. `tidemill lake pumps` is short for it.",
)
@click.argument("fleet", type=FLEET, required=False)
def show(run: Run, fleet: str | None) -> Outcome:
    """Show what the tables hold."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.lake.stock import stock  # noqa: PLC0415 - see above

    uri = run.open_store().uri
    found = [
        (name, which, held)
        for name in ([fleet] if fleet else catalog.names())
        for which, each in _tables(uri, name)
        if (held := stock(each)) is not None
    ]
    rows = [_row(*each) for each in found]
    payload = [{"fleet": name, "table": which, **dataclasses.asdict(held)} for name, which, held in found]
    return Outcome({"store": uri, "tables": payload}, table(HEADER, rows) if rows else ["nothing has been ingested"])


@command(
    "Merge small files, write checkpoints, and remove files that no version needs any more.",
    example="tidemill lake upkeep pumps --vacuum-older-than 30d --dry-run",
    also="Telemetry goes by age only where the fleet's catalog entry says keep=, in whole dates; what was computed "
    "from it stays. Raw objects, the ledger and the quarantine are never touched. Versions that a registered training "
    "names stay readable; while MLflow does not answer, tables that trainings name are not vacuumed.",
)
@click.argument("fleet", type=FLEET)
@click.option(
    "--vacuum-older-than", default="30d", metavar="AGE", type=AGE, help="Horizon: 30d, 720h, 5w; at least 7d."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def upkeep(run: Run, fleet: str, vacuum_older_than: timedelta, dry_run: bool) -> Outcome:  # noqa: FBT001 - click
    """Look after the tables of a fleet."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.lake.upkeep import upkeep as look_after  # noqa: PLC0415 - see above

    kept = {"telemetry": catalog.load(fleet).fleet.keep}
    tables = dict(_tables(run.open_store().uri, fleet))
    named = _named(run, fleet)
    done: dict[str, Upkeep] = {}
    for number, (name, each) in enumerate(tables.items()):
        run.console.progress(f"upkeep {fleet}", number, len(tables))
        if each.exists():
            versions = named.get(name, ()) if named is not None else None if name in _NAMEABLE else ()
            done[name] = look_after(
                each,
                run.now_us,
                older_than=vacuum_older_than,
                named=versions,
                keep=kept.get(name),
                dry_run=dry_run,
            )
    run.console.progress(f"upkeep {fleet}", len(tables), len(tables))
    payload = {"fleet": fleet, "dry_run": dry_run, "tables": {n: dataclasses.asdict(each) for n, each in done.items()}}
    lines = [f"{name}: {_told(each, dry_run=dry_run)}" for name, each in done.items()]
    return Outcome(payload, lines or ["nothing has been ingested"])


@command(
    "Tell what an ingest brought: counts, lateness, gaps, devices, values out of range.",
    example="tidemill lake report pumps --run 1",
    also="The latest run that brought something, or the one named. --json prints all figures; the page has pictures.",
)
@click.argument("fleet", type=FLEET)
@click.option("--run", "number", type=click.IntRange(1), metavar="NUMBER", help="Number of the run.  [default: latest]")
def report(run: Run, fleet: str, number: int | None) -> Outcome:
    """Show a data report."""
    from pipelines.findings import headlines  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.witness import read_report  # noqa: PLC0415 - see above

    store = run.open_store()
    key, found = read_report(store, fleet, number)
    page = f"{store.uri}/{key.removesuffix('json')}html"
    rejected = [(each["reason"], each["count"], f"{100 * each['share']:.1f} %") for each in found["reasons"]]
    lines = [
        f"run {found['run']} of {iso(found['at_us'])}",
        *headlines(found),
        *(f"WARNING {line}" for line in found["warnings"]),
        *(["", *table(("rejected because", "records", "share"), rejected)] if rejected else []),
        "",
        f"page {page}",
    ]
    return Outcome({**found, "page": page}, lines)


lake.add_command(show)
lake.add_command(upkeep)
lake.add_command(report)

_NAMEABLE = ("features", "events")


def _tables(uri: str, fleet: str) -> "Iterator[tuple[str, Table]]":
    """Every table that belongs to a fleet, by the name people know."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines import usecases  # noqa: PLC0415 - see above
    from pipelines.lake import Lake  # noqa: PLC0415 - see above

    features, lake = catalog.load(fleet).features.computable, Lake(uri)
    yield "telemetry", lake.telemetry(features.fleet)
    yield "events", lake.events(features.fleet)
    yield "panes", lake.panes(features)
    yield "features", lake.features(features)
    yield "devices", lake.devices(features)
    for name in usecases.names():
        if usecases.load(name).fleet == fleet:
            yield f"predictions of {name}", lake.predictions(name)
            yield f"outcomes of {name}", lake.outcomes(name)


def _named(run: Run, fleet: str) -> Mapping[str, set[int]] | None:
    """The versions of tables that registered trainings name, by table; None when the registry does not answer."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines import usecases  # noqa: PLC0415 - see above
    from pipelines.errors import RegistryUnreachableError  # noqa: PLC0415 - see above
    from pipelines.registry import Registry  # noqa: PLC0415 - see above

    digest, registry = catalog.load(fleet).features.computable.digest, Registry(run.settings.tracking)
    named: dict[str, set[int]] = {name: set() for name in _NAMEABLE}
    try:
        for usecase in usecases.names():
            if usecases.load(usecase).fleet == fleet:
                for learned in registry.training_sets(usecase):
                    for name, version in learned.tables.items():
                        if name != "features" or learned.digest == digest:
                            named[name].add(version)
    except RegistryUnreachableError:
        return None
    return named


def _row(fleet: str, name: str, held: "Stock") -> tuple[object, ...]:
    moments = [iso(at) if at is not None else "-" for at in (held.first_us, held.last_us, held.changed_us)]
    megabytes = f"{held.bytes / 1e6:,.1f}"
    return fleet, name, held.rows, held.files, megabytes, held.version, *moments, f"{100 * held.small:.0f} %"


def _told(done: "Upkeep", *, dry_run: bool) -> str:
    """What was done to a table, in one sentence."""
    merged, words = done.compacted, []
    if done.outlived:
        dates = done.outlived[0] if len(done.outlived) == 1 else f"{done.outlived[0]} to {done.outlived[-1]}"
        words.append(f"{done.rows:,} rows of {dates} {'would be' if dry_run else 'were'} removed: older than kept")
    if merged.removed:
        words.append(f"{merged.removed:,} small files became {merged.added:,}")
    if merged.refused:
        words.append(f"{merged.refused} dates were busy and stay as they are until tomorrow")
    if done.checkpoint is not None:
        words.append(f"checkpoint of version {done.checkpoint}")
    if done.files:
        words.append(f"{done.files:,} files of {done.bytes / 1e6:,.1f} MB {'would be' if dry_run else 'were'} removed")
    if done.entries:
        words.append(f"{done.entries:,} log entries removed")
    if done.kept:
        words.append(f"versions {', '.join(map(str, done.kept))} kept for trainings")
    if done.lost:
        words.append(f"versions {', '.join(map(str, done.lost))}, which trainings name, are gone")
    if done.held:
        words.append(f"not vacuumed: {done.held}")
    return "; ".join(words) or "nothing to do"
