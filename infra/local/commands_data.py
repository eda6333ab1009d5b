"""Commands that bring telemetry in: simulate, ingest."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from infra.local.command import Outcome, Run, command
from infra.local.parameters import FLEET, MOMENT, SINGLE_WRITER, iso
from infra.local.pumps.plan import Plan

if TYPE_CHECKING:
    from pipelines.ingest import IngestSummary
    from pipelines.notices import Heard
    from pipelines.witness import Testimony


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
@click.option("--more-demand", default=0.0, metavar="SHARE", help="Flow asked for beyond the usual, of rated, 0-0.5.")
@click.option("--more-from-day", default=0, metavar="DAY", help="First day on which it is.")
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


@command(
    "Take in what devices wrote since the last time.",
    example="tidemill ingest pumps",
    also="Each run that brings something leaves a data report in the store and counters for Prometheus in the work "
    "folder. What is out of the ordinary is told in lines that begin with WARNING. With --queue, objects that S3 has "
    "told of are read first; what is read is decided by a listing all the same. Most runs list only the latest "
    "folders of an S3 service, and every 24th run everything: what is put into older folders is seen then, or at once "
    "with --full-listing.",
)
@click.argument("fleet", type=FLEET)
@click.option("--queue", metavar="URL", help="SQS queue with S3's notices of new objects.")
@click.option("--wait", default=0.0, type=click.FloatRange(0, 3600), metavar="SECONDS", help="For a first notice.")
@click.option("--full-listing", is_flag=True, help="List everything, also what lies in folders of long ago.")
@SINGLE_WRITER
def ingest(run: Run, fleet: str, *, queue: str | None, wait: float, full_listing: bool, single_writer: bool) -> Outcome:
    """Ingest a fleet."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.findings import headlines  # noqa: PLC0415 - see above
    from pipelines.ingest import ingest as take_in  # noqa: PLC0415 - see above
    from pipelines.lake import Lake  # noqa: PLC0415 - see above
    from pipelines.witness import ReportWitness  # noqa: PLC0415 - see above

    store, declared = run.open_store(), catalog.load(fleet).fleet
    run.admit_writers(store, single=single_writer)
    heard, witness, warnings = _hear(run, queue, wait), ReportWitness(store, declared, run.now_us), list[str]()
    summary = take_in(
        store,
        Lake(store.uri),
        declared,
        run.now_us,
        run.console.progress,
        first=heard.keys,
        witness=witness,
        warn=warnings.append,
        full_listing=full_listing,
    )
    seen = witness.testimony
    run.console.end_stage()
    for fault in filter(None, [*heard.faults, heard.forget()]):
        run.console.say(fault)
    warnings = [*few(warnings), *seen.warnings]
    for warning in warnings:
        run.console.say(f"WARNING {warning}")
    metrics = _write_metrics(run, fleet, seen)
    told = [f"{len(heard.messages):,} messages told of {len(heard.keys):,} objects"] if queue else []
    report = ["", f"report {store.uri}/{seen.page_key}", *headlines(seen.report)] if seen.report else []
    notices = {"messages": len(heard.messages), "hints": len(heard.keys), "faults": len(heard.faults)} if queue else {}
    payload = {"fleet": fleet, "store": store.uri, **dataclasses.asdict(summary), **notices}
    return Outcome(
        {**payload, "report": seen.key, "metrics": metrics, "warnings": warnings},
        [*told, *account(fleet, summary), *report],
    )


def few(sentences: list[str], most: int = 10) -> list[str]:
    """The first of many sentences of one kind, and how many there are beyond.

    Example:
        >>> few(["a", "b", "c"], most=2)
        ['a', 'b', '1 more like these']
    """
    left = len(sentences) - most
    return [*sentences[:most], f"{left:,} more like these"] if left > 0 else sentences


def account(fleet: str, summary: "IngestSummary") -> list[str]:
    """A run in a few lines; what hardly ever happens is only told when it did."""
    rejected = summary.quarantined + summary.unreadable
    return [
        f"{summary.objects:,} new objects in {summary.batches} batches",
        f"{summary.accepted:,} readings accepted, {summary.late:,} of them late; {summary.duplicates:,} duplicates",
        f"{summary.superseded:,} superseded; {summary.replaced:,} rows went, {summary.restored:,} came back",
        *([f"{summary.joined:,} of the accepted share a row with another record"] if summary.joined else []),
        f"{summary.events:,} events",
        f"{summary.quarantined:,} records and {summary.unreadable:,} objects quarantined",
        *([f"look at them: tidemill quarantine list {fleet}"] if rejected else []),
        *([f"{summary.damaged:,} objects came damaged; the next run tries again"] if summary.damaged else []),
        *([f"{summary.excluded:,} objects excluded by the mapping"] if summary.excluded else []),
    ]


def _hear(run: Run, queue: str | None, wait: float) -> "Heard":
    from pipelines.notices import Heard, hear  # noqa: PLC0415 - `--help` must not pay for it

    if queue is None:
        return Heard()
    from serving.s3.queue import SqsQueue  # noqa: PLC0415 - boto3 is not everywhere

    return hear(SqsQueue.open(queue), run.settings.store, wait)


def _write_metrics(run: Run, fleet: str, seen: "Testimony") -> str:
    """Leave the counters for a textfile collector, replacing those of the last run in one step; return the path."""
    from pipelines.ingestmetrics import metrics  # noqa: PLC0415 - `--help` must not pay for it
    from serving.errors import StoreError  # noqa: PLC0415 - see above
    from serving.store import open_store  # noqa: PLC0415 - see above

    key = f"metrics/ingest-{fleet}.prom"
    try:
        folder = open_store(str(run.settings.work), create=True)
        folder.put(key, metrics(fleet, seen, run.now_us))
    except StoreError as error:  # what was taken in is taken in
        run.console.say(f"WARNING metrics: {error}")
        return ""
    return f"{folder.uri}/{key}"
