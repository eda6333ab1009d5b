"""Where the data files of a table lie: on a disk, or behind a service, which is asked through its store.

Arrow reads files of a disk by itself. Those of a service are fetched, some ahead, and decoded from memory: the store
repeats requests, gives up in time and compares what came with its checksum. A group of files is in memory at a time.
What is written for a service is encoded in memory and put as one object that must not be there yet.

Why so:
    * No second client. Status: accepted. Arrow's own waits minutes for an answer that does not come, and the table
      engine's bridge lends Arrow's threads buffers that Python owns: a thread that let go of one while the interpreter
      ended brought the process down. Here Arrow's threads see only memory of Arrow's.
    * Small files whole, of large ones the columns. Status: accepted. A request more takes longer than a megabyte, but
      two columns of a hundred in files of 24 MB took seven times as long whole. Cost: a part has no checksum of the
      store's; the checksums of its pages stand in, which files of older versions and of other writers lack.
"""

import contextlib
import functools
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from pipelines.errors import LakeError
from pipelines.excerpt import excerpt
from pipelines.fetching import REMOTE, ahead, fetched
from serving.store import Ranged, Store, open_store

_GROUP_BYTES: Final = 16 * 1024 * 1024
_GROUP_FILES: Final = 64
_LARGE_BYTES: Final = 1024 * 1024  # from here on only the columns that are asked for are fetched


class Part(NamedTuple):
    """A data file as a table names it.

    Attributes:
        path: Its path below the table.
        size: Bytes.
        date: The date of its rows, which is not in the file; empty where the table has none.
    """

    path: str
    size: int
    date: str


class Written(NamedTuple):
    """A file that is complete: its bytes, and when it was written, by the clock of the disk or the service."""

    size: int
    modified_ms: int


class Depot(Protocol):
    """Where the files of one table lie; paths are those below it."""

    def groups(
        self, parts: Sequence[Part], form: ds.ParquetFileFormat, schema: pa.Schema, columns: Sequence[str]
    ) -> Iterator[list[ds.Fragment]]:
        """Files to read these columns of, some at a time; they are in memory until the next are asked for."""
        ...

    def nearby(self, parts: Sequence[Part]) -> contextlib.AbstractContextManager[Path]:
        """A folder of a disk in which these files lie, for whoever reads them more than once."""
        ...

    def begin(self, path: str) -> pa.NativeFile:
        """Open a new file."""
        ...

    def finish(self, path: str, sink: pa.NativeFile) -> Written:
        """Close a new file; from then on it can be read."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file, or what is there of one; it may be missing."""
        ...

    def sizes(self, paths: Iterable[str]) -> list[int]:
        """Bytes of each file, 0 for what is not there."""
        ...


