"""Rows go out of a table and others come in, in one commit; only files that hold such rows are written anew."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipelines.datafile import DataFile, Folder
from pipelines.errors import CommitConflictError
from pipelines.lake import Snapshot, Table
from pipelines.unique import Rule

_GROUP_ROWS: Final = 2**18
_LARGE_BYTES: Final = 64 * 1024 * 1024


def amend(
    table: Table,
    snapshot: Snapshot,
    rule: Rule,
    removed: pa.Table,
    added: pa.Table,
    *,
    now_us: int,
    transaction: tuple[str, int],
    metadata: Mapping[str, Any],
) -> int:
    """Take rows out and put rows in.

    Args:
        table: The telemetry.
        snapshot: The version of it that the change was made for.
        rule: Says what the keys of rows are.
        removed: The keys of the rows to take out: date, device, time, sequence.
        added: The rows to put in, sorted by device and time.
        now_us: The clock, UTC microseconds; files that are taken out are cleaned away by it.
        transaction: See `pipelines.lake.Snapshot.append`.
        metadata: Kept with the commit.

    Returns:
        The version this made.

    Raises:
        CommitConflictError: Another commit was faster; nothing was changed.
    """
    folder = replace(table.folder, layout=snapshot.layout)
    gone: list[DataFile] = []
    written: list[DataFile] = []
    for date in sorted(removed["date"].unique().to_pylist()):
        keys = removed.filter(pc.equal(removed["date"], date))
        reach = pc.min_max(keys["time"]).as_py()
        for file in snapshot.files([date]):
            if not file.may_hold(reach["min"], reach["max"]):
                continue
            with folder.nearby([file]) as found:
                if any(mask.any() for _, mask in _marked(found, rule, keys, ["device", "time", "sequence"])):
                    gone.append(file)
                    rest = _rest(found, rule, keys, _columns(folder))
                    written += folder.write_parts(date, rest, _GROUP_ROWS, _LARGE_BYTES)
    for date in sorted(added["date"].unique().to_pylist()):
        rows = added.filter(pc.equal(added["date"], date)).drop_columns("date")
        written += folder.write_parts(date, [rows.select(_columns(folder))], _GROUP_ROWS, _LARGE_BYTES)
    try:
        return snapshot.exchange(gone, written, now_us, transaction=transaction, metadata=metadata)
    except CommitConflictError:
        table.discard(written)
        raise


def _rest(found: ds.Dataset, rule: Rule, keys: pa.Table, columns: Sequence[str]) -> Iterator[pa.Table]:
    for batch, mask in _marked(found, rule, keys, columns):
        rest = batch.filter(pa.array(~mask))
        if len(rest):
            yield rest


def _marked(
    found: ds.Dataset, rule: Rule, keys: pa.Table, columns: Sequence[str]
) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """The rows of a file, some at a time, and which of them have one of the keys."""
    scanner = found.scanner(columns=list(columns), batch_readahead=2, fragment_readahead=1)
    for batch in scanner.to_batches():
        rows = pa.Table.from_batches([batch])
        theirs, ours = rule.keys(rows, keys)
        yield rows, np.isin(theirs, ours)


def _columns(folder: Folder) -> list[str]:
    return [name for name in folder.layout.schema.names if name != "date"]
