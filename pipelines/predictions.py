"""Prediction logs become rows of the lake, each prediction exactly once.

Gateways and servers spool what they predicted as objects below ``predictions/<use case>/``. The same objects may come
twice and the same prediction may stand in two of them; its id tells. What makes it exactly once is the ledger
(`pipelines.ledger`): the commit carries the number of its plan, so a run that is killed anywhere is done again or found
done. An object that cannot be read stays where it is and is named in the ledger.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import tables
from pipelines.errors import IngestRunningError
from pipelines.fetching import fetched, split
from pipelines.ingest import Progress, silent
from pipelines.lake import Lake, Snapshot
from pipelines.ledger import Ledger
from pipelines.past import Intent, Outcome, Past, Source
from pipelines.unique import date_names
from serving.errors import DamagedObjectError, MissingObjectError, RecordError
from serving.record import Prediction, decode
from serving.store import Store

WRITER = "predictions"
_BATCH_BYTES = 8 * 1024 * 1024  # packed; unpacked it is ten times as much
_BATCH_OBJECTS = 2_000
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a run loaded.

    Attributes:
        objects: Objects that were read.
        new: Predictions that are new in the table.
        duplicates: Predictions that were there already, or came twice.
        unreadable: Objects that are no prediction log.
    """

    objects: int = 0
    new: int = 0
    duplicates: int = 0
    unreadable: int = 0

    def __add__(self, other: "Loaded") -> "Loaded":
        names = [field.name for field in fields(self)]
        return Loaded(**{name: getattr(self, name) + getattr(other, name) for name in names})


def load_predictions(store: Store, lake: Lake, usecase: str, now_us: int, progress: Progress = silent) -> Loaded:
    """Load all prediction logs of a use case that were not loaded yet.

    Args:
        store: Where the logs lie.
        lake: The tables of the same store.
        usecase: Name of the use case.
        now_us: The clock, UTC microseconds.
        progress: Told after each batch.

    Raises:
        IngestRunningError: Another run is at work.
        CommitConflictError: Another run committed first.
    """
    table = lake.predictions(usecase)
    ledger = Ledger(store, f"ledger/predictions/{usecase}")
    reached = table.create().transaction(WRITER)
    past = ledger.read(reached)
    intents = [ledger.intent(seq) for seq in past.left]
    planned = {(source.key, source.etag) for intent in intents for source in intent.objects}
    fresh = [
        Source(entry.key, entry.etag, entry.size, entry.modified_us)
        for entry in store.list(f"predictions/{usecase}/")
        if past.is_new(entry.key, entry.etag) and (entry.key, entry.etag) not in planned
    ]
    total = len(fresh) + sum(len(intent.objects) for intent in intents)
    loaded = Loaded()
    seq = max([reached, *past.left])
    for objects in split(fresh, _BATCH_BYTES, _BATCH_OBJECTS):
        seq += 1
        intents.append(Intent(seq, tuple(objects), now_us))
    for intent in intents:
        if intent.seq not in past.left and not ledger.plan(intent):
            raise IngestRunningError(f"another run loads the predictions of {usecase}", fix="wait for it to end")
        loaded += _carry_out(store, table.open(), usecase, intent, ledger, past)
        progress("load predictions", loaded.objects, total)
    return loaded


def _carry_out(  # noqa: PLR0917 - what all intents share, and one of them
    store: Store, snapshot: Snapshot, usecase: str, intent: Intent, ledger: Ledger, past: Past
) -> Loaded:
    predictions, unreadable = _read(store, usecase, intent.objects)
    rows = _rows(predictions)
    stored = snapshot.read(["id"], dates=rows["date"].unique().to_pylist())["id"]
    fresh = rows.filter(pc.invert(pc.is_in(rows["id"], stored.combine_chunks())))
    counts = Loaded(len(intent.objects), len(fresh), len(predictions) - len(fresh), len(unreadable))
    outcome = {field.name: getattr(counts, field.name) for field in fields(counts)}
    snapshot.append(fresh, transaction=(WRITER, intent.seq), metadata={k: str(v) for k, v in outcome.items()})
    past.add(intent, (), {})
    ledger.finish(intent.seq, Outcome(outcome | {"unreadable_objects": unreadable[:_NAMED]}, {}), past)
    return counts


def _read(store: Store, usecase: str, objects: Sequence[Source]) -> tuple[list[Prediction], list[str]]:
    """Return the predictions of the use case, and the objects that cannot be read or speak of another one."""
    found: list[Prediction] = []
    unreadable = []
    with closing(fetched(store, objects)) as arriving:
        for source, got in arriving:
            if isinstance(got, DamagedObjectError):
                raise got  # its predictions are there; the next run does the same intent
            try:
                read = None if isinstance(got, MissingObjectError) else decode(got.data)
            except RecordError:
                read = None
            if read is None or any(prediction.usecase != usecase for prediction in read):
                unreadable.append(source.key)
                continue
            found += read
    return found, unreadable


def _rows(predictions: Iterable[Prediction]) -> pa.Table:
    """Return one row for each id, as the table holds them: the one that was predicted first."""
    first: dict[str, Prediction] = {}
    for prediction in predictions:
        known = first.setdefault(prediction.id, prediction)
        if prediction.predicted_at_us < known.predicted_at_us:
            first[prediction.id] = prediction
    kept = list(first.values())
    ends = np.array([prediction.window_end_us for prediction in kept], dtype=np.int64)
    columns = {
        "date": date_names(ends),
        "window_end": pa.array(ends),
        "predicted_at": [prediction.predicted_at_us for prediction in kept],
        "features": [[None if value != value else value for value in p.features] for p in kept],  # noqa: PLR0124 - NaN
    }
    schema = tables.predictions("").schema
    return pa.table(
        [columns.get(name) if name in columns else [getattr(p, name) for p in kept] for name in schema.names],
        schema=schema,
    )
