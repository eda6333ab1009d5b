"""The bytes of a Parquet file that some of its columns take, fetched from a store without the others.

What comes is a buffer of the size of the file in which only these bytes and the description at its end are set, so that
it is read like the file itself. Whoever reads a few columns of a wide table fetches, and touches, a few parts in it.
"""

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import LakeError
from serving.store import Ranged

_TAIL: Final = 64 * 1024  # holds the description of most files
_FOOTER: Final = 8  # the length of the description, and the mark at the end
_MARK: Final = b"PAR1"
_GAP: Final = 256 * 1024  # to fetch such a gap takes no longer than to ask again


def excerpt(store: Ranged, key: str, size: int, columns: Collection[str]) -> tuple[pa.Buffer, int] | None:
    """Fetch the bytes of some columns.

    Args:
        store: Where the file lies.
        key: Its key.
        size: Its bytes.
        columns: Names of columns; the file may lack some.

    Returns:
        The buffer, and how many bytes were fetched; None where that would be most of the file.

    Raises:
        LakeError: It is no Parquet file of this size.
        StoreError: The store fails.
    """
    start = max(size - _TAIL, 0)
    tail = store.part(key, start, size - start)
    length = int.from_bytes(tail[-_FOOTER:-4], "little") + _FOOTER
    if tail[-4:] != _MARK or length > size:
        raise LakeError("a data file is no Parquet file", where=key, why="something else has written or cut it")
    if length > len(tail):
        start = size - length
        tail = store.part(key, start, length)
    wanted = list(_joined(pq.read_metadata(pa.BufferReader(tail)), columns))
    fetched = sum(end - begin for begin, end in wanted)
    if 2 * fetched > size:
        return None
    buffer = pa.allocate_buffer(size)
    view = np.frombuffer(buffer, np.uint8)
    view[start:] = np.frombuffer(tail, np.uint8)
    for begin, end in wanted:
        view[begin:end] = np.frombuffer(store.part(key, begin, end - begin), np.uint8)
    return buffer, fetched + len(tail)


def _joined(metadata: pq.FileMetaData, columns: Collection[str]) -> Iterator[tuple[int, int]]:
    """Where these columns lie, first and after the last byte; what lies near each other is one part."""
    spans = sorted(
        (begin, begin + chunk.total_compressed_size)
        for group in map(metadata.row_group, range(metadata.num_row_groups))
        for chunk in map(group.column, range(group.num_columns))
        if _is_of(chunk.path_in_schema, columns)
        for begin in [chunk.dictionary_page_offset or chunk.data_page_offset]
    )
    begin = end = 0
    for low, high in spans:
        if end and low - end > _GAP:
            yield begin, end
            end = 0
        begin, end = (begin, max(end, high)) if end else (low, high)
    if end:
        yield begin, end


def _is_of(path: str, columns: Collection[str]) -> bool:
    """Whether a leaf belongs to one of the columns; those of a list have its name, a dot, and more behind it."""
    return path in columns or any(path.startswith(f"{name}.") for name in columns)
