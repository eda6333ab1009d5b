"""Single values of a record, as a gateway reads them: texts, numbers and times, or a reason why not."""

import functools
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from features.quotes import unquoted
from features.schema import Reason
from features.zone import offset_us

_FACTORS = {"ms": 1000, "us": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_US, _LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d{1,9})?)?)?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?")
_AMERICAN = re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d [AP]M")
_FARTHEST_NS = 2**63 - 1
_TEXTS_US = (-(2**63) // 1000 + 1, (2**63 - 1) // 1000)  # texts are read to the nanosecond, which 64 bits limit


class Rejected(Exception):  # noqa: N818 - a record on its way out, not a fault
    """A record is not believed; ``reason`` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def text_of(value: object) -> str:
    """A text; empty where it is missing."""
    if value is None:
        return ""
    if type(value) is not str:
        raise Rejected(Reason.WRONG_TYPE)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Rejected(Reason.UNREADABLE) from None
    return value


def number_of(value: object) -> float:
    """A reading; NaN where it is missing."""
    if value is None:
        return math.nan
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if type(value) is not float:
        raise Rejected(Reason.WRONG_TYPE)
    return value


def clock_of(unit: str, zone: str | None = None, *, quoted: bool = False) -> Callable[[object], int | None]:
    """A reader of times in one unit, to UTC microseconds; None for what is missing or beyond the calendar."""
    if unit == "iso":
        return functools.partial(_iso, ahead_us=offset_us(zone))
    read_time = _seconds if unit == "s" else functools.partial(_whole, unit=unit)
    if not quoted:
        return read_time
    return lambda value: read_time(unquoted(value, whole=unit != "s"))


def _whole(value: object, unit: str) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        if unit == "ns":
            return _within(value // 1000) if abs(value) < _FARTHEST_NS else None
        return _within(value * _FACTORS[unit])
    if value is None:
        return None
    raise Rejected(Reason.WRONG_TYPE)


def _seconds(value: object) -> int | None:
    if value is None:
        return None
    seconds = number_of(value)
    return _within(round(seconds * 1e6)) if math.isfinite(seconds) and abs(seconds) < _LATEST_US else None


def _iso(value: object, ahead_us: int | None) -> int | None:
    text = text_of(value)
    found = _ISO.fullmatch(text)
    try:
        if found is None:
            if not _AMERICAN.fullmatch(text):
                return None
            at = datetime.strptime(f"{text} +0000", "%m/%d/%Y %I:%M:%S %p %z")
        elif found["zone"]:
            at = datetime.fromisoformat(text)
        elif ahead_us is None:  # a time without a zone could be any time
            return None
        else:
            at = datetime.fromisoformat(text).replace(tzinfo=UTC) - ahead_us * _MICROSECOND
        time_us = (at - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None
    least, most = _TEXTS_US
    return time_us if least <= time_us <= most else None


def _within(time_us: int) -> int | None:
    return time_us if _EARLIEST_US <= time_us <= _LATEST_US else None
