"""Files become raw objects byte for byte, for formats that the fleet's own mapping reads."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipelines.errors import ImportFileError, ImportOptionError
from pipelines.importers.arrivals import Progress
from pipelines.importers.hub import object_name
from serving.store import Store

MOST_BYTES: Final = 512 * 1024 * 1024  # of one file: ingest unpacks no more than that either


def copy(
    store: Store, fleet: str, paths: Iterable[Path], arrived_us: int, *, progress: Progress | None = None
) -> tuple[list[str], int]:
    """Copy files below ``raw/<fleet>/telemetry/`` under the hour of their arrival.

    Args:
        store: Where to.
        fleet: For which fleet.
        paths: The files.
        arrived_us: When they arrived, UTC microseconds: now, for whoever has them only now.
        progress: Called with (stage, files done, files in all).

    Returns:
        Keys that were written, and how many were there already: a file of this name, in whatever hour.

    Raises:
        ImportFileError: A file is too large or cannot be read.
        ImportOptionError: Two files have one name.
    """
    files = sorted(paths, key=lambda path: path.name)
    for one, other in itertools.pairwise(files):
        if object_name(one) == object_name(other):
            raise ImportOptionError(
                f"two files are called {object_name(one)}", where=str(other), fix="rename one of them"
            )
    there = {entry.key.rpartition("/")[2] for entry in store.list(f"raw/{fleet}/telemetry/")}
    hour = datetime.fromtimestamp(arrived_us // 1_000_000, UTC)
    written, unchanged = [], 0
    for done, path in enumerate(files, start=1):
        if object_name(path) in there:
            unchanged += 1
        else:
            key = f"raw/{fleet}/telemetry/{hour:%Y/%m/%d/%H}/{object_name(path)}"
            store.put(key, _read(path))
            written.append(key)
        if progress:
            progress("copy files", done, len(files))
    return written, unchanged


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ImportFileError(
                f"the file is larger than {MOST_BYTES >> 20} MiB",
                where=str(path),
                fix="leave out --as-is and give a mapping file: rows are then written hour by hour",
            )
        return path.read_bytes()
    except OSError as error:
        raise ImportFileError("the file cannot be read", where=str(path), why=str(error)) from error
