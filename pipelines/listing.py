"""Which raw objects there are: all of them, or at little cost those that came lately.

A full listing is the truth. It asks for many parts of the tree at a time, because a service takes as long for a page of
a thousand keys as for one of ten. Between full listings a run may look at the end of each *timeline* only: the keys
below one prefix that go on with a date, such as ``raw/pumps/telemetry/2025/11/24/13/`` or ``…/press-7/dt=2025-11-24/``.
It starts so much before the newest date of the last run that late objects and those that are written again are seen;
whatever is older than that, or was written under an old date, is seen by the next full listing. Prefixes without dates
are listed as a whole each time, and so are timelines that end days ago: nobody writes to them by the clock.

Who knows of an object that lies elsewhere names it (``also``), or leaves a note of it in the store, as a replay does.

    listing = Listing(store, "raw/pumps/telemetry/", now_us)
    for entry in listing.entries(also=hints): ...
    listing.done()  # only now that all of them are in the ledger
"""

import contextlib
import hashlib
import heapq
import json
import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from serving.errors import MissingObjectError
from serving.store import Entry, Remote, Store

FULL_EVERY = 24
OVERLAP = timedelta(hours=6)
_ENDED, _MONTH = timedelta(days=2), timedelta(days=33)
_THREADS = 8  # more do not help one process: it spends its time on making entries
_ENOUGH_PARTS = 32
_DEPTH = 6  # levels that are looked at one by one, in search of parts or of timelines
_TIMELINE = re.compile(
    r"(?:^|(?<=/))(?:\w+=)?(\d{4})[-/](?:\w+=)?(\d\d)(?:[-/](?:\w+=)?(\d\d)(?:[-/T](?:\w+=)?(\d\d))?)?(?=/)"
)

_MONTHLY = re.compile(r"\D*\d{4}\D+\d\d")


def everything(store: Store, prefix: str) -> Iterator[Entry]:
    """All objects below a prefix, sorted by key; of a remote store many parts at a time.

    Args:
        store: The store; its disk or one connection is enough where it is not remote.
        prefix: Ends in a slash.

    Example:
        >>> import tempfile
        >>> from serving.store import open_store
        >>> store = open_store(tempfile.mkdtemp())
        >>> store.put("raw/fans/2025/11/24/a", b"1")
        >>> [entry.key for entry in everything(store, "raw/fans/")]
        ['raw/fans/2025/11/24/a']
    """
    if not isinstance(store, Remote):
        yield from store.list(prefix)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[Entry | Future[list[Entry]]] = deque()
        asked = 0
        for part in _parts(store, prefix, pool):
            if isinstance(part, str):
                waiting.append(pool.submit(lambda folder: list(store.list(folder)), part))
                asked += 1
            else:
                waiting.append(part)
            while asked > 2 * _THREADS or (waiting and isinstance(waiting[0], Entry)):
                first = waiting.popleft()
                asked -= isinstance(first, Future)
                yield from first.result() if isinstance(first, Future) else [first]
        for left in waiting:
            yield from left.result() if isinstance(left, Future) else [left]


def _parts(store: Store, prefix: str, pool: ThreadPoolExecutor) -> list[Entry | str]:
    """Objects and the prefixes of all others, in key order: enough prefixes to keep all threads at work."""
    parts: list[Entry | str] = [prefix]
    for _ in range(_DEPTH):
        folders = [part for part in parts if isinstance(part, str)]
        if not 0 < len(folders) < _ENOUGH_PARTS:
            break
        levels = dict(zip(folders, pool.map(store.level, folders), strict=True))
        parts = [
            below
            for part in parts
            for below in (_merged(levels[part].entries, levels[part].folders) if isinstance(part, str) else [part])
        ]
    return parts


def _merged(entries: tuple[Entry, ...], folders: tuple[str, ...]) -> list[Entry | str]:
    found: list[Entry | str] = [*entries, *folders]
    return sorted(found, key=lambda part: part if isinstance(part, str) else part.key)


def note(store: Store, key: str) -> None:
    """Have the next run look at an object, in whatever folder it lies; to be called before the object is written.

    Example:
        >>> import tempfile
        >>> from serving.store import open_store
        >>> store = open_store(tempfile.mkdtemp())
        >>> note(store, "raw/fans/telemetry/2019/01/01/00/replay-1.json.gz")
        >>> [entry.key.rpartition("/")[0] for entry in store.list("ledger/")]
        ['ledger/listing/fans/telemetry']
    """
    folder = _state_key("/".join(key.split("/")[:3]))
    store.put(f"{folder}/{hashlib.sha256(key.encode()).hexdigest()[:16]}.txt", key.encode())


