"""What an object is: its packing, its container, and the fields of its records with types, ranges and examples."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from features.mapping import Mapping
from features.quotes import NULL_TEXTS
from pipelines import salvage
from pipelines.formats.avro import AvroFile
from pipelines.formats.csvtext import CsvText
from pipelines.formats.lineprotocol import LineText
from pipelines.formats.rows import Instant
from pipelines.formats.texts import decode_body
from pipelines.formats.unpacking import AVRO, GZIP, PARQUET, ZSTD, UnreadableError, gunzip, unpack, unzstd

MOST_RECORDS = 5000
_MOST_FIELDS = 500
_EXAMPLES = 3
_PEEK = 64 * 1024
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ENVELOPES = ("body", "data", "payload")
_DELIMITERS = (",", ";", "\t", "|")
_NUMERIC = 0.9


@dataclass(slots=True)
class Seen:
    """One field of the records.

    Attributes:
        path: Where it stands, see `features.path`; of what is in an envelope's message, with ``body.`` before it.
        types: How often each type was seen there.
        low: The smallest number.
        high: The largest.
        examples: A few different values.
        texts: Different texts, up to a thousand; numbers of CSV count as numbers.
    """

    path: str
    types: dict[str, int] = field(default_factory=dict)
    low: float = float("inf")
    high: float = float("-inf")
    examples: list[object] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)

    @property
    def count(self) -> int:
        """How often the field holds something."""
        return sum(number for name, number in self.types.items() if name != "null")

    @property
    def is_number(self) -> bool:
        """Whether nearly all of its values are numbers."""
        numbers = self.types.get("integer", 0) + self.types.get("number", 0)
        return self.count > 0 and numbers >= _NUMERIC * self.count

    def add(self, value: object, *, quoted: bool) -> None:
        """Count a value."""
        if quoted and isinstance(value, str):
            value = _number(value)
        kind = _kind(value)
        self.types[kind] = self.types.get(kind, 0) + 1
        if kind == "null":
            return
        if isinstance(value, int | float) and not isinstance(value, bool | Instant) and value == value:  # noqa: PLR0124 - NaN
            self.low, self.high = min(self.low, value), max(self.high, value)
        if isinstance(value, str) and len(self.texts) < 1000:  # noqa: PLR2004 - enough to tell names from remarks
            self.texts.add(value[:200])
        if len(self.examples) < _EXAMPLES and value not in self.examples:
            self.examples.append(value)


@dataclass(frozen=True, slots=True)
class Survey:
    """What an object is.

    Attributes:
        packing: What it is packed in, from the outside in.
        container: What it is, in words.
        reading: The parts of a mapping that follow: format, delimiter, columns.
        size: Bytes, unpacked.
        records: How many were looked at.
        more: Whether there are more.
        unreadable: How many of them were none.
        fields: What stands in them, in the order of appearance.
        envelope: The field that holds a message, if one does.
        keyed: Whether each record is an object of lists of rows, by device.
    """

    packing: tuple[str, ...]
    container: str
    reading: dict[str, Any]
    size: int
    records: int
    more: bool
    unreadable: int
    fields: dict[str, Seen]
    envelope: str
    keyed: bool


def survey(data: bytes) -> Survey:
    """Look at an object.

    Raises:
        UnreadableError: It is empty, damaged or too large.
    """
    packing: list[str] = []
    rest = data
    while rest.startswith((GZIP, ZSTD)) and len(packing) < 3:  # noqa: PLR2004 - unpack says what is wrong beyond
        packing.append("gzip" if rest.startswith(GZIP) else "zstd")
        rest = gunzip(rest) if rest.startswith(GZIP) else unzstd(rest, 2**29)
    body = unpack(data)
    container, reading, values = _records(body)
    found = list(itertools.islice(values, MOST_RECORDS + 1))
    records = [value for value in found[:MOST_RECORDS] if isinstance(value, dict)]
    unreadable = min(len(found), MOST_RECORDS) - len(records)
    keyed = bool(records) and all(map(_is_keyed, records[:20]))
    if keyed:
        records = [row for record in records for rows in record.values() if isinstance(rows, list) for row in rows]
    envelope = _envelope(records)
    quoted = reading.get("format") == "csv"
    fields: dict[str, Seen] = {}
    for record in records:
        for path, value in _leaves(record, "", envelope):
            if path in fields or len(fields) < _MOST_FIELDS:
                fields.setdefault(path, Seen(path)).add(value, quoted=quoted)
    looked = min(len(found), MOST_RECORDS)
    more = len(found) > MOST_RECORDS
    return Survey(tuple(packing), container, reading, len(body), looked, more, unreadable, fields, envelope, keyed)


def _records(body: bytes) -> tuple[str, dict[str, Any], Iterator[object]]:
    if body.startswith(PARQUET):
        return "Parquet", {}, _parquet(body)
    if body.startswith(AVRO):
        return "Avro", {}, AvroFile(body, Mapping()).values()
    start = body[:_PEEK].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] in (b"{", b"["):
        return _framing(start), {}, salvage.values(body)
    lines = [line for line in body[:_PEEK].splitlines() if line.strip()][:50]
    parsed = list(LineText(b"\n".join(lines)).values())
    if parsed and sum(isinstance(record, dict) for record in parsed) > len(parsed) / 2:
        return "line protocol", {"format": "line_protocol"}, LineText(body).values()
    return _csv(body, lines)


def _framing(start: bytes) -> str:
    if start[:1] == b"[":
        return "JSON, one array"
    first = start.partition(b"\n")[0].rstrip()
    if first.count(b"}{"):
        return "JSON, one record after the other without a separator"
    return "JSON lines" if first.endswith(b"}") else "JSON, pretty-printed"


def _csv(body: bytes, lines: list[bytes]) -> tuple[str, dict[str, Any], Iterator[object]]:
    counts = {mark: [line.count(mark.encode()) for line in lines[1:] or lines] for mark in _DELIMITERS}
    even = {mark: found[0] for mark, found in counts.items() if found and found[0] and len(set(found)) == 1}
    delimiter = max(even or {"": 0}, key=lambda mark: even.get(mark, 0))
    widths = {len(line.split()) for line in lines}
    numeric = lines and any(not isinstance(_number(cell), str) for cell in lines[-1].decode("utf-8", "replace").split())
    if not delimiter and len(lines) > 1 and len(widths) == 1 and widths != {1} and numeric:  # and no lines of prose
        delimiter = " "
    if not delimiter:
        raise UnreadableError(
            "The object is text, but neither JSON, nor line protocol, nor lines of equally many cells."
        )
    cells = lines[0].decode("utf-8", "replace").split(None if delimiter == " " else delimiter)
    headed = not any(isinstance(_number(cell.strip().strip('"')), int | float) for cell in cells)
    reading: dict[str, Any] = {"format": "csv"}
    if delimiter != ",":
        reading["delimiter"] = delimiter
    if not headed:
        reading["columns"] = tuple(f"column_{number + 1}" for number in range(len(cells)))
    named = {" ": "blanks", "\t": "tabs"}.get(delimiter, f"'{delimiter}'")
    what = f"CSV, cells between {named}, {'with' if headed else 'without'} a header"
    return what, reading, CsvText(body, Mapping(**reading)).values()


def _parquet(body: bytes) -> Iterator[object]:
    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(body))
        for batch in file.iter_batches(batch_size=1000, use_threads=False):
            table = pa.table(batch)
            for number, column in enumerate(table.schema):
                if pa.types.is_timestamp(column.type):
                    counted = table[column.name].cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
                    table = table.set_column(number, pa.field(column.name, pa.int64(), metadata={"at": "1"}), counted)
            timed = [column.name for column in table.schema if column.metadata]
            for record in table.to_pylist():
                yield record | {name: Instant(record[name]) for name in timed if record[name] is not None}
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError(f"The object is a Parquet file and cannot be read: {str(error)[:100]}.") from error


def _envelope(records: list[dict[str, Any]]) -> str:
    """The field of an envelope that holds the message of a device."""
    for record in records[:20]:
        for name, value in record.items():
            if name.lower() in _ENVELOPES and isinstance(value, str | bytes):
                try:
                    inside = decode_body(value)
                except salvage.FaultError:
                    continue
                if isinstance(inside, dict):
                    return name
    return ""


def _is_keyed(record: dict[str, Any]) -> bool:
    lists = [rows for rows in record.values() if isinstance(rows, list) and rows]
    return (
        len(lists) == len(record)
        and not set(record) & {"metrics", "readings", "records", "resourceMetrics"}
        and bool(lists)
        and all(isinstance(row, dict) for rows in lists for row in rows[:5])
    )


def _leaves(value: object, path: str, envelope: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if envelope and name == envelope and not path:
                try:
                    yield from _leaves(decode_body(inner), "body")
                except salvage.FaultError:
                    yield envelope, inner
                continue
            plain = name if _WORD.fullmatch(str(name)) else '"' + str(name).replace('"', "'") + '"'
            yield from _leaves(inner, f"{path}.{plain}" if path else plain)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for item in value[:1000]:
            yield from _leaves(item, f"{path}[]")
    else:
        yield path, value


def _number(text: str) -> object:
    text = text.strip()
    if text in NULL_TEXTS:
        return None
    try:
        return int(text) if text.lstrip("+-").isdecimal() and len(text) < 20 else float(text)  # noqa: PLR2004 - 64 bits
    except ValueError:
        return text


def _kind(value: object) -> str:
    if isinstance(value, Instant):
        return "timestamp"
    names = {type(None): "null", bool: "truth", int: "integer", float: "number", str: "text", bytes: "bytes"}
    return names.get(type(value), "list" if isinstance(value, list) else "object")
