"""Ingesters in processes of their own, which are killed with SIGKILL: at a moment, or at their n-th operation.

The processes are forked from a server that has imported everything and done nothing, so one starts in milliseconds.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.errors import TidemillError
from pipelines import batches as module
from pipelines.errors import IngestRunningError
from pipelines.ingest import ingest
from pipelines.lake import Lake
from pipelines.materialize import materialize
from pipelines.quarantine import batches, read
from serving.store import Entry, Fetched, FolderStore, Level, open_store
from tests.fakes.fleets import DAY_US, FAN_FEATURES, FANS, NOON_US

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.sweep.ingesters"])
NOW_US = NOON_US + 30 * DAY_US
KILLED = -signal.SIGKILL
_FILE_EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.scandir", "os.listdir", "fcntl.flock")


class Operations:
    """Counts operations; the process dies at the n-th, as it begins.

    Args:
        last: Which one; 0 counts only.
    """

    def __init__(self, last: int = 0) -> None:
        self.count, self._last = 0, last

    def spend(self) -> None:
        """One more operation begins."""
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_files(self) -> None:
        """Count what Python asks of the file system from now on; an audit hook cannot be taken away again."""
        sys.addaudithook(lambda event, _: self.spend() if event in _FILE_EVENTS else None)


class CountedStore(FolderStore):
    """A folder whose calls are operations: one before each, and one behind those that write."""

    def __init__(self, root: Path, operations: Operations) -> None:
        super().__init__(root)
        self._operations = operations

    def fetch(self, key: str) -> Fetched:
        """See `serving.store.Store`."""
        self._operations.spend()
        return super().fetch(key)

    def put(self, key: str, data: bytes) -> None:
        """See `serving.store.Store`."""
        self._operations.spend()
        super().put(key, data)
        self._operations.spend()

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `serving.store.Store`."""
        self._operations.spend()
        written = super().put_if_absent(key, data)
        self._operations.spend()
        return written

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """See `serving.store.Store`."""
        self._operations.spend()
        return super().list(prefix, after)

    def level(self, prefix: str) -> Level:
        """See `serving.store.Store`."""
        self._operations.spend()
        return super().level(prefix)

    def delete(self, key: str) -> None:
        """See `serving.store.Store`."""
        self._operations.spend()
        super().delete(key)


def start(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start work in a process of its own."""
    process = _CONTEXT.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def pipe() -> Any:
    """A one-way channel: (receiver, sender)."""
    return _CONTEXT.Pipe(duplex=False)


def end(process: BaseProcess, seconds: float = 300) -> int:
    """Wait for the end of a process; its exit code."""
    process.join(seconds)
    code = process.exitcode
    assert code is not None, "the process does not end"
    process.close()
    return code


def take_in(root: Path, cut: int, kill_at: int = 0, told: Any = None) -> None:
    """Ingest once; tell how many operations it took."""
    module._BATCH_OBJECTS = cut
    operations = Operations(kill_at)
    store = CountedStore(root, operations)
    if told:
        operations.watch_files()
    ingest(store, Lake(store.uri), FANS, NOW_US)
    if told:
        told.send(operations.count)


def take_in_until(root: Path, cut: int, done: Path) -> None:
    """Ingest over and over, beside others, until a run that began when ``done`` was there reaches its end."""
    module._BATCH_OBJECTS = cut
    store = FolderStore(root)
    last = False
    while not last:
        last = done.exists()
        try:
            ingest(store, Lake(store.uri), FANS, NOW_US)
        except IngestRunningError:
            last = False
            time.sleep(0.02)


def take_in_as_told(uri: str, environ: Mapping[str, str], begin: Any, told: Any, said: Path) -> None:
    """Ingest and materialize when told to begin, as the command does; an error ends the process with its code.

    Args:
        uri: The store.
        environ: Where services are; of AWS it knows nothing else.
        begin: Sends when to begin.
        told: Is sent each step.
        said: The file that standard error goes to.
    """
    with said.open("wb") as file:
        os.dup2(file.fileno(), 2)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environ)
    module._BATCH_OBJECTS = 4  # many commits, many places to be killed at
    store = open_store(uri)
    lake = Lake(store.uri)
    told.send(("ready",))
    begin.recv()
    try:
        ingest(store, lake, FANS, NOON_US + DAY_US, lambda *step: told.send(step))
        materialize(lake, FAN_FEATURES, lambda *step: told.send(step))
    except TidemillError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def report(root: Path, answer: Any, work: Callable[[Path], None]) -> None:
    """Do work and send the error that came of it, or None."""
    try:
        work(root)
        answer.send(None)
    except TidemillError as error:
        answer.send((error.code, str(error)))


def rows(root: Path, columns: tuple[str, ...] = ("device", "time", *FANS.signal_names)) -> list[tuple[Any, ...]]:
    """The telemetry, sorted; None where there is no value."""
    found = Lake(str(root)).telemetry(FANS).open().read(list(columns))
    read = zip(*(column.to_pylist() for column in found.columns), strict=True)
    return sorted(tuple(None if value != value else value for value in row) for row in read)  # noqa: PLR0124 - NaN


def computed(root: Path) -> dict[str, list[str]]:
    """Panes and features as text, in which one NaN is like the other; sorted."""
    lake = Lake(str(root))
    tables = {"panes": lake.panes(FAN_FEATURES), "features": lake.features(FAN_FEATURES)}
    return {name: sorted(map(repr, table.open().read().to_pylist())) for name, table in tables.items()}


def quarantined(root: Path) -> list[tuple[str, int, str, bytes]]:
    """Every line of the quarantine: key, ordinal, reason, bytes; sorted."""
    store = FolderStore(root)
    lines = [line for batch in batches(store, FANS.name) for line in read(store, FANS.name, batch.name)]
    return sorted((line.key, line.ordinal, line.reason, line.data) for line in lines)


def nothing_half_written(root: Path) -> pa.Table:
    """The table can be read, and holds each reading once."""
    table = Lake(str(root)).telemetry(FANS)
    if not table.exists():
        return table.layout.schema.empty_table()
    found = table.open().read()
    keys = list(zip(found["device"].to_pylist(), found["time"].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys), "a reading is there twice"
    return found


@contextlib.contextmanager
def killed_at_the_end(processes: list[BaseProcess]) -> Iterator[None]:
    """Leave no process behind."""
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ValueError):  # closed: it ended
                process.kill()
