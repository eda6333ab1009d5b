"""Text files of data sets, plain or gzipped, row by row; whatever cannot be read is named with its file and line."""

import contextlib
import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TypeVar

from pipelines.errors import ImportFileError, ImportFolderError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST_NAMES = 20  # of what a folder holds, in a message

_Row = TypeVar("_Row")


class Table:
    """One file of rows under a header.

    Args:
        path: The file; the ending ``.gz`` says that it is gzipped.
        delimiter: What stands between the fields.

    Raises:
        ImportFileError: The first line cannot be read.
    """

    def __init__(self, path: Path, *, delimiter: str = ",") -> None:
        self._path = path
        self._delimiter = delimiter
        with blamed(path, lambda: 1), open_text(path) as file:
            self.header = next(csv.reader(file, delimiter=delimiter), [])

    def places(self, columns: Sequence[str]) -> list[int]:
        """Where columns stand.

        Raises:
            ImportFileError: Some are missing; all of them in one sentence.
        """
        absent = [column for column in columns if column not in self.header]
        if absent:
            raise ImportFileError(
                f"columns are missing: {', '.join(absent)}",
                where=f"{self._path}:1",
                why=f"found: {', '.join(self.header) or 'nothing'}",
            )
        return [self.header.index(column) for column in columns]

    def rows(self, convert: Callable[[list[str]], _Row]) -> Iterator[_Row]:
        """Every row, converted.

        Raises:
            ImportFileError: A row is too short, or ``convert`` raised ValueError or LookupError on it.
        """
        reader = None
        with blamed(self._path, lambda: reader.line_num if reader else 1), open_text(self._path) as file:
            reader = csv.reader(file, delimiter=self._delimiter)
            next(reader, None)
            for row in reader:
                if row:
                    yield convert(row)


def converted(path: Path, convert: Callable[[str], _Row], *, skip: int = 0) -> Iterator[_Row]:
    """Lines of a file that are not blank, converted; ``skip`` lines are passed over first.

    Raises:
        ImportFileError: The file cannot be read, or ``convert`` raised ValueError or LookupError on a line.
    """
    line = 0
    with blamed(path, lambda: line), open_text(path) as file:
        for text in file:
            line += 1
            if line > skip and text.strip():
                yield convert(text)


@contextlib.contextmanager
def blamed(path: Path, line: Callable[[], int]) -> Iterator[None]:
    """Turn what goes wrong while a file is read into an error that names the place.

    Raises:
        ImportFileError: In place of errors of values, of the file and of its compression.
    """
    try:
        yield
    except (ValueError, LookupError, EOFError, OSError, zlib.error, csv.Error) as error:
        raise ImportFileError("a row cannot be read", where=f"{path}:{line()}", why=str(error)) from error


def open_text(path: Path) -> IO[str]:
    """Open a file for reading, through gzip where its name ends so."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def files(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder that match a pattern, plain or with ``.gz`` behind it, in the order of their names."""
    return sorted([*folder.glob(pattern), *folder.glob(f"{pattern}.gz")])


def missing(folder: Path, wanted: Sequence[str]) -> ImportFolderError:
    """The error that names all files that are missing, and what is there."""
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:_MOST_NAMES]) if folder.is_dir() else ""
    return ImportFolderError(
        f"the data set is not complete: {', '.join(wanted)} missing",
        where=str(folder),
        why=f"found: {there or ('nothing' if folder.is_dir() else 'no such folder')}",
        fix="put the files there, as they were published or with .gz behind the name, or name the folder that has them",
    )


def moment(text: str) -> int:
    """A time without a zone, as UTC microseconds.

    Example:
        >>> moment("1970-01-01 00:00:01.5")
        1500000
    """
    found = datetime.fromisoformat(text)
    return (found.replace(tzinfo=found.tzinfo or UTC) - _EPOCH) // _MICROSECOND


def number(text: str) -> float | int:
    """A finite number, whole ones as such.

    Raises:
        ValueError: It is none; JSON has no word for the others.

    Example:
        >>> number("392"), number(" 1589.70")
        (392, 1589.7)
    """
    text = text.strip()
    if text.isdecimal():
        return int(text)
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text} is no finite number")
    return found
