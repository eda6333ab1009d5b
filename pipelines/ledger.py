"""The ledger of ingested objects: which objects each commit of a table is made from.

Before a batch is read, its objects are written down as an *intent* under the next number; the commit of the table
carries that number. An object counts as ingested when the table has reached the number of its intent, so ledger and
table cannot disagree: after a kill at any point, either the number is in the table, or the same intent is done again.

    00000012.json           the intent: {"seq", "objects": [{"key", "etag", "size", "written_us"}], "planned_at_us"}
    00000012.grew-<d>.json  what is to be read again: positions of objects that were no longer as planned, or damaged,
                            when they were read; keys of others in which copies were looked for in vain
    00000012.done.json      what came of it, and where copies of readings lie that are no rows of their own
    00000064.known.json.gz  all objects up to here, so that a run reads at most 16 intents, however long the history is;
                            64 where there are more than 10,000 objects

These lie in ``ledger/objects/<fleet>/`` for telemetry and in ``ledger/events/<fleet>/`` for events.
"""

import contextlib
import gc
import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from pipelines.errors import LedgerError
from pipelines.past import Intent, Outcome, Past, Source, spans_of
from serving.errors import MissingObjectError
from serving.store import Entry, Remote, Store

_SUM_UP_EVERY = 16
_SELDOM = 4  # of many objects only each fourth summary is written: it takes room and time
_MANY_OBJECTS = 10_000
_THREADS = 8


