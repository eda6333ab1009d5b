"""Stores for tests: small true implementations of the port, without a disk."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from serving.errors import DamagedObjectError, MissingObjectError, StoreUnreachableError
from serving.store import Entry, Fetched, FolderStore, Level, check_key


class MemoryStore:
    """A store in memory that keeps every law of the port; safe to use from several threads.

    Set ``reachable`` to False and every call fails as a store behind a cut cable does. ``writes`` lists the keys of
    ``put`` and successful ``put_if_absent`` in order.
    """

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, int]] = {}
        self._writes = 0
        self.reachable = True
        self.writes: list[str] = []
        for key, data in (objects or {}).items():
            self.put(key, data)

    @property
    def uri(self) -> str:
        return f"memory://{id(self):x}"

    @property
    def objects(self) -> dict[str, bytes]:
        """A copy of what is stored."""
        with self._lock:
            return {key: data for key, (data, _) in sorted(self._objects.items())}

    def get(self, key: str) -> bytes:
        return self.fetch(key).data

    def fetch(self, key: str) -> Fetched:
        self._answer()
        with self._lock:
            if check_key(key) not in self._objects:
                raise MissingObjectError("no such object", where=f"{key} in {self.uri}")
            data, write = self._objects[key]
        return Fetched(_entry(key, data, write), data, {})

    def put(self, key: str, data: bytes) -> None:
        self._answer()
        with self._lock:
            self._write(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._answer()
        with self._lock:
            if check_key(key) in self._objects:
                return False
            self._write(key, data)
            return True

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        self._answer()
        with self._lock:
            found = sorted((key, *value) for key, value in self._objects.items() if key.startswith(prefix))
        return (_entry(key, data, write) for key, data, write in found if key > after)

    def level(self, prefix: str) -> Level:
        found = list(self.list(prefix))
        rests = [(entry, entry.key.removeprefix(prefix).partition("/")) for entry in found]
        folders = sorted({f"{prefix}{name}/" for _, (name, slash, _) in rests if slash})
        return Level(tuple(entry for entry, (_, slash, _) in rests if not slash), tuple(folders))

    def delete(self, key: str) -> None:
        self._answer()
        with self._lock:
            self._objects.pop(check_key(key), None)

    def _write(self, key: str, data: bytes) -> None:
        self._writes += 1
        self._objects[check_key(key)] = (bytes(data), self._writes)
        self.writes.append(key)

    def _answer(self) -> None:
        if not self.reachable:
            raise StoreUnreachableError("the store does not answer", where=self.uri)


def _entry(key: str, data: bytes, write: int) -> Entry:
    return Entry(key, len(data), f"{write:x}", write)


class Lying(MemoryStore):
    """A store that has lost the true bytes of some objects, and notices when it is asked for them."""

    def __init__(self, objects: dict[str, bytes] | None = None, lies: Iterable[str] = ()) -> None:
        super().__init__(objects)
        self.lies = set(lies)

    def fetch(self, key: str) -> Fetched:
        return _honest(self, key, super().fetch(key))


class ServedFolder(FolderStore):
    """A folder behind an address, so that it counts as remote; tells what it was asked, and may lie like `Lying`."""

    endpoint = "http://plant.example"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.lies: set[str] = set()
        self.fetched: list[str] = []
        self.listed: list[str] = []

    def fetch(self, key: str) -> Fetched:
        self.fetched.append(key)
        return _honest(self, key, super().fetch(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        self.listed.append(prefix + after.removeprefix(prefix))
        return super().list(prefix, after)


def _honest(store: Lying | ServedFolder, key: str, found: Fetched) -> Fetched:
    if key in store.lies:
        raise DamagedObjectError("an object arrived damaged", where=f"{key} in {store.uri}")
    return found


class RacyStore(MemoryStore):
    """A store that only claims to write conditionally: it looks, lets others run, and then writes.

    Some S3 look-alikes do this. Of two concurrent writers of one key both may win.
    """

    def __init__(self, objects: dict[str, bytes] | None = None, pause: float = 0.002) -> None:
        super().__init__(objects)
        self._pause = threading.Event()
        self._pause_s = pause

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._answer()
        if key in self.objects:
            return False
        self._pause.wait(self._pause_s)
        self.put(key, data)
        return True
