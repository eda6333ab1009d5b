"""Commands about rejected records: list, show, replay, purge."""

import dataclasses
import itertools
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.errors import CommandError
from infra.local.parameters import AGE, FLEET, REASON, iso

if TYPE_CHECKING:
    from pipelines.quarantine import Batch, Rejected

MOST_BYTES = 200  # of a rejected record that are shown in a list


@click.group(help="Look at rejected records and take them in again.")
def quarantine() -> None:
    """Group of the quarantine."""


@command(
    "List rejected records by reason and batch by batch, newest batches last.",
    example="tidemill quarantine list pumps",
    also="With BATCH, its records are listed one by one; their numbers are what `show` takes.",
    name="list",
)
@click.argument("fleet", type=FLEET)
@click.argument("batch", required=False)
@click.option("--limit", default=20, metavar="COUNT", type=click.IntRange(1), help="Most batches or records to show.")
def quarantine_list(run: Run, fleet: str, batch: str | None, limit: int) -> Outcome:
    """List the quarantine."""
    from pipelines.quarantine import batches, read  # noqa: PLC0415 - `--help` must not pay for it

    store = run.open_store()
    if batch is None:
        return _overview(fleet, batches(store, fleet), _readings(store.uri, fleet), limit)
    shown = [
        {
            **_document(line),
            "number": number,
            "record": line.data[:MOST_BYTES].decode(errors="backslashreplace").strip(),
        }
        for number, line in enumerate(itertools.islice(read(store, fleet, batch), limit))
    ]
    lines = [
        text
        for line in shown
        for text in (f"{line['number']}  {line['key']}:{line['ordinal']}  {line['sentence']}", f"  {line['record']}")
    ]
    return Outcome({"fleet": fleet, "batch": batch, "records": shown}, lines)


