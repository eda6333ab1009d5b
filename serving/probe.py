"""Does a store keep what it promises? Asked once at the start, before several writers rely on it.

Ledgers rest on ``put_if_absent`` answering ``True`` to at most one writer of a key. Some services that speak S3 ignore
the condition or check it without a lock. The probe lets several threads race for fresh keys and looks at who won; it
cannot prove that a store is safe, but finds those that are not within a few rounds.
"""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

from serving.store import Store

FOLDER = "probe"


def unsafe_because(store: Store, *, rounds: int = 5, writers: int = 8) -> str:
    """Why several writers must not share the store; empty when nothing spoke against it.

    Args:
        store: A store that may be written to; the probe removes what it wrote below ``probe/``.
        rounds: Keys to race for.
        writers: Threads that race for each.

    Raises:
        StoreError: The store does not answer, or does not let us write.

    Example:
        >>> import tempfile
        >>> from serving.store import open_store
        >>> unsafe_because(open_store(tempfile.mkdtemp()))
        ''
    """
    run = secrets.token_hex(8)
    with ThreadPoolExecutor(writers) as pool:
        for number in range(rounds):
            key = f"{FOLDER}/{run}-{number}"
            try:
                reason = _race(store, key, writers, pool)
            finally:
                store.delete(key)
            if reason:
                return reason
    return ""


def _race(store: Store, key: str, writers: int, pool: ThreadPoolExecutor) -> str:
    start = threading.Barrier(writers)

    def write(number: int) -> bool:
        start.wait()
        return store.put_if_absent(key, str(number).encode())

    winners = [number for number, won in enumerate(pool.map(write, range(writers))) if won]
    if len(winners) != 1:
        return f"{len(winners)} of {writers} concurrent conditional writers of one key were told that they won"
    if store.get(key) != str(winners[0]).encode():
        return "the object of a conditional writer who won was replaced by one who lost"
    if store.put_if_absent(key, b"late"):
        return "a conditional write replaced an object that had been there before"
    return ""
