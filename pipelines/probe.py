"""Does a store keep what ingest, ledger and release rest on? Asked by ``tidemill doctor``, answered in findings.

Each check tries the real thing below ``probe/`` and removes what it wrote. A probe cannot prove that a store is safe,
but one that races, forgets or lags shows it within a few rounds.

    >>> import tempfile, time
    >>> from serving.store import open_store
    >>> for finding in probe(open_store(tempfile.mkdtemp()), lambda: time.time_ns() // 1000):
    ...     print(finding.verdict, finding.check)
    ok rights
    ok listing
    ok conditional writes
    ok clock
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from features.errors import TidemillError
from serving.errors import StoreError
from serving.probe import FOLDER, unsafe_because
from serving.store import Store

Verdict = Literal["ok", "warn", "fail"]

_WRITERS, _RACES = 8, 20
_LISTED = 25
_TOLERATED_US = 5_000_000
"""Signatures of S3 bear 15 minutes; what suffers before that is telling late readings from early ones."""


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
        "conditional writes": partial(_conditional, store),
        "clock": partial(_clock, store, folder, clock),
    }
    for check, look in checks.items():
        try:
            findings.append(look())
        except StoreError as error:
            findings.append(_failure(check, error))
    return findings


def _rights(store: Store, folder: str) -> Finding:
    key = f"{folder}rights"
    doing = "write"
    try:
        store.put(key, b"one")
        doing = "read"
        same = store.get(key) == b"one"
        doing = "list"
        listed = [entry.key for entry in store.list(key)] == [key]
        doing = "delete"
        store.delete(key)
    except TidemillError as error:
        return _failure("rights", error, f"cannot {doing}: ")
    if not (same and listed):
        return Finding("rights", "fail", "what was written is not what is read or listed", "use another store")
    return Finding("rights", "ok", "objects can be written, read, listed and deleted")


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
        return Finding("conditional writes", "fail", reason, fix)
    return Finding("conditional writes", "ok", f"{_RACES} races of {_WRITERS} writers had one winner each")


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
