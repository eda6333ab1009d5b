"""The data files of a table, read and written where they lie by many processes at once.

The table knows which files it is made of and takes new ones in one commit (`pipelines.lake`). What happens between
needs no table engine: workers get names of files, read them with pyarrow, and name the files they wrote. A file that
no commit names, because its worker died or the commit failed, belongs to no table and does no harm.
"""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

from pipelines.depot import Depot, Part, depot
from pipelines.tables import Layout

# Row groups of a quarter million rows keep what is decoded at a time near the cache, and let readers skip more: two
# threads read and sum up a day in two thirds of the memory that groups of a million take. Values of a sensor repeat,
# and a quarter MiB of dictionary holds 32,768 of them; beyond that looking up costs more than it saves, in time and in
# size. Times do not repeat, nor do places in large objects, but the steps between them are small numbers: a reading of
# eight signals that came with a quarter million others takes 18 bytes, and 21 with a dictionary of its places.
GROUP_ROWS: Final = 2**18
PAGE_ROWS: Final = 2**16
DICTIONARY_BYTES: Final = 2**18
STEADY: Final = ("time", "received", "known_at", "ordinal")
"""Columns that are written as steps."""
_MOST_STATED: Final = 256  # characters; a bound is kept in the table's log, for good
_LAST: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table.

    Attributes:
        path: Its path below the table.
        date: The date of its rows.
        size: Bytes.
        rows: How many rows it holds.
        modified_ms: When it was written, by the clock of the store.
        lows: The smallest value of each column the table keeps statistics of.
        highs: The largest.
    """

    path: str
    date: str
    size: int
    rows: int
    modified_ms: int = 0
    lows: Mapping[str, Any] = field(default_factory=dict)
    highs: Mapping[str, Any] = field(default_factory=dict)

    def may_hold(self, low: int, high: int) -> bool:
        """Tell whether it may hold rows of these times, both ends included.

        Example:
            >>> file = DataFile("part-1.parquet", "", 900, 2, 0, {"time": 5}, {"time": 9})
            >>> file.may_hold(1, 5), file.may_hold(1, 4), DataFile("part-2.parquet", "", 900, 2).may_hold(1, 4)
            (True, False, True)
        """
        least, most = self.lows.get("time"), self.highs.get("time")
        return least is None or most is None or (least <= high and most >= low)

    def to_json(self) -> str:
        """As text, to travel between processes.

        Example:
            >>> file = DataFile("date=2026-01-05/part-1.parquet", "2026-01-05", 900, 2, 0, {"time": 1}, {"time": 9})
            >>> DataFile.from_json(file.to_json()) == file
            True
        """
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "DataFile":
        """Back from `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Folder:
    """Where the files of a table lie.

    Attributes:
        uri: A folder or ``s3://bucket/prefix``.
        layout: The columns of the table.
        options: Storage options as the table engine takes them; credentials are found by each process itself.
    """

    uri: str
    layout: Layout
    options: Mapping[str, str]

    def read(
        self,
        files: Sequence[DataFile],
        columns: Sequence[str] | None = None,
        condition: pc.Expression | None = None,
        *,
        coded: bool = False,
    ) -> pa.Table:
        """Read rows of some files; without files there are none.

        Args:
            files: Files of the table.
            columns: Names of the columns, all by default. A column that a file lacks, because it is older, is null.
            condition: Only rows for which it holds; about these columns.
            coded: Give the column ``device`` dictionary-encoded, as the files have it.
        """
        schema = _coded(self.layout.schema) if coded else self.layout.schema
        wanted = list(columns) if columns is not None else schema.names
        form = _read_form(coded=coded)
        found = [
            ds.FileSystemDataset(group, schema, form).to_table(columns=wanted, filter=condition)
            for group in self._depot.groups(_parts(files), form, schema, wanted)
        ]
        if not found:
            return schema.empty_table().select(wanted)
        return found[0] if len(found) == 1 else pa.concat_tables(found)

    @contextlib.contextmanager
    def nearby(self, files: Sequence[DataFile]) -> Iterator[ds.Dataset]:
        """Have some files at hand, to scan them more than once; ``date`` is not in them.

        Args:
            files: Files of the table.
        """
        with self._depot.nearby(_parts(files)) as root:
            here = pyarrow.fs.SubTreeFileSystem(str(root), pyarrow.fs.LocalFileSystem())
            paths, form = [file.path for file in files], ds.ParquetFileFormat()
            yield ds.FileSystemDataset.from_paths(paths, schema=self.layout.schema, format=form, filesystem=here)

    def write(self, rows: pa.Table) -> list[DataFile]:
        """Write rows of any dates, a file for each date.

        Args:
            rows: The columns of the table.
        """
        if not self.layout.partitioned:
            return self._write("", rows) if len(rows) else []
        dates = sorted(rows["date"].unique().to_pylist())
        rest = rows.drop_columns("date")
        if len(dates) == 1:
            return self._write(dates[0], rest)
        return [file for date in dates for file in self._write(date, rest.filter(pc.equal(rows["date"], date)))]

    def _write(self, date: str, rows: pa.Table) -> list[DataFile]:
        # Nobody asks for the range of computed numbers, so one group serves as well as many.
        group_rows = len(rows) if self.layout.computed else GROUP_ROWS
        return list(self.write_parts(date, iter([rows]), group_rows, most_bytes=0))

    def write_parts(self, date: str, parts: Iterable[pa.Table], group_rows: int, most_bytes: int) -> Iterator[DataFile]:
        """Write rows of one date, part after part.

        Args:
            date: The date; empty for a table without dates.
            parts: Rows without the column ``date``, in the order they are to have.
            group_rows: Most rows in a row group.
            most_bytes: A file that has reached this size is closed, and the next part begins another.

        Yields:
            The files, as they are complete.
        """
        open_file: _OpenFile | None = None
        try:
            for part in parts:
                open_file = open_file or _OpenFile.create(self._depot, self.layout, date, part.schema)
                open_file.append(part, group_rows)
                if open_file.size >= most_bytes:
                    file, open_file = open_file.close(), None
                    yield file
            if open_file is not None:
                file, open_file = open_file.close(), None
                yield file
        except OSError:  # such as a full disk; what was written of the file only takes room
            if open_file is not None:
                open_file.discard()
            raise

    def remove(self, files: Iterable[DataFile]) -> None:
        """Remove files that no commit has ever named."""
        for file in files:
            self._depot.remove(file.path)

    def sizes(self, paths: Iterable[str]) -> list[int]:
        """Bytes of each of these files, 0 for what is not there."""
        return self._depot.sizes(paths)

    @property
    def _depot(self) -> Depot:
        return depot(self.uri, self.options)


def _coded(schema: pa.Schema) -> pa.Schema:
    place = schema.get_field_index("device")
    coded = pa.dictionary(pa.int32(), schema.field(place).type)
    return schema.set(place, schema.field(place).with_type(coded))


def _read_form(*, coded: bool) -> ds.ParquetFileFormat:
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    columns = {"device"} if coded else set()
    return ds.ParquetFileFormat(dictionary_columns=columns, default_fragment_scan_options=options)


def _parts(files: Iterable[DataFile]) -> list[Part]:
    return [Part(file.path, file.size, file.date) for file in files]


@dataclass(slots=True)
class _OpenFile:
    """A file that is being written."""

    depot: Depot
    layout: Layout
    date: str
    path: str
    sink: pa.NativeFile
    writer: pq.ParquetWriter
    rows: int = 0
    ranges: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @classmethod
    def create(cls, depot: Depot, layout: Layout, date: str, schema: pa.Schema) -> "_OpenFile":
        path = f"date={date}/part-{uuid.uuid4()}.parquet" if date else f"part-{uuid.uuid4()}.parquet"
        sink = depot.begin(path)
        writer = pq.ParquetWriter(sink, schema, **_form(layout, schema.names))
        return cls(depot, layout, date, path, sink, writer)

    @property
    def size(self) -> int:
        return int(self.sink.tell())

    def append(self, part: pa.Table, group_rows: int) -> None:
        self.writer.write_table(part, row_group_size=max(group_rows, 1))
        self.rows += len(part)
        for name in self.layout.statistics:
            found = pc.min_max(part[name]).as_py()
            low, high = self.ranges.get(name, (None, None))
            self.ranges[name] = _known(min, low, found["min"]), _known(max, high, found["max"])

    def discard(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self.sink.close()
        with contextlib.suppress(OSError):
            self.depot.remove(self.path)

    def close(self) -> DataFile:
        self.writer.close()
        size, modified_ms = self.depot.finish(self.path, self.sink)
        lows = {name: _shortened(low, "") for name, (low, _) in self.ranges.items()}
        highs = {name: _shortened(high, _LAST) for name, (_, high) in self.ranges.items()}
        return DataFile(self.path, self.date, size, self.rows, modified_ms, lows, highs)


def _form(layout: Layout, names: Sequence[str]) -> dict[str, Any]:
    """How the columns of a file are written."""
    if layout.computed:  # such numbers hardly ever repeat, and nobody asks for their range
        keys = list(layout.statistics)
        return {"compression": "lz4", "use_dictionary": keys, "write_statistics": keys, "write_page_checksum": True}
    steady = [name for name in names if name in STEADY]
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [name for name in names if name not in STEADY],
        "column_encoding": dict.fromkeys(steady, "DELTA_BINARY_PACKED"),
        "dictionary_pagesize_limit": DICTIONARY_BYTES,
        "max_rows_per_page": PAGE_ROWS,
        "write_page_checksum": True,
    }


def _shortened(bound: Any, ending: str) -> Any:
    """A bound as the table's log keeps it: of a long text the beginning, and behind it what keeps it a bound.

    Without a bound the engine would leave the file out whenever somebody asks for the column.
    """
    if not isinstance(bound, str) or len(bound) <= _MOST_STATED or bound[_MOST_STATED:] >= _LAST:
        return bound
    return bound[:_MOST_STATED] + ending


def _known(choose: Callable[..., Any], *values: Any) -> Any:
    return choose((value for value in values if value is not None), default=None)


def loads(files: Iterable[DataFile], most_rows: int) -> list[list[DataFile]]:
    """Deal files out in loads of one date each, with at most so many rows; a larger file is a load of its own.

    Example:
        >>> files = [DataFile(str(number), date, 1, 4) for number, date in enumerate(["d1", "d2", "d1", "d1"])]
        >>> [[file.path for file in load] for load in loads(files, 8)]
        [['0', '2'], ['3'], ['1']]
    """
    dealt: list[list[DataFile]] = []
    rows = 0
    for file in sorted(files, key=lambda file: (file.date, file.lows.get("time", 0))):
        if not dealt or file.date != dealt[-1][-1].date or rows + file.rows > most_rows:
            dealt.append([])
            rows = 0
        dealt[-1].append(file)
        rows += file.rows
    return dealt
