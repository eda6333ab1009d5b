r"""Reading JSON record by record: slower than columns, but nothing stops it.

It takes what `pipelines.columns` refuses: arrays of records, records with a field of the wrong type, objects that were
cut off or mixed with other text. Good records are kept; everything else is handed back with its place and its bytes.
After text that is no JSON, reading goes on at the next line, or the next ``}{``, that could begin a record: text glued
to the front of a record takes that record with it. Each line of such text counts as a record that was spoilt.

    >>> [(piece.offset, piece.value) for piece in pieces(b'{"a": 1}{"a": 2}\nrub\nbish\n{"a": 3}')]
    [(0, {'a': 1}), (8, {'a': 2}), (17, UNREADABLE), (21, UNREADABLE), (26, {'a': 3})]
"""

import functools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from features.schema import Reason

_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")  # arrays need no code of their own: their brackets are like white space
_RESTART = re.compile(r"\n(?=\s*[{\[])|(?<=})(?={)")
FARTHEST: Final = 2**63 - 1
"""What a time becomes that is too large for 64 bits; in no unit is it a usable one."""
_MOST_UNREADABLE = 1000
_WINDOW = 16 * 1024 * 1024
_MOST_AT_ONCE = 20_000  # records of a window that are objects of Python at a time
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
    for text, first, found in _windows(body):
        offset, counted = first, 0
        for start, end, value in found:
            offset += len(_encoded(text[counted:start]))
            data = _encoded(text[start:end])
            yield Piece(offset, data, value)
            offset, counted = offset + len(data), end


def values(body: bytes) -> Iterator[object]:
    """What the pieces say, without their places; see `pieces`."""
    for _, _, found in _windows(body):
        for _, _, value in found:
            yield value


_Found = list[tuple[int, int, object]]


def _windows(body: bytes) -> Iterator[tuple[str, int, _Found]]:
    """Parts of an object with where they begin and the pieces in them.

    A record is an object of Python many times the size of its bytes, so no record may be larger than a window: of one
    that is, each window full is an unreadable piece. Of very many small ones, a part is taken at a time.
    """
    counts = [0, 0]
    start = 0
    while start < len(body):
        last = start + _WINDOW >= len(body)  # unless there are too many pieces in it
        text = _decoded(body[start : start + _WINDOW])
        found = _scan(text, counts, last=last)
        yield text, start, found
        on = bool(found) and (not last or len(found) >= _MOST_AT_ONCE)
        start += len(_encoded(text[: found[-1][1]])) if on else _WINDOW


def _scan(text: str, counts: list[int], *, last: bool) -> _Found:
    """Where each piece begins and ends, and what it says.

    Args:
        text: A window.
        counts: The good and the bad pieces so far.
        last: Whether nothing follows. Otherwise a piece that may go on behind the window is left to the next one,
            which begins with it.
    """
    found: _Found = []
    position = _skip(text, 0)
    while position < len(text) and len(found) < _MOST_AT_ONCE:
        try:
            value, end = _parse(text, position)
            counts[0] += 1
        except (ValueError, RecursionError) as error:
            if found and not last and _cut_off(error, len(text)):
                break
            restart = _RESTART.search(text, position + 1)
            end = restart.start() if restart else len(text)
            counts[1] += 1
            if counts[1] > max(counts[0], _MOST_UNREADABLE):
                raise HopelessError from None
            lines = _lines(text[position:end], position)
            if len(lines) > 1 and not last and not restart:
                return found + lines[:-1]  # the next window has more of the last one
            found += lines
        else:
            found.append((position, end, value))
        position = _skip(text, end)
    return found


def _lines(text: str, start: int) -> _Found:
    """The lines of unreadable text that begins at ``start``; beyond very many the rest stays together."""
    found: _Found = []
    for line in text.split("\n", _MOST_UNREADABLE - 1):
        if not _BETWEEN.fullmatch(line):
            found.append((start, start + len(line), UNREADABLE))
        start += len(line) + 1
    return found


def _cut_off(error: Exception, length: int) -> bool:
    """Whether a record fails because the text ends too early."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= length - len("-Infinity")


def _parse(text: str, position: int) -> tuple[object, int]:
    try:
        return _PARSER.raw_decode(text, position)
    except json.JSONDecodeError:
        raise
    except ValueError:  # there is an integer of more digits than Python takes
        return _PATIENT_PARSER.raw_decode(text, position)


def parse_whole(data: bytes) -> object:
    """What JSON says that must be one value and nothing else.

    Raises:
        ValueError, RecursionError: It is not.
    """
    text = _decoded(data)
    value, end = _parse(text, _skip(text, 0) if text[:1].isspace() else 0)
    if text[end:].strip():
        raise ValueError("more than one value")
    return value


def _decoded(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


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
            raise wrong(".".join(path), record, "a JSON object")
        record = record.get(step)
    return record


def read_text(record: object, path: str) -> str | None:
    """Return the text at a dotted path, None where it is missing; raise `FaultError` when it is something else."""
    return text_of(_walk(record, _steps(path)), path)


def text_of(value: object, path: str) -> str | None:
    """Return a value as a text, or raise `FaultError`."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong(path, value, "a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FaultError(Reason.UNREADABLE, f"The text in {path} is not valid Unicode.") from None
    return value


def read_moment(record: object, path: str, unit: str) -> Moment:
    """Return the time at a dotted path in its unit, None where it is missing; see `read_text`."""
    if unit == "iso":
        return read_text(record, path)
    return moment(_walk(record, _steps(path)), path, unit)


def moment(value: object, path: str, unit: str) -> float | None:
    """Return a value as a time in a unit other than iso, or raise `FaultError`."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, value, "a number")
    if type(value) is int and unit != "s" and -FARTHEST < value < FARTHEST:
        return value
    if unit == "s":
        return real(value)
    if isinstance(value, float) and not value.is_integer():
        raise wrong(path, value, f"a whole number of {unit}")
    return max(min(int(value), FARTHEST), -FARTHEST)


def number(value: object, name: str) -> float:
    """Return a value as a reading, NaN where it is missing, or raise `FaultError`."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(name, value, "a number")
    return real(value)


def real(value: float) -> float:
    """Return a number as a float, infinite where it is beyond one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def wrong(path: str, value: object, expected: str) -> FaultError:
    """The fault of a value of another type than expected."""
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}…"  # noqa: PLR2004 - enough to recognise it
    return FaultError(Reason.WRONG_TYPE, f"{path} is {shown}, not {expected}.")
