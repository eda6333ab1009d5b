"""One ingest of a fleet at a time where a lock can see to it: in a local folder."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from pipelines.errors import IngestRunningError
from serving.errors import DiskFullError, StoreDeniedError
from serving.store import FolderStore, Store


@contextlib.contextmanager
def alone(store: Store, fleet: str) -> Iterator[None]:
    """Hold the lock of a fleet; in other stores there is none, there the numbers of the commits decide.

    Raises:
        IngestRunningError: Another process holds it.
        DiskFullError: There is no space for it.
        StoreDeniedError: The folder cannot be written to.
    """
    if not isinstance(store, FolderStore):
        yield
        return
    path = store.root / f".tidemill-ingest-{fleet}.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            raise DiskFullError("no space left for a lock", where=str(path), why=why, fix="free some space") from error
        what = "the folder of the store cannot be written to"
        raise StoreDeniedError(what, where=str(path), why=why, fix="check owner, mode and mount") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise IngestRunningError(
            f"another ingest of {fleet} is at work", where=store.uri, fix="wait for it to end"
        ) from error
    try:
        yield
    finally:
        os.close(handle)
