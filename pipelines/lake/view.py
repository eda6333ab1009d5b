"""Reading one version of a table."""

import bisect
import functools
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines import tables
from pipelines.datafile import DataFile, Folder
from pipelines.errors import LakeError
from pipelines.lake.engine import translated, whole

_READER_VERSION: Final = 3
_KNOWN_FEATURES: Final = {"timestampNtz"}


class View:
    """One version of a table, to read from.

    Args:
        folder: Where the table lies, and how it is laid out.
        delta: The version, as the engine holds it.
    """

    def __init__(self, folder: Folder, delta: DeltaTable) -> None:
        self._folder, self._uri, self._layout = folder, folder.uri, folder.layout
        self._delta = delta
        self._numbers: dict[str, int] = {}
        self.version: int = delta.version()

    @property
    def columns(self) -> list[str]:
        """The names of the columns in this version."""
        return [field.name for field in self._delta.schema().fields]

    @property
    def layout(self) -> tables.Layout:
        """How the table is laid out, with the columns that this version really has."""
        return replace(self._layout, schema=pa.schema(self._delta.schema().to_arrow()))

    @property
    def removes_log_entries(self) -> bool:
        """Whether whoever writes a checkpoint removes old log entries at once, before the checkpoint is durable."""
        configuration = self._delta.metadata().configuration
        return bool(configuration.get("delta.enableExpiredLogCleanup") != "false")

    def transaction(self, writer: str) -> int:
        """The number of the latest commit of this writer, 0 if it never committed; the log is read once for each."""
        if writer not in self._numbers:
            with translated(self._uri):
                self._numbers[writer] = int(self._delta.transaction_version(writer) or 0)
        return self._numbers[writer]

    def dates(self) -> list[str]:
        """The dates there are rows of, sorted."""
        return sorted(self._stated["partition.date"].unique().to_pylist())

    def row_counts(self) -> dict[str, int]:
        """How many rows each date has, by date."""
        (counts,) = self._by_date(("num_records", "sum"))
        return counts

    def ranges(self, column: str) -> dict[str, tuple[int, int]]:
        """The smallest and largest value of a column on each date, as the files state them; see `tables.Layout`."""
        lows, highs = self._by_date((f"min.{column}", "min"), (f"max.{column}", "max"))
        return {date: (low, highs[date]) for date, low in lows.items()}

    def _by_date(self, *totals: tuple[str, str]) -> list[dict[str, Any]]:
        """Totals over the files of each date, by date: each a column and the name of a function."""
        if not len(self._stated):
            return [{} for _ in totals]
        # Threads would take longer to start than these few rows to add up.
        found = self._stated.group_by("partition.date", use_threads=False).aggregate(list(totals))
        found = found.sort_by("partition.date")
        dates = found["partition.date"].to_pylist()
        return [dict(zip(dates, found[f"{name}_{how}"].to_pylist(), strict=True)) for name, how in totals]

    @functools.cached_property
    def _stated(self) -> pa.Table:
        """What the table says of its files, a row for each; asked of the engine once."""
        with translated(self._uri):
            return pa.table(self._delta.get_add_actions(flatten=True))

    def files(self, dates: Collection[str] | None = None) -> list[DataFile]:
        """The files of these dates, or all, sorted by path."""
        found = [file for file in self._named(self._stated) if dates is None or file.date in dates]
        return sorted(found, key=lambda file: file.path)

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits, newest first, with their metadata."""
        return list(self._delta.history(limit))

    def read(
        self,
        columns: Sequence[str] | None = None,
        *,
        dates: Collection[str] | None = None,
        devices: Collection[str] | None = None,
        after: Mapping[str, int] | None = None,
        before: Mapping[str, int] | None = None,
        coded: bool = False,
    ) -> pa.Table:
        """Read rows; files that cannot hold any of them are not opened.

        Args:
            columns: Names of the columns, all by default.
            dates: Only rows of these dates.
            devices: Only rows of these devices.
            after: Only rows whose column is greater than the value, by column.
            before: Only rows whose column is less than the value, by column.
            coded: Give the column ``device`` dictionary-encoded, as the files have it: a third of the time.

        Returns:
            The rows in no particular order.

        Raises:
            TableMissingError: Files of this version are gone.
        """
        conditions = [
            pc.field(name).isin(pa.array(wanted, pa.string()))
            for name, wanted in (("date", dates), ("device", devices))
            if wanted is not None
        ]
        conditions += [pc.field(name) > value for name, value in (after or {}).items()]
        conditions += [pc.field(name) < value for name, value in (before or {}).items()]
        condition = functools.reduce(operator.and_, conditions) if conditions else None

        with whole(self._uri, self.version, self._latest):
            self._require_plain()
            files = self._holding(dates, devices, after or {}, before or {})
            folder = replace(self._folder, layout=self.layout)
            if columns is None:
                return folder.read(files, None, condition, coded=coded)
            asked = [*(["device"] if devices is not None else []), *(["date"] if dates is not None else [])]
            needed = dict.fromkeys([*columns, *asked, *(after or {}), *(before or {})])
            return folder.read(files, list(needed), condition, coded=coded).select(list(columns))

    def _holding(
        self,
        dates: Collection[str] | None,
        devices: Collection[str] | None,
        after: Mapping[str, int],
        before: Mapping[str, int],
    ) -> list[DataFile]:
        """The files that may hold such rows, by what the table says of them."""
        stated = self._stated
        if not len(stated):
            return []
        known = set(stated.column_names)
        may = [pc.is_in(stated["partition.date"], pa.array(dates, pa.string()))] if dates is not None else []
        may += [pc.greater(stated[f"max.{name}"], least) for name, least in after.items() if f"max.{name}" in known]
        may += [pc.less(stated[f"min.{name}"], most) for name, most in before.items() if f"min.{name}" in known]
        if devices is not None and "min.device" in known:
            may.append(_any_between(sorted(devices), stated["min.device"], stated["max.device"]))
        if may:  # a file that says nothing of a column may hold anything
            stated = stated.filter(functools.reduce(pc.and_, (pc.fill_null(each, True) for each in may)))
        return self._named(stated)

    def _latest(self) -> int:
        """The number of the newest version, which others may have made since this one was opened."""
        with translated(self._uri):
            return int(DeltaTable(self._uri, storage_options=dict(self._folder.options) or None).version())

    def _named(self, stated: pa.Table) -> list[DataFile]:
        kept = self._layout.statistics
        return [
            DataFile(
                file["path"],
                file.get("partition.date", ""),
                file["size_bytes"],
                file["num_records"],
                file["modification_time"],
                {name: file.get(f"min.{name}") for name in kept},
                {name: file.get(f"max.{name}") for name in kept},
            )
            for file in stated.to_pylist()
        ]

    def _require_plain(self) -> None:
        """Refuse a table whose rows are not simply those of its files, such as Spark makes when it is told to.

        Raises:
            LakeError: It was written with features that this program does not know.
        """
        protocol = self._delta.protocol()
        strange = sorted({*(protocol.reader_features or ())} - _KNOWN_FEATURES)
        if strange or protocol.min_reader_version > _READER_VERSION:
            raise LakeError(
                f"the table needs a reader of version {protocol.min_reader_version} {strange}".replace(" []", ""),
                where=self._uri,
                why="another program has written to it with features that are not read here",
                fix="have that program write without them",
            )


def _any_between(names: Sequence[str], lows: pa.ChunkedArray, highs: pa.ChunkedArray) -> pa.ChunkedArray:
    """For each pair of ends whether one of the sorted names lies between; null where there are no ends."""
    found: list[bool | None] = []
    for low, high in zip(lows.to_pylist(), highs.to_pylist(), strict=True):
        if low is None or high is None:
            found.append(None)
            continue
        place = bisect.bisect_left(names, low)
        found.append(place < len(names) and names[place] <= high)
    return pa.chunked_array([pa.array(found, pa.bool_())])
