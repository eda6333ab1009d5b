"""What an ingest takes in: telemetry, or events. They differ in how objects are read and when two rows are the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.schema import MICROSECOND, Fleet, Reason
from pipelines import events
from pipelines.amend import amend
from pipelines.errors import CommitConflictError
from pipelines.formats import decode_all
from pipelines.former import Former
from pipelines.lake import Lake, Snapshot, Table
from pipelines.merge import Merged, Search, merge
from pipelines.past import Outcome, told_apart
from pipelines.records import UNSEQUENCED, RawObject
from pipelines.rejects import Rejects
from pipelines.settling import Batch
from pipelines.unique import Rule, date_names
from pipelines.validate import believe


@dataclass(frozen=True, slots=True, eq=False)
class Intake:
    """A batch that was read and is to be committed.

    Attributes:
        seq: Its number.
        rows: What `Stream.read` gave, ``object`` being the position in the intent.
        counts: What is known of it, kept with the commit.
        clocks: When records without a stamp were received, for each object of the intent, UTC microseconds.
        former: Former versions of its objects.
        search: Finds copies of readings in other objects.
        now_us: The clock, UTC microseconds.
    """

    seq: int
    rows: Sequence[pa.Table]
    counts: Mapping[str, object]
    clocks: NDArray[np.int64]
    former: Former
    search: Search
    now_us: int


class Taken(NamedTuple):
    """What was read of objects.

    Attributes:
        rows: As the stream has them.
        rejects: What was not taken.
        unknown: How many records have which field that the mapping names nowhere, where they are counted.
    """

    rows: pa.Table
    rejects: Rejects
    unknown: Mapping[str, int]


class Stream(Protocol):
    """One kind of raw objects and the table they go to.

    Attributes:
        name: The kind, for people.
        prefix: Where the raw objects lie.
        ledger: Where their ledger lies.
        writer: Who commits, see `pipelines.lake.Snapshot.append`.
        table: The table.
        replaces: Whether the rows of an object that was written again take the place of those it gave before.
    """

    name: str
    prefix: str
    ledger: str
    writer: str
    table: Table
    replaces: bool

    def batch_name(self, seq: int) -> str:
        """Name a batch in the quarantine."""

    def selects(self, key: str) -> bool:
        """Whether the object of this key is taken in at all."""

    def read(self, objects: Sequence[RawObject], clock_us: int) -> Taken:
        """Read objects as they are stored; ``clock_us`` is the time of receipt where nothing else is known of it."""

    def commit(self, snapshot: Snapshot, intake: Intake) -> Outcome:
        """Commit what changes under the number of the batch, also when nothing does; return the further counts."""


class TelemetryStream:
    """Readings, unique by the key of their fleet."""

    def __init__(self, lake: Lake, fleet: Fleet) -> None:
        self.name = "telemetry"
        self.prefix = f"raw/{fleet.name}/telemetry/"
        self.ledger = f"ledger/objects/{fleet.name}"
        self.writer = f"ingest:{fleet.name}"
        self.table = lake.telemetry(fleet)
        self.replaces = fleet.rewritten == "replace"
        self._fleet = fleet
        self._withdrawn = lake.withdrawn(fleet)

    def batch_name(self, seq: int) -> str:
        """``00000012``."""
        return f"{seq:08d}"

    def selects(self, key: str) -> bool:
        """As the mapping says."""
        return self._fleet.lies.selects(key)

    def read(self, objects: Sequence[RawObject], clock_us: int) -> Taken:
        """Decode and judge; the rows lack the date and the number of the batch."""
        signals = self._fleet.signal_names
        decoded = decode_all(
            objects, self._fleet.lies, signals, bursts=self._fleet.bursts, unknown=self._fleet.unknown_fields
        )
        if self._fleet.keep is not None:  # what upkeep has removed does not come back, one reading without the others
            outlived = decoded.times < clock_us - self._fleet.keep // MICROSECOND
            decoded = decoded.reject(outlived * np.uint8(Reason.TOO_OLD.number))
        clocks = np.array([raw.received_us(clock_us) for raw in objects], np.int64)
        judged = believe(self._fleet, decoded, clocks[decoded.sources])
        sequence = pa.array(judged.sequence, mask=judged.sequence == UNSEQUENCED)
        columns = {"device": judged.device, "time": judged.times, "received": judged.received, "sequence": sequence}
        columns |= {"object": judged.sources, "ordinal": judged.ordinals}
        columns |= {signal: np.ascontiguousarray(judged.values[:, n]) for n, signal in enumerate(signals)}
        return Taken(pa.table(columns), judged.rejects, judged.unknown)

    def commit(self, snapshot: Snapshot, intake: Intake) -> Outcome:
        """Commit what the readings change, see `pipelines.merge`.

        What was computed from a row that goes away is told in the table ``withdrawn``, before the row goes.
        """
        # Without empty parts the rows of one object are in one piece, and need not be copied to be put in order.
        rows = pa.concat_tables([part for part in intake.rows if len(part)] or intake.rows[:1])
        rows = rows.append_column("date", date_names(rows["time"].to_numpy()))
        rows = rows.append_column("batch", pa.array(np.full(len(rows), intake.seq)))
        rows = rows.select(self.table.layout.schema.names).cast(self.table.layout.schema)
        rule = Rule.of(self._fleet)
        merged = merge(snapshot, Batch(intake.seq, rows, intake.clocks, intake.former), rule, intake.search)
        counts = merged.counts | {"late": self._late(merged.added, intake.seq)}
        moved = told_apart(merged.hidden, intake.seq)
        told = {**intake.counts, **counts, **({"moved": moved} if moved else {})}
        number, metadata = (self.writer, intake.seq), {"ingest": told}
        if not len(merged.removed):
            snapshot.append(merged.added, transaction=number, metadata=metadata)
        else:
            self._note(merged, intake.seq)
            changed = rule, merged.removed, merged.added
            amend(self.table, snapshot, *changed, now_us=intake.now_us, transaction=number, metadata=metadata)
        return Outcome(counts, merged.hidden)

    def _late(self, added: pa.Table, seq: int) -> int:
        delay = added["received"].to_numpy() - added["time"].to_numpy()
        ours = added["batch"].to_numpy() == seq
        return int((ours & (delay > self._fleet.late_after // MICROSECOND)).sum())

    def _note(self, merged: Merged, seq: int) -> None:
        if not len(merged.withdrawn):
            return
        notes = merged.withdrawn.select(["device", "time"]).append_column(
            "batch", pa.array(np.full(len(merged.withdrawn), seq))
        )
        while True:
            snapshot = self._withdrawn.create()
            try:
                snapshot.append(notes, transaction=(self.writer, snapshot.transaction(self.writer) + 1))
            except CommitConflictError:
                continue  # a rival that does the same batch notes the same; one note too many does no harm
            return


class EventStream:
    """Events, unique by everything they say. What an object said before it was written again stays said."""

    def __init__(self, lake: Lake, fleet: Fleet) -> None:
        self.name = "events"
        self.prefix = f"raw/{fleet.name}/events/"
        self.ledger = f"ledger/events/{fleet.name}"
        self.writer = f"ingest-events:{fleet.name}"
        self.table = lake.events(fleet)
        self.replaces = False
        self._fleet = fleet

    def batch_name(self, seq: int) -> str:
        """``events-00000012``."""
        return f"events-{seq:08d}"

    def selects(self, key: str) -> bool:  # noqa: ARG002 - the port
        """Whether there are events in it, only reading tells."""
        return True

    def read(self, objects: Sequence[RawObject], clock_us: int) -> Taken:  # noqa: ARG002 - the port
        """Read the events; they carry their own time of becoming known."""
        return Taken(*events.read_events(self._fleet, objects), {})

    def commit(self, snapshot: Snapshot, intake: Intake) -> Outcome:
        """Commit the events that are new."""
        batch = pa.concat_tables(intake.rows)
        new = events.new_events(snapshot, batch)
        counts = {"events": len(new), "duplicates": len(batch) - len(new)}
        metadata = {"ingest": {**intake.counts, **counts}}
        snapshot.append(new, transaction=(self.writer, intake.seq), metadata=metadata)
        return Outcome(counts, {})
