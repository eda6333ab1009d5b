"""CSV, wide or long, with or without a header, with any delimiter."""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv

from features.mapping import Mapping
from features.path import Field
from features.quotes import NULL_TEXTS
from pipelines.formats.columns import Refused, type_of
from pipelines.formats.plan import Plan, Scope, compile_plan
from pipelines.formats.rendering import as_json
from pipelines.formats.sources import Columns, TableColumns
from pipelines.formats.unpacking import UnreadableError
from pipelines.records import chosen
from pipelines.salvage import UNREADABLE

_MOST_COLUMNS = 10_000
_MARK = b"\xef\xbb\xbf"
_BLANKS = " "
_HEXADECIMAL = re.compile(rb"(?<![A-Za-z0-9_])0[xX]")  # Arrow reads such numbers, nobody else does

Cells = list[str]


class CsvText:
    """Lines of cells.

    Args:
        body: The text.
        mapping: Its columns and delimiter; without columns the first line is the header.

    Raises:
        UnreadableError: The header cannot be one.
    """

    quoted = True
    broken = "The line has another number of cells than there are columns."

    def __init__(self, body: bytes, mapping: Mapping) -> None:
        self._body = body.removeprefix(_MARK)
        self._shift = len(body) - len(self._body)
        self._mapping = mapping
        self._headed = not mapping.columns
        self._names = list(mapping.columns) if mapping.columns else self._header()
        if len(self._names) > _MOST_COLUMNS:
            raise UnreadableError(f"The object has {len(self._names)} columns; {_MOST_COLUMNS} are read at most.")
        if len(set(self._names)) < len(self._names):
            twice = next(name for name in self._names if self._names.count(name) > 1)
            raise UnreadableError(f"Two columns of the object have the name '{twice[:40]}'.")

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self._names

    def columns(self, plan: Plan) -> Columns:
        """See `Container`."""
        begin = 0
        if self._headed:
            found = self._lines()
            next(found, None)
            begin = next(found, (len(self._body), 0, []))[0]
        body = memoryview(self._body)[begin:]
        if self._mapping.delimiter == _BLANKS or _HEXADECIMAL.search(body) or not "".join(self._names).isprintable():
            raise Refused
        types = {}
        for place in plan.leaves:
            if place.scope is Scope.RECORD and len(place.steps) == 1 and isinstance(place.steps[0], Field):
                types[place.steps[0].name] = type_of(place, plan, quoted=False)
        if not len(body):
            return TableColumns(pa.schema(list(types.items())).empty_table())
        convert = pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=[name for name in types if name in self._names] or self._names[:1],
            null_values=sorted(NULL_TEXTS),
            strings_can_be_null=False,
        )
        reading = pyarrow.csv.ReadOptions(use_threads=False, column_names=self._names, block_size=len(body) + 1)
        parsing = pyarrow.csv.ParseOptions(delimiter=self._mapping.delimiter, newlines_in_values=True)
        try:
            table = pyarrow.csv.read_csv(pa.BufferReader(body), reading, parsing, convert)
        except pa.ArrowException:
            raise Refused from None
        return TableColumns(table, dict.fromkeys(set(self._names) - set(table.column_names), len(table)))

    def values(self) -> Iterator[object]:
        """See `Container`."""
        width = len(self._names)
        for _, _, cells in self._records():
            yield dict(zip(self._names, cells, strict=True)) if len(cells) == width else UNREADABLE

    def locate(self, records: Sequence[int], count: int) -> Iterator[tuple[int, bytes]]:  # noqa: ARG002 - the port's
        """See `rejects.Container`; a line of another number of cells than the header stays as it is."""
        for begin, end, cells in chosen(self._records(), records):
            fits = len(cells) == len(self._names)
            record = as_json(dict(zip(self._names, cells, strict=True)), self._mapping) if fits else b""
            yield begin + self._shift, record or self._body[begin:end].rstrip(b"\r\n")

    def _records(self) -> Iterator[tuple[int, int, Cells]]:
        return itertools.islice(self._lines(), 1 if self._headed else 0, None)

    def _header(self) -> Cells:
        """The names in the first line; the column of row numbers that some tools leave unnamed is called "#"."""
        first = list(itertools.islice(self._lines(), 2))
        if not first:
            raise UnreadableError("The object holds no line.")
        names = [name.strip() for name in first[0][2]]
        needed = _needed(self._mapping)
        if len(first) == 1 and needed and needed.isdisjoint(names):  # a header would make whatever it is vanish
            told = " or ".join(f"'{name}'" for name in sorted(needed))
            raise UnreadableError(f"The object holds a single line, and it is no header: no column is {told}.")
        if len(first) > 1 and len(first[1][2]) == len(names) + 1:
            names.insert(0, "#")
        return [name or f"#{place}" for place, name in enumerate(names)]

    def _lines(self) -> Iterator[tuple[int, int, Cells]]:
        """Where each line begins and ends, and its cells; none for a line that cannot be taken apart."""
        raw = self._body.splitlines(keepends=True) if b"\r" in self._body else io.BytesIO(self._body)
        begin = end = 0

        def texts() -> Iterator[str]:
            nonlocal end
            for line in raw:
                end += len(line)
                yield line.decode("utf-8", "surrogateescape")

        for cells in _cells(texts(), self._mapping.delimiter):
            if cells is None or cells:
                yield begin, end, cells or []
            begin = end


def _needed(mapping: Mapping) -> set[str]:
    """The columns in which device and time may stand; none where both stand outside of the table."""
    plan = compile_plan(mapping, ())
    places = [*plan.device, *(place for choice in plan.times for place in choice)]
    first = [place.steps[0] for place in places if place.scope is Scope.RECORD and place.steps]
    return {step.name for step in first if isinstance(step, Field)}


def _cells(lines: Iterator[str], delimiter: str) -> Iterator[Cells | None]:
    """The cells of each line or, where a cell goes on, of some; asks for no line before it needs one."""
    if delimiter == _BLANKS:
        yield from map(str.split, lines)
        return
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:  # a NUL, or a cell that never ends
            yield None
