"""The pane stage: Parquet files of telemetry in, panes out, row group by row group and on several threads.

A row group of a file that the lake wrote is decoded in one batch, a larger one in several, and each batch is summed up
in panes. Panes leave as soon as they are complete, so memory grows with what is open and not with what was read: a pane
is held back only while a row group is still to come that may hold readings of it, by the ranges of device and time that
Parquet states for each row group. Files sorted by device, files sorted by time and files that overlap are all read the
same way; they differ in how many panes stay open.

Why so:
    * Statistics decide, not the order of the files. Status: accepted. An order that a writer promises is broken by the
      first late file, and nothing would say so. Cost: a file without statistics holds back everything until its end.
    * Threads over row groups. Status: accepted. Decoding and summing up run without the interpreter's lock. Cost: the
      batches of one row group, and its panes, are in memory once for each thread.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.featureset import FeatureSet
from features.panetable import Column, PaneTable, merge_tables, panes_of, unresolved
from pipelines.devices import Devices

_BATCH_ROWS: Final = 2**18  # a row group of the lake: what is done once for each batch costs more than the cache saves
_NOWHERE: Final = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group of a file, and where its readings can lie.

    Args:
        path: The file.
        number: Which of its row groups.
        times: The earliest and the latest event time, UTC microseconds.
        devices: The first and the last device by name; None where the file does not say.
    """

    path: str
    number: int
    times: tuple[int, int]
    devices: tuple[str, str] | None

    def may_hold(self, name: str) -> bool:
        """Tell whether readings of a device may be inside."""
        return self.devices is None or self.devices[0] <= name <= self.devices[1]


