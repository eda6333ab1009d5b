"""Commands that bring telemetry in: simulate, import, ingest, quarantine."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.parameters import FLEET, MOMENT, iso
from infra.local.pumps.plan import Plan

MOST_BYTES = 200  # of a rejected record that are shown


@click.group(help="Write telemetry of a simulated fleet.")
def simulate() -> None:
    """Group of the simulated fleets."""


@command(
    "Write telemetry of simulated pumps, as their hub would have.",
    example="tidemill simulate pumps --devices 36 --days 40 --seed 7",
    also="A message a minute and pump; bearings wear and fail, sensors lie, the network is late, repeats and spoils. "
    "The same seed gives the same bytes, also when days are written one after the other.",
)
@click.option("--devices", default=36, metavar="PUMPS", help="Number of pumps.")
@click.option("--days", default=40, metavar="DAYS", help="Length of the simulated period, days.")
@click.option("--seed", default=7, metavar="NUMBER", help="Everything random follows from it.")
@click.option("--start", default="2026-01-05", metavar="DAY", type=MOMENT, help="First day (UTC).")
@click.option("--from-day", default=0, metavar="DAY", help="Write arrivals from this day on, 0 is the first.")
@click.option("--to-day", default=None, type=int, metavar="DAY", help="Write arrivals before this day.  [default: all]")
@click.option(
    "--late-share", default=0.01, metavar="SHARE", help="Messages held back for hours by a dead uplink, 0-0.5."
)
@click.option("--duplicate-share", default=0.01, metavar="SHARE", help="Messages delivered twice, 0-0.5.")
@click.option("--disorder-share", default=0.01, metavar="SHARE", help="Messages overtaken by later ones, 0-0.5.")
@click.option("--corrupt-share", default=0.0005, metavar="SHARE", help="Messages spoilt on their way, 0-0.5.")
@click.option("--fault-share", default=0.004, metavar="SHARE", help="Time with one faulty sensor a pump, 0-0.5.")
@click.option("--processes", default=2, metavar="COUNT", help="Processes to use, 1 or 2.")
def pumps(run: Run, *, start: int, to_day: int | None, processes: int, **options: Any) -> Outcome:
    """Simulate pumps."""
    from infra.local.pumps.run import write_fleet  # noqa: PLC0415 - numpy comes with it

    plan = Plan(start_ms=start // 1000, to_day=-1 if to_day is None else to_day, **options)
    store = run.open_store(create=True)
    written = write_fleet(
        plan,
        store.uri,
        processes=processes,
        advance=lambda done, total: run.console.progress("simulate pumps", done, total),
    )
    first, last = (plan.start_ms + day * 86_400_000 for day in (plan.from_day, plan.last_day))
    lines = [
        f"{written.messages:,} messages of {plan.devices} pumps in {written.objects:,} objects",
        f"arrived from {iso(first * 1000)} to {iso(last * 1000)}",
        f"{written.late:,} late, {written.duplicates:,} repeated, {written.spoilt:,} spoilt, {written.spikes:,} spikes",
        f"{written.failures} failures and {written.maintenances} maintenances reported",
        f"stored in {store.uri}/raw/pumps",
    ]
    return Outcome({"fleet": "pumps", "store": store.uri, **dataclasses.asdict(written)}, lines)


simulate.add_command(pumps)


@click.group("import", help="Write a public data set as a hub would have.")
def import_() -> None:
    """Group of the importers."""


@command(
    "Write Microsoft's Azure Predictive Maintenance files as their hub would have.",
    example="tidemill import azure-pdm ~/data/azure_pdm --until 2015-03-02",
    also="FOLDER holds PdM_telemetry, PdM_errors, PdM_failures and PdM_maint as .csv or .csv.gz. Times count as UTC. "
    "Hours that are stored already are left as they are.",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--until", type=MOMENT, metavar="TIME", help="Import what happened before this time.  [default: all]")
def azure_pdm(run: Run, folder: Path, until: int | None) -> Outcome:
    """Import the Azure files."""
    from pipelines.importers.azure_pdm import FLEET, import_azure_pdm  # noqa: PLC0415 - `--help` must not pay for it

    store = run.open_store(create=True)
    summary = import_azure_pdm(store, folder, until_us=until, progress=run.console.progress)
    lines = [
        f"{summary.messages:,} messages of {summary.machines} machines in {summary.objects:,} new objects",
        f"{summary.unchanged:,} objects were there already",
        f"telemetry from {iso(summary.first_us)} to {iso(summary.last_us)}",
        f"{summary.errors} error codes, {summary.failures} failures, {summary.maintenances} maintenances",
        f"stored in {store.uri}/raw/{FLEET}",
    ]
    return Outcome({"fleet": FLEET, "store": store.uri, **dataclasses.asdict(summary)}, lines)


import_.add_command(azure_pdm)


@command("Take in what devices wrote since the last time.", example="tidemill ingest pumps")
@click.argument("fleet", type=FLEET)
def ingest(run: Run, fleet: str) -> Outcome:
    """Ingest a fleet."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.ingest import ingest as take_in  # noqa: PLC0415 - see above
    from pipelines.lake import Lake  # noqa: PLC0415 - see above

    store = run.open_store()
    summary = take_in(store, Lake(store.uri), catalog.load(fleet).fleet, run.now_us, run.console.progress)
    rejected = summary.quarantined + summary.unreadable
    lines = [
        f"{summary.objects:,} new objects in {summary.batches} batches",
        f"{summary.accepted:,} readings accepted, {summary.late:,} of them late; {summary.duplicates:,} duplicates",
        f"{summary.superseded:,} superseded; {summary.replaced:,} rows went, {summary.restored:,} came back",
        f"{summary.events:,} events",
        f"{summary.quarantined:,} records and {summary.unreadable:,} objects quarantined",
        *([f"look at them: tidemill quarantine list {fleet}"] if rejected else []),
    ]
    return Outcome({"fleet": fleet, "store": store.uri, **dataclasses.asdict(summary)}, lines)


