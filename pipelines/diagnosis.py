"""What a rejected record says against the contract of its fleet, and how to repair it: for the person who looks."""

import contextlib
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from features.schema import Fleet, Reason

_MOST_BYTES: Final = 1 << 20  # of a record that is parsed for a closer look
_DEEPEST: Final = 8
_SHOWN_BYTES: Final = 4096
_HEX_BYTES: Final = 256
_GZIP: Final = b"\x1f\x8b"

_CURES: Mapping[str, str] = {
    Reason.UNREADABLE: "correct the writer, or the form that the fleet's mapping declares, then replay",
    Reason.NO_DEVICE: "correct the device's path in the fleet's mapping, then replay",
    Reason.NO_TIME: "correct path and unit of the time in the fleet's mapping, then replay",
    Reason.NO_SIGNALS: "correct the paths or names of the signals in the fleet's catalog entry, then replay",
    Reason.OUT_OF_RANGE: "if the value is possible, widen the signal's range in the fleet's catalog entry, then "
    "replay; if not, look at the sensor, and purge",
    Reason.IN_THE_FUTURE: "set the device's clock; to take it in all the same, raise max_future, then replay",
    Reason.TOO_OLD: "to take old history in, raise max_age in the fleet's catalog entry, then replay",
    Reason.WRONG_TYPE: "correct the writer: a reading is a number; then purge",
    Reason.BURST_LENGTH: "correct the writer or the declared burst, then replay",
    Reason.BURST_GAPS: "correct the writer: a burst is whole; then purge",
    Reason.UNKNOWN_DEVICE: "if the device belongs to the fleet, add it to devices in the catalog entry, then replay",
    Reason.UNKNOWN_FIELD: 'name the field in the mapping, or declare unknown_fields="count", then replay',
    Reason.MISSING_SIGNAL: "if records may lack the signal, declare required=False in the catalog entry, then replay",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What a record says of one signal, and what is believed."""

    signal: str
    value: float
    low: float
    high: float
    unit: str

    @property
    def believed(self) -> bool:
        """Whether the value lies in the range of its signal."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        verdict = "within" if self.believed else "OUTSIDE"
        return f"{self.signal} = {self.value:g} {self.unit}, {verdict} {self.low:g} to {self.high:g}"


def heard(fleet: Fleet, data: bytes) -> list[Heard]:
    """Find values of the fleet's signals in a record of JSON, wherever they stand under their own names.

    Args:
        fleet: Names the signals.
        data: The record; nothing is found in one that is no JSON, or is larger than a MiB.

    Example:
        >>> from features.catalog import load
        >>> [str(each) for each in heard(load("pumps").fleet, b'{"values": {"flow": -7}}')]
        ['flow = -7 m3/h, OUTSIDE 0 to 400']
    """
    if len(data) > _MOST_BYTES:
        return []
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return []
    signals = {signal.name: signal for signal in fleet.signals}
    return [
        Heard(name, value, signals[name].low, signals[name].high, signals[name].unit)
        for name, value in _numbers(record, _DEEPEST)
        if name in signals
    ]


def cure(reason: str) -> str:
    """Say how records that were rejected for this reason can be repaired."""
    return _CURES.get(reason, "correct the writer or the fleet's catalog entry, then replay; or purge")


def contract(fleet: Fleet, reason: str) -> str:
    """Say what the fleet demands where this reason arises; empty where there is nothing to add to the reason itself.

    Example:
        >>> from features.catalog import load
        >>> contract(load("pumps").fleet, "no_time")
        "the time stands in 'ts', unit ms"
    """
    match reason:
        case Reason.NO_DEVICE:
            return f"the device stands in '{fleet.mapping.device}'"
        case Reason.NO_TIME:
            return f"the time stands in '{fleet.mapping.time}', unit {fleet.mapping.time_unit}"
        case Reason.IN_THE_FUTURE:
            return f"a time may lie {fleet.max_future} ahead of its receipt"
        case Reason.TOO_OLD:
            return f"a time may lie {fleet.max_age} behind its receipt"
        case Reason.NO_SIGNALS:
            return f"the signals are {', '.join(fleet.signal_names)}, under '{fleet.mapping.signals}'"
    return ""


def readable(data: bytes) -> list[str]:
    r"""Show bytes to a person: unpacked, as indented JSON, as text, or as hexadecimal digits; at most some thousand.

    Example:
        >>> readable(b'{"a":1}'), readable(b"\x00\xff")
        (['{', '  "a": 1', '}'], ['00 ff'])
    """
    if data.startswith(_GZIP):
        unpacked = zlib.decompressobj(wbits=31)
        try:
            return ["(gzip) unpacked:", *readable(unpacked.decompress(data, _SHOWN_BYTES))]
        except zlib.error:
            return ["(gzip, damaged)", *_digits(data)]
    shown = data[:_SHOWN_BYTES]
    more = [f"… and {len(data) - len(shown):,} bytes more"] if len(data) > len(shown) else []
    try:
        text = shown.decode("utf-8", errors="ignore" if more else "strict")
    except UnicodeDecodeError:
        return [*_digits(data), *more]
    if any(not letter.isprintable() and letter not in "\r\n\t" for letter in text):
        return [*_digits(data), *more]
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    return [*text.splitlines(), *more]


def _digits(data: bytes) -> list[str]:
    return [data[at : at + 16].hex(" ") for at in range(0, min(len(data), _HEX_BYTES), 16)]


def _numbers(value: Any, deeper: int) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, int | float) and not isinstance(inner, bool):
                if abs(inner) < 1e300 and math.isfinite(inner):  # noqa: PLR2004 - a longer integer is no float
                    yield name, float(inner)
            elif deeper:
                yield from _numbers(inner, deeper - 1)
    elif isinstance(value, list) and deeper:
        for inner in value:
            yield from _numbers(inner, deeper - 1)