class Listing:
    """The listings of one prefix, run after run.

    Args:
        store: The store; a small object below ``ledger/listing/`` remembers how far the last run saw.
        prefix: What to list; ends in a slash.
        now_us: The clock, UTC microseconds.
        full_every: Runs from one full listing to the next; 1 makes each a full one.
        overlap: How much before the newest date of the last run to start.

    Attributes:
        full: Whether this run's listing is a full one.
    """

    def __init__(
        self, store: Store, prefix: str, now_us: int, *, full_every: int = FULL_EVERY, overlap: timedelta = OVERLAP
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._now = datetime.fromtimestamp(now_us // 1_000_000, UTC)
        self._overlap = overlap
        self._state = _state_key(prefix)
        self._reached, runs = self._remembered()
        self.full = not self._live() or runs + 1 >= full_every
        self._runs = 0 if self.full else runs + 1
        self._notes: dict[str, str] = {}
        self._seen: set[str] = set()

    def entries(self, also: Collection[str] = ()) -> Iterator[Entry]:
        """The objects to look at, sorted by key, some perhaps twice; those that are known already are among them.

        Args:
            also: Keys of objects to look at wherever they lie; who does not exist is not among the result.
        """
        self._notes = self._noted()
        noted, newest = set(self._notes.values()), {} if self.full else dict(self._reached)
        for entry in everything(self._store, self._prefix) if self.full else self._some({*also, *noted}):
            if line := _TIMELINE.search(entry.key, len(self._prefix)):
                start = entry.key[: line.start()]
                newest[start] = max(newest.get(start, ""), line[0])
            if entry.key in noted:
                self._seen.add(entry.key)
            yield entry
        self._reached = newest

    def done(self) -> None:
        """Remember how far this run saw; to be called when every entry it gave is in the ledger, and not before.

        Notes of objects that were not there yet stay.
        """
        state = {"reached": self._reached, "runs": self._runs}
        self._store.put(f"{self._state}.json", json.dumps(state, sort_keys=True).encode())
        for key, named in self._notes.items():
            if named in self._seen:
                self._store.delete(key)

    def _some(self, named: Collection[str]) -> Iterator[Entry]:
        """What came lately, and some objects, sorted by key."""
        lately = self._lately(self._prefix, self._live(), _DEPTH)
        exactly = self._exactly([key for key in named if key.startswith(self._prefix)])
        return heapq.merge(lately, exactly, key=lambda entry: entry.key)

    def _noted(self) -> dict[str, str]:
        found = {}
        for entry in self._store.list(f"{self._state}/"):
            with contextlib.suppress(MissingObjectError):  # another run has just followed it
                found[entry.key] = self._store.get(entry.key).decode(errors="replace")
        return found

    def _exactly(self, keys: Collection[str]) -> list[Entry]:
        """Those of some objects that exist, sorted."""
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda key: next(iter(self._store.list(key)), None), sorted(keys))
            return [entry for key, entry in zip(sorted(keys), found, strict=True) if entry and entry.key == key]

    def _live(self) -> dict[str, str]:
        """The timelines that somebody may be writing to by the clock."""
        live = {}
        for start, newest in self._reached.items():
            moment = self._moment(newest)
            if moment and moment + (_MONTH if _MONTHLY.fullmatch(newest) else _ENDED) > self._now:
                live[start] = newest
        return live

    def _lately(self, prefix: str, reached: Mapping[str, str], depth: int) -> Iterator[Entry]:
        if prefix in reached:
            yield from self._store.list(prefix, prefix + self._cut(reached[prefix]))
        elif not depth or not any(start.startswith(prefix) for start in reached):
            yield from self._store.list(prefix)
        else:
            level = self._store.level(prefix)
            for part in _merged(level.entries, level.folders):
                if isinstance(part, str):
                    yield from self._lately(part, reached, depth - 1)
                else:
                    yield part

    def _cut(self, newest: str) -> str:
        """Where to start, written like the newest date; a date in the future counts as now."""
        line, moment = _TIMELINE.match(f"{newest}/"), self._moment(newest)
        if line is None or moment is None:
            return ""
        moment = min(moment, self._now) - self._overlap
        cut = newest
        for number, value in enumerate((moment.year, moment.month, moment.day, moment.hour), 1):
            if line[number]:
                cut = cut[: line.start(number)] + f"{value:0{len(line[number])}d}" + cut[line.end(number) :]
        return cut

    def _moment(self, date: str) -> datetime | None:
        """When the span begins that a folder is named after; None where it is no date."""
        line = _TIMELINE.match(f"{date}/")
        if line is None:
            return None
        try:
            year, month, day, hour = (int(number or least) for number, least in zip(line.groups(), "1110", strict=True))
            return datetime(year, month, day, hour, tzinfo=UTC)
        except ValueError:
            return None

    def _remembered(self) -> tuple[dict[str, str], int]:
        try:
            state = json.loads(self._store.get(f"{self._state}.json"))
            return {str(start): str(newest) for start, newest in state["reached"].items()}, int(state["runs"])
        except (MissingObjectError, ValueError, KeyError, TypeError, AttributeError):
            return {}, 0  # it only saves time


def _state_key(prefix: str) -> str:
    return f"ledger/listing/{prefix.strip('/').removeprefix('raw/')}"
