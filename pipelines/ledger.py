"""The ledger of ingested objects: which objects each commit of a table is made from.

Before a batch is read, its objects are written down as an *intent* under the next number; the commit of the table
carries that number. An object counts as ingested when the table has reached the number of its intent, so ledger and
table cannot disagree: after a kill at any point, either the number is in the table, or the same intent is done again.

    00000012.json           the intent: {"seq", "objects": [{"key", "etag", "size"}], "planned_at_us"}
    00000012.done.json      what came of it, for people
    00000064.known.json.gz  every object up to here, so that old intents need not be read again

These lie in ``ledger/objects/<fleet>/`` for telemetry and in ``ledger/events/<fleet>/`` for events.
"""

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from pipelines.errors import LedgerError
from serving.errors import MissingObjectError
from serving.store import Store

_SUM_UP_EVERY = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A raw object as it was when it was planned; ``etag`` changes when it is written again."""

    key: str
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class Intent:
    """What one commit will be made from.

    Attributes:
        seq: Its number, from 1; the commit's number.
        objects: The objects, in the order in which they are read.
        planned_at_us: When it was planned, UTC microseconds: the time of receipt of records that no hub stamped, so
            that doing it again gives the same rows.
    """

    seq: int
    objects: tuple[Source, ...]
    planned_at_us: int


class Ledger:
    """The ledger of one stream of one fleet.

    Args:
        store: Where it lies.
        prefix: Its folder, such as ``ledger/objects/pumps``.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

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
            objects = tuple(Source(str(o["key"]), str(o["etag"]), int(o["size"])) for o in document["objects"])
            return Intent(int(document["seq"]), objects, int(document["planned_at_us"]))
        except (MissingObjectError, ValueError, KeyError, TypeError) as error:
            raise LedgerError(
                "an intent cannot be read", where=key, why=str(error), fix="restore the object"
            ) from error

    def finish(self, seq: int, outcome: Mapping[str, object]) -> None:
        """Write down what came of an intent that is in the table; now and then sum up all objects so far."""
        self._store.put(f"{self._prefix}/{seq:08d}.done.json", json.dumps({"seq": seq, **outcome}).encode())
        if seq % _SUM_UP_EVERY == 0:
            known = sorted(self.known(number for number in self.numbers() if number <= seq))
            self._store.put(
                f"{self._prefix}/{seq:08d}.known.json.gz", gzip.compress(json.dumps(known).encode(), mtime=0)
            )

    def known(self, numbers: Iterable[int]) -> set[tuple[str, str]]:
        """Key and etag of every object that these intents name."""
        wanted = sorted(numbers)
        known: set[tuple[str, str]] = set()
        summed_up = 0
        for number in reversed(range(_SUM_UP_EVERY, (wanted[-1] if wanted else 0) + 1, _SUM_UP_EVERY)):
            try:
                listed = json.loads(gzip.decompress(self._store.get(f"{self._prefix}/{number:08d}.known.json.gz")))
            except (MissingObjectError, ValueError, OSError, EOFError):
                continue  # it only saves time
            known, summed_up = {(key, etag) for key, etag in listed}, number
            break
        for number in wanted:
            if number > summed_up:
                known |= {(source.key, source.etag) for source in self.intent(number).objects}
        return known

    def _key(self, seq: int) -> str:
        return f"{self._prefix}/{seq:08d}.json"