class Ledger:
    """The ledger of one stream of one fleet.

    Args:
        store: Where it lies.
        prefix: Its folder, such as ``ledger/objects/pumps``.
        keep_places: Whether rows of former versions of an object are looked for when it changes.
    """

    def __init__(self, store: Store, prefix: str, *, keep_places: bool = False) -> None:
        self._store = store
        self._prefix = prefix
        self._keep_places = keep_places

    def read(self, reached: int) -> Past:
        """What is known once the table has reached a number.

        Raises:
            LedgerError: An intent is missing or cannot be read.
        """
        past, summed_up = self._summary(reached)
        names = [entry.key.removeprefix(f"{self._prefix}/") for entry in self._listed(summed_up)]
        numbers = [int(name[:8]) for name in names if name[8:] == ".json"]
        past.left = [number for number in numbers if number > reached]
        done = {int(name[:8]) for name in names if name[8:] == ".done.json"}
        grew: defaultdict[int, list[str]] = defaultdict(list)
        for name in names:
            if name[8:].startswith(".grew-"):
                grew[int(name[:8])].append(name)
        told = [number for number in numbers if summed_up < number <= reached]
        past.undone = summed_up < reached and reached not in done
        for intent, changed, outcome in self._told(told, done, grew):
            past.add(intent, changed, spans_of(outcome.get("hidden")))
            past.hide(spans_of(outcome.get("moved")) or {})
        return past

    def numbers(self) -> list[int]:
        """The numbers of all intents, sorted."""
        names = (entry.key.rpartition("/")[2] for entry in self._store.list(f"{self._prefix}/"))
        return sorted(int(name[:8]) for name in names if name[8:] == ".json")

    def plan(self, intent: Intent) -> bool:
        """Write an intent down; False when its number is taken."""
        return self._store.put_if_absent(self._key(intent.seq), json.dumps(asdict(intent)).encode())

    def intent(self, seq: int) -> Intent:
        """Read an intent.

        Raises:
            LedgerError: It is missing or cannot be read.
        """
        key = self._key(seq)
        try:
            document = json.loads(self._store.get(key))
            objects = tuple(
                Source(str(o["key"]), str(o["etag"]), int(o["size"]), int(o.get("written_us", 0)))
                for o in document["objects"]
            )
            return Intent(int(document["seq"]), objects, int(document["planned_at_us"]))
        except (MissingObjectError, ValueError, KeyError, TypeError) as error:
            raise LedgerError(
                "an intent cannot be read", where=key, why=str(error), fix="restore the object"
            ) from error

    def note_grown(self, seq: int, objects: Sequence[int] | Sequence[str]) -> None:
        """Write down, before the commit, which objects were not as planned when they were read.

        Args:
            seq: The number of the intent.
            objects: Positions in the intent, or keys of objects of earlier ones.

        Two runs that do the same intent only ever add to what the other one noted: an object too many is read once
        more, one too few would be lost.
        """
        if objects:
            data = json.dumps(sorted(objects)).encode()
            self._store.put(f"{self._prefix}/{seq:08d}.grew-{hashlib.sha256(data).hexdigest()[:12]}.json", data)

    def finish(self, seq: int, outcome: Outcome, past: Past) -> None:
        """Write down what came of an intent that is in the table; now and then sum up all objects so far."""
        hidden = [[*place, *span] for place, span in sorted(outcome.hidden.items())]
        document = {"seq": seq, **outcome.counts, "hidden": hidden}
        self._store.put(self._done(seq), json.dumps(document).encode())
        if seq % (_SUM_UP_EVERY * (_SELDOM if len(past.objects) > _MANY_OBJECTS else 1)) == 0:
            data = gzip.compress(json.dumps(past.to_json(), separators=(",", ":")).encode(), 1, mtime=0)
            self._store.put(self._summed_up(seq), data)

    def finish_late(self, seq: int, counts: Mapping[str, object]) -> None:
        """Write down the counts of an intent whose run was killed right behind the commit."""
        self._store.put(self._done(seq), json.dumps({"seq": seq, **counts}).encode())

    def _summary(self, reached: int) -> tuple[Past, int]:
        """The newest summary; it only saves time, so one that cannot be read is passed over."""
        for number in range(reached // _SUM_UP_EVERY * _SUM_UP_EVERY, 0, -_SUM_UP_EVERY):
            past = Past(keep_places=self._keep_places)
            try:
                packed = self._store.get(self._summed_up(number))
                with _uncollected():
                    past.restore(json.loads(gzip.decompress(packed)))
            except (MissingObjectError, ValueError, TypeError, OSError, EOFError):
                continue
            return past, number
        return Past(keep_places=self._keep_places), 0

    def _listed(self, summed_up: int) -> Iterator[Entry]:
        return self._store.list(f"{self._prefix}/", after=self._summed_up(summed_up) if summed_up else "")

    def _told(
        self, numbers: Sequence[int], done: Collection[int], grew: Mapping[int, Sequence[str]]
    ) -> Iterator[tuple[Intent, set[int | str], dict[str, Any]]]:
        """Intents, what is to be read again of each, and its outcome; of a remote store several at a time."""

        def read(number: int) -> tuple[Intent, set[int | str], dict[str, Any]]:
            outcome = self._outcome(number) if number in done else {}
            return self.intent(number), self._grown(grew.get(number, ())), outcome

        if not isinstance(self._store, Remote):  # a disk has answered before a thread has started
            yield from map(read, numbers)
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from pool.map(read, numbers)

    def _grown(self, names: Iterable[str]) -> set[int | str]:
        noted = (self._store.get(f"{self._prefix}/{name}") for name in names)
        return {each if isinstance(each, str) else int(each) for data in noted for each in json.loads(data)}

    def _outcome(self, seq: int) -> dict[str, Any]:
        """What the outcome of an intent says; nothing where it cannot be read."""
        try:
            found = json.loads(self._store.get(self._done(seq)))
        except (MissingObjectError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _key(self, seq: int) -> str:
        return f"{self._prefix}/{seq:08d}.json"

    def _done(self, seq: int) -> str:
        return f"{self._prefix}/{seq:08d}.done.json"

    def _summed_up(self, seq: int) -> str:
        return f"{self._prefix}/{seq:08d}.known.json.gz"


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking through the whole process because very many objects are made at once.

    A tenth of a second each time, in a process that has imported all of this program; none of them is garbage.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
