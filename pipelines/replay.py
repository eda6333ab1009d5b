"""Rejected records become raw objects again, for the next ingest to judge anew: after a contract was corrected, say.

Each record goes back once, whatever is killed when. A replay first writes down what it is about to do (a *plan*, in the
batch itself). It then writes the raw objects, whose names follow from batch and content, and never over one that is
there: an ingest may have taken it already. Then the plan says that they are written, and only now the records leave
the quarantine. Whoever finds a plan ends it before anything else. What is still bad comes back to the quarantine with
the batch that judged it.

The new objects lie in the folder of the object that a record came from, because folders may carry a device or a date.
``ledger/replays/<fleet>/<name>.json.gz`` says for each of their records which object and place it came from.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines import quarantine
from pipelines.listing import note
from pipelines.quarantine import Rejected
from pipelines.rejects import WHOLE
from serving.errors import MissingObjectError
from serving.store import Remote, Store


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay wrote back.

    Attributes:
        records: Records.
        objects: Whole objects.
        keys: The new raw objects.
        gone: Objects that were not kept in the quarantine and that the store no longer has; they stay listed.
    """

    records: int = 0
    objects: int = 0
    keys: tuple[str, ...] = ()
    gone: int = 0

    def __add__(self, other: "Replay") -> "Replay":
        return Replay(
            self.records + other.records, self.objects + other.objects, self.keys + other.keys, self.gone + other.gone
        )


def replay(store: Store, fleet: str, batch: str, reason: str | None = None) -> Replay:
    """Write the rejects of a batch back as raw objects and take them out of the quarantine.

    Args:
        store: The store.
        fleet: Name of the fleet.
        batch: Name of the batch, see `quarantine.batches`.
        reason: Only those with this reason.

    Raises:
        QuarantineError: There is no such batch, or it cannot be read.
    """
    next(quarantine.read(store, fleet, batch), None)  # no plan for a batch that there is not
    done = Replay()
    while not store.put_if_absent(quarantine.plan_key(fleet, batch), json.dumps({"reason": reason}).encode()):
        done += _carry_out(store, fleet, batch)  # somebody was killed here
    return done + _carry_out(store, fleet, batch)


def _carry_out(store: Store, fleet: str, batch: str) -> Replay:
    key = quarantine.plan_key(fleet, batch)
    try:
        plan = json.loads(store.get(key))
    except MissingObjectError:
        return Replay()  # somebody else has just ended it
    lines = list(quarantine.read(store, fleet, batch))
    chosen = [line for line in lines if plan["reason"] in (None, line.reason)]
    if "gone" not in plan:
        keys, missing = _write_back(store, fleet, batch, chosen)
        plan |= {"gone": missing, "keys": keys}
        store.put(key, json.dumps(plan).encode())
    gone: set[str] = set(plan["gone"])
    left = [line for line in lines if plan["reason"] not in (None, line.reason) or _is_gone(line, gone)]
    quarantine.write(store, fleet, batch, left)
    store.delete(key)
    back = [line for line in chosen if not _is_gone(line, gone)]
    records = sum(line.ordinal != WHOLE for line in back)
    return Replay(records, len(back) - records, tuple(plan["keys"]), len(gone))


def _is_gone(line: Rejected, gone: set[str]) -> bool:
    return line.ordinal == WHOLE and not line.data and line.key in gone


def _write_back(store: Store, fleet: str, batch: str, lines: Iterable[Rejected]) -> tuple[list[str], list[str]]:
    """Write the raw objects; return their keys, and the keys of objects that nobody has any more."""
    records: dict[str, list[Rejected]] = {}
    keys, gone = [], []
    for line in lines:
        folder = line.key.rpartition("/")[0]
        if line.ordinal != WHOLE:
            records.setdefault(folder, []).append(line)
            continue
        try:
            data = line.data or store.get(line.key)  # a large one lies under its key alone
        except MissingObjectError:
            gone.append(line.key)
            continue
        keys.append(_put(store, fleet, (f"{folder}/replay-{batch}", ""), data, [line]))
    for folder, parts in records.items():
        joined = gzip.compress(b"\n".join(line.data for line in parts), mtime=0)
        keys.append(_put(store, fleet, (f"{folder}/replay-{batch}", ".json.gz"), joined, parts))
    return keys, gone


def _put(store: Store, fleet: str, name: tuple[str, str], data: bytes, lines: Sequence[Rejected]) -> str:
    """Write one raw object whose name, between its beginning and its ending, follows from what is in it."""
    sources = [[*line.place, line.reason] for line in lines]
    content = hashlib.sha256(data + json.dumps(sources).encode()).hexdigest()[:16]
    key = f"{name[0]}-{content}{name[1]}"
    told = gzip.compress(json.dumps({"object": key, "records": sources}).encode(), mtime=0)
    store.put_if_absent(f"ledger/replays/{fleet}/{key.rpartition('/')[2]}.json.gz", told)
    if isinstance(store, Remote):
        note(store, key)  # the folder may be an old one
    store.put_if_absent(key, data)
    return key