@command(
    "Show one rejected record: its bytes, where it came from, why, and how to repair it.",
    example="tidemill quarantine show pumps 00000001 0",
)
@click.argument("fleet", type=FLEET)
@click.argument("batch")
@click.argument("number", type=click.IntRange(0))
def show(run: Run, fleet: str, batch: str, number: int) -> Outcome:
    """Show a record in full."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.diagnosis import contract, cure, heard, readable  # noqa: PLC0415 - see above
    from pipelines.quarantine import read  # noqa: PLC0415 - see above

    line = next(itertools.islice(read(run.open_store(), fleet, batch), number, None), None)
    if line is None:
        raise CommandError(
            f"batch {batch} has no record {number}",
            fix=f"tidemill quarantine list {fleet} {batch} --limit {number + 1}",
        )
    known = catalog.load(fleet).fleet
    found = [str(each) for each in heard(known, line.data)]
    demands = contract(known, line.reason)
    place = "the object as a whole" if line.ordinal < 0 else f"record {line.ordinal}, from byte {line.offset} on"
    text = (
        readable(line.data) if line.data else ["(not kept here; the object lies under its key, if it was not removed)"]
    )
    lines = [
        f"from    {line.key}, {place}",
        *([f"etag    {line.etag}"] if line.etag else []),
        f"reason  {line.reason}: {line.sentence}",
        *(f"        {each}" for each in [*found, *([demands] if demands else [])]),
        f"repair  {cure(line.reason)}",
        f"        tidemill quarantine replay {fleet} {batch} --reason {line.reason}",
        f"bytes   {len(line.data):,}",
        *(f"        {each}" for each in text),
    ]
    payload = {"fleet": fleet, "batch": batch, "number": number, **_document(line), "signals": found}
    return Outcome({**payload, "contract": demands, "repair": cure(line.reason), "text": "\n".join(text)}, lines)


@command(
    "Write rejected records back, for the next ingest to judge anew.",
    example="tidemill quarantine replay pumps 00000001",
    also="For use after the valid range of a signal was corrected, for example. Without BATCH, all batches are written "
    "back. What was accepted is not doubled; what is still bad comes back once. Safe to repeat after a kill.",
)
@click.argument("fleet", type=FLEET)
@click.argument("batch", required=False)
@click.option("--reason", type=REASON, metavar="REASON", help="Only records with this reason.")
def replay(run: Run, fleet: str, batch: str | None, reason: str | None) -> Outcome:
    """Replay a batch, or all."""
    from pipelines.quarantine import batches  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.replay import Replay  # noqa: PLC0415 - see above
    from pipelines.replay import replay as write_back  # noqa: PLC0415 - see above

    store = run.open_store()
    names = [batch] if batch else [each.name for each in batches(store, fleet) if _concerns(each, reason)]
    done = Replay()
    for number, name in enumerate(names):
        run.console.progress(f"replay {fleet}", number, len(names))
        done += write_back(store, fleet, name, reason)
    lines = [f"{done.records:,} records and {done.objects:,} whole objects written back"]
    if done.gone:
        lines.append(f"{done.gone:,} objects were not kept and are gone from the store; they stay listed")
    if done.keys:
        lines.append(f"now: tidemill ingest {fleet}")
    return Outcome({"fleet": fleet, "batch": batch, "reason": reason, **dataclasses.asdict(done)}, lines)


@command(
    "Remove rejected records for good.",
    example="tidemill quarantine purge pumps --older-than 90d --reason wrong_type",
    also="Asks before it removes anything. Raw objects stay where they are.",
)
@click.argument("fleet", type=FLEET)
@click.argument("batch", required=False)
@click.option("--older-than", type=AGE, metavar="AGE", help="Only batches written longer ago: 90d, 36h, 2w.")
@click.option("--reason", type=REASON, metavar="REASON", help="Only records with this reason.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(
    run: Run, fleet: str, batch: str | None, *, older_than: timedelta | None, reason: str | None, yes: bool
) -> Outcome:
    """Remove rejects."""
    from features.schema import MICROSECOND  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.quarantine import batches  # noqa: PLC0415 - see above
    from pipelines.quarantine import purge as remove  # noqa: PLC0415 - see above

    if not (batch or older_than or reason):
        raise CommandError(
            "nothing says what to remove",
            where="tidemill quarantine purge",
            fix="name a batch, --older-than or --reason",
        )
    store = run.open_store()
    latest = run.now_us - older_than // MICROSECOND if older_than else run.now_us + 1
    chosen = [
        each
        for each in batches(store, fleet)
        if batch in (None, each.name) and each.written_us < latest and _concerns(each, reason)
    ]
    count = sum(each.reasons.get(reason, 0) if reason else each.count for each in chosen)
    if count and not yes:
        click.confirm(f"Remove {count:,} rejected records of {len(chosen):,} batches for good?", abort=True, err=True)
    removed: Counter[str] = Counter()
    for each in chosen:
        removed.update(remove(store, fleet, each.name, reason))
    rows = list(removed.items())
    lines = [*table(("reason", "removed"), rows), f"from {len(chosen):,} batches"] if rows else ["nothing to remove"]
    return Outcome({"fleet": fleet, "batches": [each.name for each in chosen], "removed": dict(removed)}, lines)


for each in (quarantine_list, show, replay, purge):
    quarantine.add_command(each)


def _overview(fleet: str, found: "list[Batch]", readings: int, limit: int) -> Outcome:
    totals: Counter[str] = Counter()
    for each in found:
        totals.update(each.reasons)
    rejected = totals.total()
    payload: dict[str, Any] = {
        "fleet": fleet,
        "rejected": rejected,
        "share": rejected / max(rejected + readings, 1),
        "reasons": dict(totals),
        "batches": [dataclasses.asdict(each) for each in found],
    }
    if not found:
        return Outcome(payload, ["nothing is quarantined"])
    rows = [(reason, count, f"{100 * count / max(rejected, 1):.1f} %") for reason, count in totals.most_common()]
    share = 100 * payload["share"]
    recent = [
        (each.name, iso(each.written_us), reason, count)
        for each in found[-limit:]
        for reason, count in each.reasons.items()
    ]
    lines = [
        f"{rejected:,} rejected in {len(found):,} batches; {readings:,} readings are stored ({share:.3g} % rejected)",
        "",
        *table(("reason", "records", "share"), rows),
        "",
        *([f"the newest {limit} of {len(found):,} batches:"] if len(found) > limit else []),
        *table(("batch", "written", "reason", "records"), recent),
        *(f"batch {each.name}: a replay was cut off; repeat it" for each in found if each.unfinished),
    ]
    return Outcome(payload, lines)


def _readings(uri: str, fleet: str) -> int:
    from pipelines.lake import Lake  # noqa: PLC0415 - `--help` must not pay for it

    table = Lake(uri).telemetry(fleet)
    return sum(table.open().row_counts().values()) if table.exists() else 0


def _concerns(batch: "Batch", reason: str | None) -> bool:
    return reason is None or reason in batch.reasons or batch.unfinished


def _document(line: "Rejected") -> dict[str, object]:
    names = ("key", "etag", "ordinal", "offset", "reason", "sentence")
    return {name: getattr(line, name) for name in names}
