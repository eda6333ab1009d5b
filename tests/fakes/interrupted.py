"""Power cuts and other processes on demand.

A power cut: the n-th write from now does not happen, and nothing after it does.
"""

from collections.abc import Callable, Iterator

from serving.store import Entry, Fetched, Level, Store
from tests.fakes.stores import MemoryStore


class PowerCut(BaseException):
    """Not an ``Exception``: no handler may mistake it for an error it can deal with."""


class Budget:
    """How many writes still happen; None is without end. Shared by everything that one process writes to."""

    def __init__(self, writes: int | None = None) -> None:
        self.left = writes

    def spend(self) -> None:
        if self.left is None:
            return
        if self.left == 0:
            raise PowerCut
        self.left -= 1


class InterruptedStore:
    """A store whose writer is killed when the budget is spent; what was written before is there."""

    def __init__(self, store: Store, budget: Budget) -> None:
        self._store = store
        self._budget = budget

    @property
    def uri(self) -> str:
        return self._store.uri

    def get(self, key: str) -> bytes:
        return self._store.get(key)

    def fetch(self, key: str) -> Fetched:
        return self._store.fetch(key)

    def put(self, key: str, data: bytes) -> None:
        self._budget.spend()
        self._store.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._budget.spend()
        return self._store.put_if_absent(key, data)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        return self._store.list(prefix, after)

    def level(self, prefix: str) -> Level:
        return self._store.level(prefix)

    def delete(self, key: str) -> None:
        self._budget.spend()
        self._store.delete(key)


class BusyStore(MemoryStore):
    """Runs ``meanwhile`` once, just before a key with this ending is created: another process in the worst moment."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.ending = ending
        self.meanwhile: Callable[[], object] | None = None

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if self.meanwhile and key.endswith(self.ending):
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().put_if_absent(key, data)
