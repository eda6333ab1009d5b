"""Which raw objects there are: all of them, or at little cost those that came lately.

A full listing is the truth. It asks for many parts of the tree at a time, because a service takes as long for a page of
a thousand keys as for one of ten. Between full listings a run may look at the end of each *timeline* only: the keys
below one prefix that go on with a date, such as ``raw/pumps/telemetry/2025/11/24/13/`` or ``…/press-7/dt=2025-11-24/``.
It starts so much before the newest date of the last run that late objects and those that are written again are seen;
whatever is older than that, or was written under an old date, is seen by the next full listing. Prefixes without dates
are listed as a whole each time.

    listing = Listing(store, "raw/pumps/telemetry/", now_us)
    for entry in listing.entries(): ...
    listing.done()  # only now that all of them are in the ledger
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from serving.errors import MissingObjectError
from serving.store import Entry, Remote, Store

FULL_EVERY = 24
OVERLAP = timedelta(hours=6)
_THREADS = 8  # more do not help one process: it spends its time on making entries
_ENOUGH_PARTS = 32
_DEPTH = 6  # levels that are looked at one by one, in search of parts or of timelines
_TIMELINE = re.compile(
    r"(?:^|(?<=/))(?:\w+=)?(\d{4})[-/](?:\w+=)?(\d\d)(?:[-/](?:\w+=)?(\d\d)(?:[-/T](?:\w+=)?(\d\d))?)?(?=/)"
)


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
        self._state = f"ledger/listing/{prefix.strip('/').removeprefix('raw/')}.json"
        self._reached, runs = self._remembered()
        self.full = not self._reached or runs + 1 >= full_every
        self._runs = 0 if self.full else runs + 1

    def entries(self) -> Iterator[Entry]:
        """The objects to look at, sorted by key; those that are known already are among them."""
        reached = {} if self.full else self._reached
        found = everything(self._store, self._prefix) if self.full else self._lately(self._prefix, reached, _DEPTH)
        newest = dict(reached)
        for entry in found:
            if line := _TIMELINE.search(entry.key, len(self._prefix)):
                start = entry.key[: line.start()]
                newest[start] = max(newest.get(start, ""), line[0])
            yield entry
        self._reached = newest

    def done(self) -> None:
        """Remember how far this run saw; to be called when every entry it gave is in the ledger, and not before."""
        state = {"reached": self._reached, "runs": self._runs}
        self._store.put(self._state, json.dumps(state, sort_keys=True).encode())

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
        line = _TIMELINE.match(f"{newest}/")
        if line is None:
            return ""
        try:
            year, month, day, hour = (int(number or least) for number, least in zip(line.groups(), "1110", strict=True))
            moment = min(datetime(year, month, day, hour, tzinfo=UTC), self._now) - self._overlap
        except (ValueError, OverflowError):
            return ""
        cut = newest
        for number, value in enumerate((moment.year, moment.month, moment.day, moment.hour), 1):
            if line[number]:
                cut = cut[: line.start(number)] + f"{value:0{len(line[number])}d}" + cut[line.end(number) :]
        return cut

    def _remembered(self) -> tuple[dict[str, str], int]:
        try:
            state = json.loads(self._store.get(self._state))
            return {str(start): str(newest) for start, newest in state["reached"].items()}, int(state["runs"])
        except (MissingObjectError, ValueError, KeyError, TypeError, AttributeError):
            return {}, 0  # it only saves time