def panes_of_files(
    files: Sequence[str], features: FeatureSet, devices: Devices, threads: int = 1
) -> Iterator[PaneTable]:
    """Sum up the readings of Parquet files.

    Args:
        files: Paths on the local disk. Columns ``device`` (text), ``time`` (int64, UTC microseconds) and one float64
            for each signal. No two rows of all files share device and time.
        features: Says how long a pane is, and which signals there are.
        devices: Gives the codes of the devices, and learns new names as they appear.
        threads: How many row groups are worked on at a time.

    Yields:
        Complete panes, each exactly once, in tables sorted by device and start; the tables have no order among them.

    Raises:
        pyarrow.ArrowException: A file is damaged or lacks a column.
    """
    stage = _Stage(features, devices)
    groups = [group for path in files for group in _row_groups(path)]
    held: list[PaneTable] = []
    for done, partials in enumerate(stage.of_groups(groups, threads), start=1):
        to_come = groups[done:]
        waiting = []
        for partial in partials:
            fresh, rest = _split(partial, _waits(partial, held, to_come, devices, features.pane_us))
            if len(fresh.start):
                yield fresh
            waiting.append(rest)
        # Held parts are merged at the end, all at once: only in the order of time do they know their changes.
        pieces = [_split(part, _waits(part, [], to_come, devices, features.pane_us)) for part in (*held, *waiting)]
        held = [rest for _, rest in pieces if len(rest.start)]
        complete = [ready for ready, _ in pieces if len(ready.start)]
        if complete:
            yield stage.merged(complete, groups)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What is the same for all row groups."""

    features: FeatureSet
    devices: Devices

    @property
    def columns(self) -> list[str]:
        return ["device", "time", *self.features.fleet.signal_names]

    def of_groups(self, groups: Sequence[RowGroup], threads: int) -> Iterator[list[PaneTable]]:
        """The panes of each row group, in the order of the row groups."""
        if threads == 1:
            yield from map(self.of_group, groups)
            return
        with ThreadPoolExecutor(threads, thread_name_prefix="panes") as pool:
            waiting = iter(groups)
            # One more than there are threads: the next is ready to start while the consumer is busy with a result.
            running: deque[Future[list[PaneTable]]] = deque(
                pool.submit(self.of_group, group) for group in itertools.islice(waiting, threads + 1)
            )
            while running:
                partials = running.popleft().result()
                running.extend(pool.submit(self.of_group, group) for group in itertools.islice(waiting, 1))
                yield partials

    def of_group(self, group: RowGroup) -> list[PaneTable]:
        """The panes of one row group, each in one of the tables."""
        partials = []
        # The text of a device is decoded once for each device, not for each reading: that is half of the decoding.
        with pq.ParquetFile(group.path, read_dictionary=["device"]) as file:
            batches = file.iter_batches(_BATCH_ROWS, [group.number], self.columns, use_threads=False)
            for batch in batches:
                names, times, *values = batch.columns
                codes = self.devices.codes(names.dictionary)[names.indices.to_numpy()]
                columns = [column_of(each) for each in values]
                partials.append(panes_of(self.features, codes, times.to_numpy(), columns))
        return self._joined(partials, group)

    def _joined(self, partials: Sequence[PaneTable], group: RowGroup) -> list[PaneTable]:
        """Partial tables made to share no pane.

        Where rows come by device and time, only the panes that a batch cut are touched: copying all states to merge
        them would cost half as much as summing them up.
        """
        if any(_key(left, -1) > _key(right, 0) for left, right in itertools.pairwise(partials)):
            return [self.merged(partials, [group])]
        joined: list[PaneTable] = []
        for partial in partials:
            if joined and _key(joined[-1], -1) == _key(partial, 0):
                before = joined.pop()
                cut = self.merged([_take(before, slice(-1, None)), _take(partial, slice(0, 1))], [group])
                joined += [_take(before, slice(-1)), cut, _take(partial, slice(1, None))]
            else:
                joined.append(partial)
            joined = [table for table in joined if len(table.start)]
        return joined

    def merged(self, parts: Sequence[PaneTable], groups: Sequence[RowGroup]) -> PaneTable:
        """Merge parts; where those of a pane interleave in time, sum up its readings in ``groups`` once more."""
        table = merge_tables(self.features, parts)
        places = np.flatnonzero(unresolved(table))
        if not len(places):
            return table
        lost = _take(table, places)
        again = self._once_more(lost, groups)
        rows = {key: row for row, key in enumerate(zip(again.device.tolist(), again.start.tolist(), strict=True))}
        table.state[places] = again.state[
            [rows[key] for key in zip(lost.device.tolist(), lost.start.tolist(), strict=True)]
        ]
        return table

    def _once_more(self, lost: PaneTable, groups: Sequence[RowGroup]) -> PaneTable:
        codes = np.unique(lost.device)
        names = self.devices.names.take(pa.array(codes)).to_pylist()
        begin, end = int(lost.start.min()), int(lost.start.max()) + self.features.pane_us
        inside = (pc.field("time") >= begin) & (pc.field("time") < end) & pc.field("device").isin(names)
        found = []
        for group in _overlapping(groups, lost, self.features.pane_us):
            if any(group.may_hold(name) for name in names):
                file = pq.ParquetFile(group.path)
                found.append(file.read_row_group(group.number, self.columns, use_threads=False).filter(inside))
        device, times, *values = pa.concat_tables(found).combine_chunks().columns
        owners = codes[pc.index_in(device, pa.array(names)).to_numpy()]
        columns = [column_of(each.chunk(0)) for each in values]
        return panes_of(self.features, owners, times.to_numpy(), columns)


def _row_groups(path: str) -> list[RowGroup]:
    metadata = pq.read_metadata(path)
    columns = {metadata.schema.column(number).path: number for number in range(len(metadata.schema))}
    groups = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        times, names = (group.column(columns[name]).statistics for name in ("time", "device"))
        groups.append(
            RowGroup(
                path,
                number,
                (times.min, times.max) if times is not None and times.has_min_max else _NOWHERE,
                (names.min, names.max) if names is not None and names.has_min_max else None,
            )
        )
    return groups


def _key(table: PaneTable, row: int) -> tuple[int, int]:
    return int(table.device[row]), int(table.start[row])


def column_of(array: pa.Array) -> Column:
    """The memory of an Arrow array of float64 as it is, not copied."""
    validity, data = array.buffers()
    values = np.frombuffer(data, np.float64, len(array), array.offset * 8)
    bits = None if validity is None or not array.null_count else np.frombuffer(validity, np.uint8)
    return Column(values, bits, array.offset)


def _waits(
    table: PaneTable, held: Sequence[PaneTable], to_come: Sequence[RowGroup], devices: Devices, pane_us: int
) -> NDArray[np.bool_]:
    """Which panes are not complete: more of them is held already, or may be in a row group to come."""
    waits = np.zeros(len(table.start), bool)
    if not len(waits):
        return waits
    for part in held:
        near = (table.start >= part.start.min()) & (table.start <= part.start.max())
        waits |= near & np.isin(table.device, np.unique(part.device))
    codes = np.unique(table.device)
    names = devices.names.take(pa.array(codes)).to_pylist()
    low, high = min(names), max(names)
    for group in _overlapping(to_come, table, pane_us):
        begin, end = group.times
        if group.devices is None or (group.devices[0] <= high and group.devices[1] >= low):
            named = np.zeros(int(codes[-1]) + 1, bool)
            named[codes] = [group.may_hold(name) for name in names]
            waits |= (table.start > begin - pane_us) & (table.start <= end) & named[table.device]
    return waits


def _overlapping(groups: Iterable[RowGroup], table: PaneTable, pane_us: int) -> Iterator[RowGroup]:
    """The row groups whose range of time reaches that of some panes."""
    first, last = int(table.start.min()), int(table.start.max())
    for group in groups:
        begin, end = group.times
        if begin < last + pane_us and end >= first:
            yield group


def _split(table: PaneTable, waits: NDArray[np.bool_]) -> tuple[PaneTable, PaneTable]:
    """The panes that do not wait, and those that do."""
    return _select(table, ~waits), _select(table, waits)


def _select(table: PaneTable, chosen: NDArray[np.bool_]) -> PaneTable:
    """Some rows; neighbours are not copied."""
    rows = np.flatnonzero(chosen)
    dense = len(rows) and rows[-1] - rows[0] + 1 == len(rows)
    return _take(table, slice(int(rows[0]), int(rows[-1]) + 1) if dense else rows)


def _take(table: PaneTable, rows: slice | NDArray[np.intp]) -> PaneTable:
    counts = None if table.counts is None else table.counts[rows]
    return PaneTable(table.device[rows], table.start[rows], table.state[rows], counts)
