"""What a gateway knows about releases, and how fresh that knowledge is.

Whatever goes wrong on the way to the store is a state with a reason, never an end: the gateway serves what it has. A
store that is not there yet (a folder that is mounted later) is looked for again with every poll.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from features.errors import TidemillError
from serving.errors import MissingStoreError, StoreError
from serving.release import Release, ReleaseReader
from serving.store import Entry, Fetched, Level, Store, open_store
from serving.trust.client import TrustedClient
from serving.trust.errors import ExpiredMetadataError, UnreachableError, UpdateBusyError

State = Literal["unknown", "current", "unreachable", "expired", "refused"]


class LateStore:
    """A store that is opened with the first call that finds it; until then every call raises ``MissingStoreError``.

    Args:
        uri: See ``open_store``. A URI that can never be opened is refused here and now.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._opened: Store | None = None
        try:
            self._opened = open_store(uri)
        except MissingStoreError:
            return

    @property
    def uri(self) -> str:
        """What was asked for."""
        return self._uri

    def get(self, key: str) -> bytes:
        """See ``Store``."""
        return self._store().get(key)

    def fetch(self, key: str) -> Fetched:
        """See ``Store``."""
        return self._store().fetch(key)

    def put(self, key: str, data: bytes) -> None:
        """See ``Store``."""
        self._store().put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """See ``Store``."""
        return self._store().put_if_absent(key, data)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See ``Store``."""
        return self._store().list(prefix, after)

    def level(self, prefix: str) -> Level:
        """See ``Store``."""
        return self._store().level(prefix)

    def delete(self, key: str) -> None:
        """See ``Store``."""
        self._store().delete(key)

    def _store(self) -> Store:
        if self._opened is None:
            self._opened = open_store(self._uri)
        return self._opened


class Updates:
    """The trusted releases.

    Args:
        store: Where they are published.
        folder: For the metadata that was seen.
        root: The root of trust.
        production: Refuse a root for development.

    Attributes:
        state: ``unknown`` before the first look, ``current`` after a good one, else what is in the way.
        reason: Why it is not current, or empty.
        checked_us: When a look succeeded last, UTC microseconds; 0 for never.
    """

    def __init__(self, store: Store, folder: Path, root: bytes, *, production: bool) -> None:
        self._client = TrustedClient(store, folder, root, production=production)
        self._reader = ReleaseReader(self._client)
        self.state: State = "unknown"
        self.reason = ""
        self.checked_us = 0

    def look(self, now_us: int) -> bool:
        """Look for news; whether the releases can be believed to be the newest."""
        try:
            self._client.refresh(now_us)
        except TidemillError as error:
            self.failed(error)
            return False
        self.state, self.reason, self.checked_us = "current", "", now_us
        return True

    def failed(self, error: TidemillError) -> None:
        """Note what is in the way."""
        self.reason = str(error)
        match error:
            case ExpiredMetadataError():
                self.state = "expired"
            case UnreachableError() | UpdateBusyError() | StoreError():
                self.state = "unreachable"
            case _:
                self.state = "refused"

    def latest(self, usecase: str) -> Release | None:
        """The release of a use case; see ``ReleaseReader``."""
        return self._reader.latest(usecase)

    def bundle(self, release: Release) -> bytes:
        """Its bundle; see ``ReleaseReader``."""
        return self._reader.bundle(release)