class Disk:
    """A folder of a disk.

    Args:
        root: The folder of the table.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = pyarrow.fs.SubTreeFileSystem(str(root), pyarrow.fs.LocalFileSystem())

    def groups(
        self,
        parts: Sequence[Part],
        form: ds.ParquetFileFormat,
        schema: pa.Schema,  # noqa: ARG002 - Arrow finds its columns by itself
        columns: Sequence[str],  # noqa: ARG002
    ) -> Iterator[list[ds.Fragment]]:
        """All files at once: nothing is read before it is decoded. See `Depot`."""
        yield [form.make_fragment(part.path, self._files, _holds(part)) for part in parts]

    @contextlib.contextmanager
    def nearby(self, parts: Sequence[Part]) -> Iterator[Path]:  # noqa: ARG002 - they are here already
        """The folder itself. See `Depot`."""
        yield self._root

    def begin(self, path: str) -> pa.NativeFile:
        """See `Depot`."""
        place = self._root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return pa.OSFile(str(place), "wb")

    def finish(self, path: str, sink: pa.NativeFile) -> Written:
        """See `Depot`."""
        sink.close()
        status = (self._root / path).stat()
        return Written(status.st_size, status.st_mtime_ns // 1_000_000)

    def remove(self, path: str) -> None:
        """See `Depot`."""
        (self._root / path).unlink(missing_ok=True)

    def sizes(self, paths: Iterable[str]) -> list[int]:
        """See `Depot`."""
        places = [self._root / path for path in paths]
        return [place.stat().st_size if place.exists() else 0 for place in places]


class Service:
    """A prefix of a bucket.

    Args:
        store: The bucket.
        prefix: What the table's keys begin with, with a slash at its end.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def groups(
        self, parts: Sequence[Part], form: ds.ParquetFileFormat, schema: pa.Schema, columns: Sequence[str]
    ) -> Iterator[list[ds.Fragment]]:
        """So many files as fit into memory well, while the next are on their way. See `Depot`."""
        share = min(1.0, (1 + len(columns)) / len(schema))
        named = [self._named(part, share if part.size >= _LARGE_BYTES else 1.0) for part in parts]
        group: list[ds.Fragment] = []
        size = 0
        with contextlib.closing(
            ahead(lambda some: [self._read(each, columns) for each in some], named, REMOTE)
        ) as all_:
            for source, (buffer, fetched_bytes) in all_:
                group.append(form.make_fragment(buffer, partition_expression=_holds(source.part)))
                size += fetched_bytes
                if size >= _GROUP_BYTES or len(group) == _GROUP_FILES:
                    yield group
                    group, size = [], 0
        if group:
            yield group

    def _read(self, source: "_Named", columns: Sequence[str]) -> tuple[pa.Buffer, int]:
        """A file to decode these columns of, and how much of it came."""
        part = source.part
        if part.size >= _LARGE_BYTES and isinstance(self._store, Ranged):
            found = excerpt(self._store, source.key, part.size, columns)
            if found is not None:
                return found
        data = self._store.get(source.key)
        if len(data) != part.size:
            raise _resized(source.key, self._store, len(data), part.size)
        return _of_arrow(data), len(data)

    @contextlib.contextmanager
    def nearby(self, parts: Sequence[Part]) -> Iterator[Path]:
        """Copies of the files, removed at the end. See `Depot`."""
        with tempfile.TemporaryDirectory(prefix="tidemill-") as folder:
            root = Path(folder)
            with contextlib.closing(self._fetched(parts)) as found:
                for part, data in found:
                    place = root / part.path
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(data)
            yield root

    def begin(self, path: str) -> pa.NativeFile:  # noqa: ARG002 - the object comes into being as a whole
        """See `Depot`."""
        return pa.BufferOutputStream()

    def finish(self, path: str, sink: pa.NativeFile) -> Written:
        """See `Depot`.

        Raises:
            LakeError: There is such a file already, or it did not arrive as it was sent.
            StoreError: The service does not take it.
        """
        data, key = sink.getvalue().to_pybytes(), self._prefix + path
        if not self._store.put_if_absent(key, data):
            raise LakeError("there is a file of this name already", where=f"{key} in {self._store.uri}")
        entry = next(iter(self._store.list(key)), None)
        if entry is None or entry.size != len(data):
            raise _resized(key, self._store, entry.size if entry else 0, len(data))
        return Written(entry.size, entry.modified_us // 1000)

    def remove(self, path: str) -> None:
        """See `Depot`."""
        self._store.delete(self._prefix + path)

    def sizes(self, paths: Iterable[str]) -> list[int]:
        """By one listing of the table: to ask for each file takes a request each. See `Depot`."""
        wanted = list(paths)
        if not wanted:
            return []
        found = {entry.key.removeprefix(self._prefix): entry.size for entry in self._store.list(self._prefix)}
        return [found.get(path, 0) for path in wanted]

    def _fetched(self, parts: Sequence[Part]) -> Generator[tuple[Part, bytes]]:
        named = (self._named(part, 1.0) for part in parts)
        with contextlib.closing(fetched(self._store, named)) as answers:
            for source, found in answers:
                if isinstance(found, Exception):
                    raise found
                if len(found.data) != source.size:
                    raise _resized(source.key, self._store, len(found.data), source.size)
                yield source.part, found.data

    def _named(self, part: Part, share: float) -> "_Named":
        return _Named(self._prefix + part.path, int(part.size * share), part)


class _Named(NamedTuple):
    key: str
    size: int
    part: Part


def depot(uri: str, options: Mapping[str, str]) -> Depot:
    """Where the files of a table lie.

    Args:
        uri: The table: a folder or ``s3://bucket/prefix``.
        options: Storage options as the table engine takes them: address and region of the service.
    """
    if "://" not in uri:
        return Disk(Path(uri))
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    store = _opened(f"{scheme}://{bucket}", options.get("AWS_ENDPOINT_URL"), options.get("AWS_REGION"))
    return Service(store, f"{prefix.rstrip('/')}/")


@functools.lru_cache(maxsize=8)
def _opened(uri: str, endpoint: str | None, region: str | None) -> Store:
    """One client for all tables of a bucket: another takes 70 ms, and connections of its own."""
    return open_store(uri, endpoint=endpoint, region=region)


def _of_arrow(data: bytes) -> pa.Buffer:
    """A copy in Arrow's own memory, which its threads can let go of at any time, even when the interpreter ends."""
    buffer = pa.allocate_buffer(len(data))
    np.frombuffer(buffer, np.uint8)[:] = np.frombuffer(data, np.uint8)
    return buffer


def _holds(part: Part) -> pc.Expression:
    return pc.field("date") == part.date if part.date else pc.scalar(True)


def _resized(key: str, store: Store, found: int, expected: int) -> LakeError:
    return LakeError(
        f"a data file has {found} bytes instead of {expected}",
        where=f"{key} in {store.uri}",
        why="something else than this program has written or cut it",
        fix="bring back the file of that size, or open an earlier version of the table",
    )
