r"""Reading JSON record by record: slower than columns, but nothing stops it.

It takes what `pipelines.columns` refuses: arrays of records, records with a field of the wrong type, objects that were
cut off or mixed with other text. Good records are kept; everything else is handed back with its place and its bytes.
After text that is no JSON, reading goes on at the next line, or the next ``}{``, that could begin a record: text glued
to the front of a record takes that record with it.

    >>> [(piece.offset, piece.value) for piece in pieces(b'{"a": 1}{"a": 2}\nrubbish\n{"a": 3}')]
    [(0, {'a': 1}), (8, {'a': 2}), (17, UNREADABLE), (25, {'a': 3})]
"""

import contextlib
import functools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from features.burst import Burst, BurstColumns, RefusedBurstError
from features.schema import Mapping, Reason

_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")  # arrays need no code of their own: their brackets are like white space
_RESTART = re.compile(r"\n(?=\s*[{\[])|(?<=})(?={)")
_MOST_UNREADABLE = 1000
_MOST_DIGITS = 400  # beyond, Python refuses integers (4300) and float knows nothing but infinity (309)


Moment = float | str | None
"""A time as it stands in a record."""


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)


_PARSER, _PATIENT_PARSER = json.JSONDecoder(), json.JSONDecoder(parse_int=_integer)


class _Unreadable:
    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE: Final = _Unreadable()


class HopelessError(Exception):
    """More of an object is unreadable than readable: it is not worth taking apart."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A record, or text between records that is none.

    Attributes:
        offset: Where it begins in the object, bytes.
        data: Its bytes.
        value: What the JSON says, or `UNREADABLE`.
    """

    offset: int
    data: bytes
    value: object


def pieces(body: bytes) -> Iterator[Piece]:
    """Take an object apart into its records, in order.

    Raises:
        HopelessError: There are very many unreadable pieces, and more than records.
    """
    text = _decoded(body)
    offset = counted = 0
    for start, end, value in _scan(text):
        offset += len(_encoded(text[counted:start]))
        data = _encoded(text[start:end])
        yield Piece(offset, data, value)
        offset, counted = offset + len(data), end


def _scan(text: str) -> Iterator[tuple[int, int, object]]:
    """Where each piece begins and ends, and what it says."""
    good = bad = 0
    position = _skip(text, 0)
    while position < len(text):
        value: object
        try:
            value, end = _parse(text, position)
            good += 1
        except (ValueError, RecursionError):
            restart = _RESTART.search(text, position + 1)
            value, end = UNREADABLE, restart.start() if restart else len(text)
            bad += 1
            if bad > max(good, _MOST_UNREADABLE):
                raise HopelessError from None
        yield position, end, value
        position = _skip(text, end)


def _parse(text: str, position: int) -> tuple[object, int]:
    try:
        return _PARSER.raw_decode(text, position)
    except json.JSONDecodeError:
        raise
    except ValueError:  # there is an integer of more digits than Python takes
        return _PATIENT_PARSER.raw_decode(text, position)