@click.group(help="Look at rejected records and take them in again.")
def quarantine() -> None:
    """Group of the quarantine."""


@command(
    "List rejected records, batch by batch, with the reason.",
    example="tidemill quarantine list pumps",
    also="With BATCH, its records are listed one by one.",
    name="list",
)
@click.argument("fleet", type=FLEET)
@click.argument("batch", required=False)
@click.option("--limit", default=20, metavar="RECORDS", type=click.IntRange(1), help="Most records of a batch to show.")
def quarantine_list(run: Run, fleet: str, batch: str | None, limit: int) -> Outcome:
    """List the quarantine."""
    from pipelines.quarantine import batches, read  # noqa: PLC0415 - `--help` must not pay for it

    store = run.open_store()
    if batch is None:
        found = batches(store, fleet)
        rows = [(each.name, reason, count) for each in found for reason, count in each.reasons.items()]
        lines = table(("batch", "reason", "records"), rows) if rows else ["nothing is quarantined"]
        return Outcome({"fleet": fleet, "batches": [dataclasses.asdict(each) for each in found]}, lines)
    shown = [
        {
            "key": line.key,
            "ordinal": line.ordinal,
            "offset": line.offset,
            "reason": line.reason,
            "sentence": line.sentence,
            "record": line.data[:MOST_BYTES].decode(errors="backslashreplace").strip(),
        }
        for line in itertools.islice(read(store, fleet, batch), limit)
    ]
    lines = [
        text
        for line in shown
        for text in (f"{line['key']}:{line['ordinal']}  {line['sentence']}", f"  {line['record']}")
    ]
    return Outcome({"fleet": fleet, "batch": batch, "records": shown}, lines)


@command(
    "Write the rejected records of a batch back, for the next ingest to judge anew.",
    example="tidemill quarantine replay pumps 00000001",
    also="For use after the valid range of a signal was corrected, for example. What was accepted is not doubled.",
    name="replay",
)
@click.argument("fleet", type=FLEET)
@click.argument("batch")
def quarantine_replay(run: Run, fleet: str, batch: str) -> Outcome:
    """Replay a batch."""
    from pipelines.quarantine import replay  # noqa: PLC0415 - `--help` must not pay for it

    done = replay(run.open_store(), fleet, batch, run.now_us)
    lines = [
        f"{done.records:,} records and {done.objects:,} whole objects written back",
        f"now: tidemill ingest {fleet}",
    ]
    return Outcome({"fleet": fleet, "batch": batch, **dataclasses.asdict(done)}, lines)


quarantine.add_command(quarantine_list)
quarantine.add_command(quarantine_replay)
