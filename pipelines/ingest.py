"""Raw objects become rows of the lake, each exactly once.

    list raw objects -> plan a batch (ledger) -> read and judge -> quarantine -> one commit -> ledger: done

What makes it exactly once is the commit, which carries the number of its plan (see `pipelines.ledger`): a run that is
killed anywhere leaves either a plan, which the next run does again, or rows, which it finds. Two runs at once are safe:
on a local folder the second one says that the first is at work, on S3 it does until both want to commit one number.
What cannot be taken is quarantined before the commit, with the reason; nothing in a raw object stops the run.

Objects may change under their key. One that was read is read again when its etag is another; what it gave before goes,
unless it still gives it or the fleet says that every version counts (`Fleet.rewritten`). One that changes between
listing and reading is taken as it is, and once more by the next run. One of which the store gives bytes that are not
its own stops nobody: nothing of it is taken, what it gave before stays, and the next run tries again; only when it
comes whole is there a commit for it once more.

Of every batch the ledger and the commit say: records = quarantined + accepted + duplicates + superseded, or + events.

Why so:
    * Listing, not notifications. Status: accepted. Notifications get lost and come twice; a listing is the truth, and
      they only say what to read first. Cost: a request for each thousand objects in each run, of a service in every
      24th; see `pipelines.listing`.
    * Duplicates are found by content. Status: accepted. A redelivery is a new object with a new name. Cost: device and
      time of the stored rows of the touched dates are read back for each batch.
    * Batches are bounded by what comes out of them. Status: accepted. How much that is, packed bytes do not tell, so
      the first batch is small and the next ones are cut by what the last one gave. Cost: a few small commits more.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields

from features.schema import Fleet
from pipelines.alone import alone
from pipelines.arrivals import Arrivals
from pipelines.batches import Progress, Run, Witness
from pipelines.errors import NothingStoredError
from pipelines.lake import Lake, compact
from pipelines.streams import EventStream, TelemetryStream
from serving.store import Store

__all__ = ["IngestSummary", "Progress", "Witness", "ingest", "silent"]


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What a run did.

    Attributes:
        objects: Raw objects that were read.
        accepted: Readings that are rows of the table now, or gave one a value that it lacked.
        duplicates: Readings and events that were there already, or came twice.
        late: Accepted readings that arrived later than the fleet expects.
        quarantined: Records that were rejected.
        unreadable: Objects that were rejected as a whole.
        events: Events that are new in the table.
        batches: Commits.
        records: Records that were read: those that are quarantined, accepted, duplicates, superseded or events.
        superseded: Readings that say something else than the one that is believed.
        joined: Accepted readings that share a row with another one of their batch.
        replaced: Rows that went out of the table.
        restored: Rows that came into it from objects of earlier batches, because what was believed before them is gone.
        damaged: Objects of which the store gave bytes that are not theirs; the next run tries again.
        excluded: Objects that were listed and passed over, because the mapping of the fleet excludes them.
    """

    objects: int = 0
    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    quarantined: int = 0
    unreadable: int = 0
    events: int = 0
    batches: int = 0
    records: int = 0
    superseded: int = 0
    joined: int = 0
    replaced: int = 0
    restored: int = 0
    damaged: int = 0
    excluded: int = 0

    def __add__(self, other: "IngestSummary") -> "IngestSummary":
        names = [field.name for field in fields(self)]
        return IngestSummary(**{name: getattr(self, name) + getattr(other, name) for name in names})


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def unsaid(_sentence: str) -> None:
    """A warning that nobody hears."""


def ingest(
    store: Store,
    lake: Lake,
    fleet: Fleet,
    now_us: int,
    progress: Progress = silent,
    *,
    first: Collection[str] = (),
    witness: Witness | None = None,
    warn: Callable[[str], None] = unsaid,
    full_listing: bool = False,
) -> IngestSummary:
    """Take in all raw objects of a fleet that were not taken in yet.

    Args:
        store: Where the raw objects lie.
        lake: The tables of the same store.
        fleet: Whose telemetry and events.
        now_us: The clock, UTC microseconds.
        progress: Told after each part of a batch.
        first: Keys to take in before all others, where there are such objects; see `pipelines.notices`.
        witness: Shown each batch that was committed.
        warn: Told, in a sentence, of objects that could not be read and will be tried again.
        full_listing: Whether to list all objects, even where the store is a service and was listed not long ago.

    Raises:
        NothingStoredError: There is nothing under ``raw/<fleet>/``.
        IngestRunningError: Another run is at work.
        LedgerError: A plan that was not carried out cannot be read.
    """
    prefix = f"raw/{fleet.name}/"
    if next(iter(store.list(prefix)), None) is None:
        fix = f"put objects below {prefix}telemetry/, or see tidemill import --help, tidemill simulate --help"
        raise NothingStoredError(f"nothing under {prefix}", where=store.uri, fix=fix)
    summary = IngestSummary()
    with alone(store, fleet.name):
        for stream in (TelemetryStream(lake, fleet), EventStream(lake, fleet)):
            arrivals = Arrivals(store, stream, now_us, first, full=full_listing)
            run = Run(store, fleet.name, stream, now_us, progress, witness=witness, warn=warn)
            for counts in run.batches(arrivals):
                summary += IngestSummary(batches=1, **counts)
            summary += IngestSummary(excluded=arrivals.excluded, damaged=run.damaged)
            if run.crowded:
                compact(stream.table, now_us)
        if witness:
            witness.close(summary.damaged)
    return summary
