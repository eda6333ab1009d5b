"""Does a store keep what ingest, ledger and release rest on? Asked by ``tidemill doctor``, answered in findings.

Each check tries the real thing below ``probe/`` and removes what it wrote. A probe cannot prove that a store is safe,
but one that races, forgets or lags shows it within a few rounds. That several writers are safe is remembered in the
store itself, so that what relies on it need not try each time.

    >>> import tempfile, time
    >>> from serving.store import open_store
    >>> for finding in probe(open_store(tempfile.mkdtemp()), lambda: time.time_ns() // 1000):
    ...     print(finding.verdict, finding.check)
    ok rights
    ok listing
    ok conditional writes
    ok large objects
    ok clock
"""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from features.errors import TidemillError
from pipelines.errors import UnsafeStoreError
from serving.errors import MissingObjectError, StoreDeniedError, StoreError
from serving.probe import FOLDER, unsafe_because
from serving.store import PART_BYTES, Remote, Store

Verdict = Literal["ok", "warn", "fail"]

VERDICT: Final = f"{FOLDER}/verdict.json"
"""What was found, when, and at which address."""
GOOD_FOR_US: Final = 30 * 86_400_000_000
_WRITERS, _RACES = 8, 20
_LISTED = 25
_TOLERATED_US = 5_000_000
"""Signatures of S3 bear 15 minutes; what suffers before that is telling late readings from early ones."""
_ACTIONS = {"write": "s3:PutObject", "read": "s3:GetObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject"}
_CONDITIONAL = "conditional writes"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: What was looked at.
        verdict: ``fail``: do not work with this store; ``warn``: it works, but look into it.
        sentence: What was found.
        fix: What to do about it; empty when all is well.
    """

    check: str
    verdict: Verdict
    sentence: str
    fix: str = ""


def probe(store: Store, clock: Callable[[], int]) -> list[Finding]:
    """Try a store out.

    Args:
        store: The store; a read-only one fails the first check, after which nothing else is tried.
        clock: Tells the time of this machine, UTC microseconds.

    Returns:
        Findings in the order of the checks; a store that stops answering midway gets one for that.
    """
    folder = f"{FOLDER}/{secrets.token_hex(8)}/"
    findings = [_rights(store, folder)]
    if findings[0].verdict == "fail":
        return findings
    checks: dict[str, Callable[[], Finding]] = {
        "listing": partial(_listing, store, folder),
        _CONDITIONAL: partial(_conditional, store),
        "large objects": partial(_large, store, folder),
        "clock": partial(_clock, store, folder, clock),
    }
    for check, look in checks.items():
        try:
            findings.append(look())
        except StoreError as error:
            findings.append(_failure(check, error))
    return findings


def verdict(findings: Sequence[Finding]) -> str:
    """What the findings come to, in one sentence.

    Example:
        >>> verdict([Finding("rights", "ok", ""), Finding("conditional writes", "fail", "2 of 8 writers won")])
        'one writer at a time only, because 2 of 8 writers won'
    """
    broken = [each for each in findings if each.verdict == "fail"]
    if not broken:
        return "this store is safe for several writers"
    because = "; ".join(each.sentence for each in broken)
    if [each.check for each in broken] == [_CONDITIONAL]:
        return f"one writer at a time only, because {because}"
    return f"this store cannot be worked with, because {because}"


def remember(store: Store, findings: Sequence[Finding], now_us: int) -> None:
    """Write down what the race of writers on a remote store came to; nothing where it was not run."""
    raced = next((each for each in findings if each.check == _CONDITIONAL), None)
    if raced and isinstance(store, Remote):
        safe = raced.verdict == "ok"
        found = {"endpoint": store.endpoint, "probed_us": now_us, "safe": safe, "sentence": raced.sentence}
        store.put(VERDICT, json.dumps(found).encode())


def require_several_writers(store: Store, now_us: int) -> None:
    """Refuse a store on which two writers could both win; one in a folder is known to be safe.

    A good verdict holds for thirty days at the address where it was found. A bad one is looked into each time.

    Args:
        store: Where several processes may write at a time.
        now_us: The clock, UTC microseconds.

    Raises:
        UnsafeStoreError: Conditional writes were won by several writers.
        StoreError: The store does not answer, or does not let us write.
    """
    if not isinstance(store, Remote) or _known_safe(store, now_us):
        return
    raced = _conditional(store)
    remember(store, [raced], now_us)
    if raced.verdict == "fail":
        raise UnsafeStoreError(
            "this store is safe for one writer at a time only",
            where=f"{store.uri} at {store.endpoint}",
            why=raced.sentence,
            fix="use a store with conditional writes; or --single-writer, if no other process writes",
        )


def _known_safe(store: Store, now_us: int) -> bool:
    endpoint = store.endpoint if isinstance(store, Remote) else ""
    try:
        found = json.loads(store.get(VERDICT))
        fresh = 0 <= now_us - int(found["probed_us"]) < GOOD_FOR_US
        return bool(found["safe"] is True and found["endpoint"] == endpoint and fresh)
    except (MissingObjectError, ValueError, KeyError, TypeError):
        return False


def _rights(store: Store, folder: str) -> Finding:
    """Which of the four rights there are; each is tried, because one policy statement often grants them one by one."""
    key = f"{folder}rights"
    tries: dict[str, Callable[[], object]] = {
        "write": lambda: store.put(key, b"one"),
        "read": lambda: store.get(key),
        "list": lambda: [entry.key for entry in store.list(key)],
        "delete": lambda: store.delete(key),
    }
    found: dict[str, object] = {}
    denied: dict[str, StoreDeniedError] = {}
    for right, attempt in tries.items():
        try:
            found[right] = attempt()
        except StoreDeniedError as error:
            denied[right] = error
        except TidemillError as error:
            if not (
                "write" in denied and isinstance(error, MissingObjectError)
            ):  # it may be read; it is just not there
                return _failure("rights", error, f"cannot {right}: ")
    if denied:
        return _denials(store, denied)
    if (found["read"], found["list"]) != (b"one", [key]):
        return Finding("rights", "fail", "what was written is not what is read or listed", "use another store")
    return Finding("rights", "ok", "objects can be written, read, listed and deleted")


def _denials(store: Store, denied: dict[str, StoreDeniedError]) -> Finding:
    error = next(iter(denied.values()))
    given = [right for right in _ACTIONS if right not in denied]
    why = f"{error.what}: {error.why}" if error.why else error.what
    sentence = f"cannot {', '.join(denied)} ({why}); can {', '.join(given) or 'nothing'}"
    fix = error.fix or "check the credentials and their rights"
    if isinstance(store, Remote):
        fix = f"{fix}; missing: {', '.join(_ACTIONS[right] for right in denied)}"
    return Finding("rights", "fail", sentence, fix)


def _listing(store: Store, folder: str) -> Finding:
    """Whether a listing shows at once what was written, in order, and no longer what was deleted."""
    keys = [f"{folder}{letter}" for letter in sorted(["a-b", "a/x", "a/y", *(f"{n:02d}" for n in range(_LISTED))])]
    with _removed(store, keys):
        for key in reversed(keys):
            store.put(key, b"")
        if [entry.key for entry in store.list(folder)] != keys:
            return Finding(
                "listing", "fail", "a listing does not show what was just written, in order", "use another store"
            )
        if [entry.key for entry in store.list(folder, after=keys[3])] != keys[4:]:
            return Finding("listing", "fail", "a listing cannot be continued after a key", "use another store")
        before = next(iter(store.list(keys[0]))).etag
        store.put(keys[0], b"more")
        if next(iter(store.list(keys[0]))).etag == before:
            return Finding("listing", "fail", "an object that was written again looks the same", "use another store")
    if next(iter(store.list(folder)), None) is not None:
        return Finding("listing", "fail", "deleted objects are still listed", "use another store")
    return Finding("listing", "ok", f"{len(keys)} objects were listed at once and in order")


def _conditional(store: Store) -> Finding:
    reason = unsafe_because(store, rounds=_RACES, writers=_WRITERS)
    if reason:
        fix = "use a store with conditional writes, or make sure that one process writes at a time"
        return Finding(_CONDITIONAL, "fail", reason, fix)
    return Finding(_CONDITIONAL, "ok", f"{_RACES} races of {_WRITERS} writers had one winner each")


def _large(store: Store, folder: str) -> Finding:
    """Whether an object that S3 takes in parts comes back whole."""
    key, data = f"{folder}large", secrets.token_bytes(PART_BYTES + 1)
    with _removed(store, [key]):
        store.put(key, data)
        if store.get(key) != data:
            return Finding("large objects", "fail", "an object in parts came back different", "use another store")
    return Finding("large objects", "ok", f"an object of {len(data) / 2**20:.0f} MiB came back whole")


def _clock(store: Store, folder: str, clock: Callable[[], int]) -> Finding:
    key = f"{folder}clock"
    with _removed(store, [key]):
        before = clock()
        store.put(key, b"")
        after = clock()
        stamped = next(iter(store.list(key))).modified_us
    # A store may cut its stamps to whole seconds.
    away = max(before - 1_000_000 - stamped, stamped - after, 0)
    if away > _TOLERATED_US:
        sentence = f"the clocks of this machine and of the store are {away / 1e6:.0f} s apart"
        return Finding("clock", "warn", sentence, "synchronise the clock of this machine (NTP)")
    return Finding("clock", "ok", "the clocks of this machine and of the store agree")


@contextlib.contextmanager
def _removed(store: Store, keys: list[str]) -> Iterator[None]:
    try:
        yield
    finally:
        for key in keys:
            store.delete(key)


def _failure(check: str, error: TidemillError, doing: str = "") -> Finding:
    why = f": {error.why}" if error.why else ""
    return Finding(check, "fail", f"{doing}{error.what}{why}", error.fix or "check address, credentials and rights")