def _decoded(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that cannot be used: which one, why, and what was found."""

    ordinal: int
    reason: Reason
    sentence: str


@dataclass(slots=True)
class Rows:
    """Records as raw columns, as they stand in the JSON; ``None`` where a field is missing."""

    device: list[str | None] = field(default_factory=list)
    time: list[Moment] = field(default_factory=list)
    received: list[Moment] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    ordinal: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_rows(body: bytes, mapping: Mapping, signals: Sequence[str], bursts: Sequence[Burst] = ()) -> Rows:
    """Read an object record by record.

    Raises:
        HopelessError: See `pieces`.
    """
    rows = Rows()
    read = _Reader(mapping, signals, bursts)
    for ordinal, (_, _, value) in enumerate(_scan(_decoded(body))):
        try:
            device, time, received, values = read(value)
        except FaultError as error:
            rows.faults.append(Fault(ordinal, error.reason, error.sentence))
            continue
        rows.device.append(device)
        rows.time.append(time)
        rows.received.append(received)
        rows.values.append(values)
        rows.ordinal.append(ordinal)
    return rows


class _Reader:
    """Reads the fields of a mapping from records."""

    def __init__(self, mapping: Mapping, signals: Sequence[str], bursts: Sequence[Burst]) -> None:
        self._mapping = mapping
        self._bursts = BurstColumns(bursts, signals)
        self._prefix = mapping.signals.split(".") if mapping.signals else []
        self._signals = signals

    def __call__(self, value: object) -> tuple[str | None, Moment, Moment, list[float]]:
        mapping = self._mapping
        record = read_record(value)
        device = read_text(record, mapping.device)
        time = read_moment(record, mapping.time, mapping.time_unit)
        return device, time, self._stamp(record), self._values(_walk(record, self._prefix))

    def _stamp(self, record: object) -> Moment:
        """The hub's stamp; without a usable one the record is still good, and the reader's clock serves."""
        if self._mapping.received is None:
            return None
        try:
            return read_moment(record, self._mapping.received, self._mapping.time_unit)
        except FaultError:
            return None

    def _values(self, found: object) -> list[float]:
        if found is None:
            return [math.nan] * len(self._signals)
        if not isinstance(found, dict):
            raise _wrong(self._mapping.signals, found, "a JSON object")
        row = self._direct(found)
        try:
            self._bursts.fill(found, row)
        except RefusedBurstError as error:
            raise FaultError(Reason(error.fault), str(error)) from None
        return row

    def _direct(self, found: dict[str, Any]) -> list[float]:
        values = [found.get(name) for name in self._signals]
        if {float, int}.issuperset(map(type, values)):  # nearly always, and four times as fast
            with contextlib.suppress(OverflowError):
                return [float(value) for value in values if value is not None]
        prefix = f"{self._mapping.signals}." if self._mapping.signals else ""
        return [_number(value, prefix + name) for value, name in zip(values, self._signals, strict=True)]


class FaultError(Exception):
    """A record cannot be used."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason, self.sentence = reason, sentence


def _skip(text: str, position: int) -> int:
    found = _BETWEEN.match(text, position)
    return found.end() if found else position


def read_record(value: object) -> dict[str, object]:
    """Return a piece's value as a record, or raise `FaultError`."""
    if value is None:
        return {}  # the columnar reader takes a null for a record without fields; so does this one
    if not isinstance(value, dict):
        kind = "no JSON" if value is UNREADABLE else f"a JSON {type(value).__name__}, not an object"
        raise FaultError(Reason.UNREADABLE, f"The record is {kind}.")
    return value


@functools.lru_cache(maxsize=256)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _walk(record: object, path: Sequence[str]) -> object:
    """Follow a path; what is missing on the way is missing at its end."""
    for step in path:
        if record is None:
            return None
        if not isinstance(record, dict):
            raise _wrong(".".join(path), record, "a JSON object")
        record = record.get(step)
    return record


def read_text(record: object, path: str) -> str | None:
    """Return the text at a dotted path, None where it is missing; raise `FaultError` when it is something else."""
    value = _walk(record, _steps(path))
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong(path, value, "a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FaultError(Reason.UNREADABLE, f"The text in {path} is not valid Unicode.") from None
    return value


def read_moment(record: object, path: str, unit: str) -> Moment:
    """Return the time at a dotted path in its unit, None where it is missing; see `read_text`."""
    if unit == "iso":
        return read_text(record, path)
    value = _walk(record, _steps(path))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, value, "a number")
    if type(value) is int and unit != "s" and -(2**62) < value < 2**62:
        return value
    if unit == "s":
        return _real(value)
    if isinstance(value, float) and not value.is_integer():
        raise _wrong(path, value, f"a whole number of {unit}")
    return max(min(int(value), 2**62), -(2**62))


def _number(value: object, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, value, "a number")
    return _real(value)


def _real(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _wrong(path: str, value: object, expected: str) -> FaultError:
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}…"  # noqa: PLR2004 - enough to recognise it
    return FaultError(Reason.WRONG_TYPE, f"{path} is {shown}, not {expected}.")
