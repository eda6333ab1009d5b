"""What an ingest takes in: telemetry, or events. They differ in how objects are read and when two rows are the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from features.schema import MICROSECOND, Fleet
from pipelines import events
from pipelines.formats import decode_all
from pipelines.lake import Lake, Snapshot, Table
from pipelines.quarantine import Rejected
from pipelines.records import UNSEQUENCED, RawObject, Reject
from pipelines.unique import date_names, merge
from pipelines.validate import believe


@dataclass(frozen=True, slots=True)
class Part:
    """What came of some objects of a batch."""

    rows: pa.Table
    rejects: list[Rejected]


class Stream(Protocol):
    """One kind of raw objects and the table they go to.

    Attributes:
        name: The kind, for people.
        prefix: Where the raw objects lie.
        ledger: Where their ledger lies.
        writer: Who commits, see `pipelines.lake.Snapshot.append`.
        table: The table.
    """

    name: str
    prefix: str
    ledger: str
    writer: str
    table: Table

    def batch_name(self, seq: int) -> str:
        """Name a batch in the quarantine."""

    def read(self, objects: Sequence[RawObject], clock_us: int) -> tuple[pa.Table, list[Reject]]:
        """Read objects as they are stored; ``clock_us`` is the time of receipt where no hub left a stamp."""

    def commit(self, snapshot: Snapshot, rows: list[pa.Table], seq: int, counts: dict[str, int]) -> dict[str, int]:
        """Commit what is new as number ``seq``, also when nothing is; return further counts."""


class TelemetryStream:
    """Readings, unique by device and time."""

    def __init__(self, lake: Lake, fleet: Fleet) -> None:
        self.name = "telemetry"
        self.prefix = f"raw/{fleet.name}/telemetry/"
        self.ledger = f"ledger/objects/{fleet.name}"
        self.writer = f"ingest:{fleet.name}"
        self.table = lake.telemetry(fleet)
        self._fleet = fleet

    def batch_name(self, seq: int) -> str:
        """``00000012``."""
        return f"{seq:08d}"

    def read(self, objects: Sequence[RawObject], clock_us: int) -> tuple[pa.Table, list[Reject]]:
        """Decode and judge; the rows lack the date and the number of the batch."""
        signals = self._fleet.signal_names
        decoded = decode_all(objects, self._fleet.lies, signals, bursts=self._fleet.bursts)
        judged = believe(self._fleet, decoded, clock_us)
        sequence = pa.array(judged.sequence, mask=judged.sequence == UNSEQUENCED)
        columns = {"device": judged.device, "time": judged.times, "received": judged.received, "sequence": sequence}
        columns |= {"object": judged.sources, "ordinal": judged.ordinals}
        columns |= {signal: np.ascontiguousarray(judged.values[:, n]) for n, signal in enumerate(signals)}
        return pa.table(columns), list(judged.rejects)

    def commit(self, snapshot: Snapshot, rows: list[pa.Table], seq: int, counts: dict[str, int]) -> dict[str, int]:
        """Commit the readings whose device and time are new."""
        batch = pa.concat_tables(rows)
        batch = batch.append_column("date", date_names(batch["time"].to_numpy()))
        batch = batch.append_column("batch", pa.array(np.full(len(batch), seq)))
        merged = merge(snapshot, batch.select(self.table.layout.schema.names))
        delay = merged.rows["received"].to_numpy() - merged.rows["time"].to_numpy()
        ours = merged.rows["batch"].to_numpy() == seq
        late = int((ours & (delay > self._fleet.late_after // MICROSECOND)).sum())
        found = {"accepted": merged.new, "duplicates": merged.duplicates, "late": late}
        number, metadata = (self.writer, seq), {"ingest": counts | found}
        if merged.dates is None:
            snapshot.append(merged.rows, transaction=number, metadata=metadata)
        else:
            snapshot.replace(merged.rows, merged.dates, transactions=[number], metadata=metadata)
        return found


class EventStream:
    """Events, unique by everything they say."""

    def __init__(self, lake: Lake, fleet: Fleet) -> None:
        self.name = "events"
        self.prefix = f"raw/{fleet.name}/events/"
        self.ledger = f"ledger/events/{fleet.name}"
        self.writer = f"ingest-events:{fleet.name}"
        self.table = lake.events(fleet)
        self._fleet = fleet

    def batch_name(self, seq: int) -> str:
        """``events-00000012``."""
        return f"events-{seq:08d}"

    def read(self, objects: Sequence[RawObject], clock_us: int) -> tuple[pa.Table, list[Reject]]:  # noqa: ARG002 - the port
        """Read the events; they carry their own time of becoming known."""
        return events.read_events(self._fleet, objects)

    def commit(self, snapshot: Snapshot, rows: list[pa.Table], seq: int, counts: dict[str, int]) -> dict[str, int]:
        """Commit the events that are new."""
        batch = pa.concat_tables(rows)
        new = events.new_events(snapshot, batch)
        found = {"events": len(new), "duplicates": len(batch) - len(new)}
        snapshot.append(new, transaction=(self.writer, seq), metadata={"ingest": counts | found})
        return found
