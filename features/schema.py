"""What a fleet's telemetry looks like, and which readings are believed.

A fleet is devices that share signals. Its description is everything a reader of its telemetry must know: the signals
with unit and valid range, how often devices report, how late and how old readings may be, and where in a JSON document
device, time and signals stand. ``check_readings`` is the one judge of a reading; the ingest of stored telemetry and the
gateway both ask it, so both believe the same readings.
"""

import enum
import hashlib
import json
import math
import re
from collections.abc import Mapping as JsonMapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from features.burst import Burst
from features.errors import FleetError, ReadingsShapeError

MICROSECOND = timedelta(microseconds=1)
TIME_UNITS = ("s", "ms", "us", "iso")
_LONGEST = timedelta(days=36_525)  # a century; it keeps sums of a time and a duration within 64 bits
_FARTHEST_US = 2**62
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Reason(enum.StrEnum):
    """Why a reading was not accepted; ``check_readings`` answers with the position in this list, counted from one."""

    UNREADABLE = "unreadable"
    NO_DEVICE = "no_device"
    NO_TIME = "no_time"
    NO_SIGNALS = "no_signals"
    OUT_OF_RANGE = "out_of_range"
    IN_THE_FUTURE = "in_the_future"
    TOO_OLD = "too_old"
    WRONG_TYPE = "wrong_type"
    BURST_LENGTH = "burst_length"
    BURST_GAPS = "burst_gaps"

    @property
    def sentence(self) -> str:
        """The reason in words for the person who looks after the devices."""
        return _SENTENCES[self]

    @property
    def number(self) -> int:
        """The number ``check_readings`` gives this reason, one or more."""
        return list(Reason).index(self) + 1


_SENTENCES = {
    Reason.UNREADABLE: "The record is not a JSON object.",
    Reason.NO_DEVICE: "The record names no device.",
    Reason.NO_TIME: "The record has no usable event time.",
    Reason.NO_SIGNALS: "The record carries no value of any signal of the fleet.",
    Reason.OUT_OF_RANGE: "A value lies outside the valid range of its signal.",
    Reason.IN_THE_FUTURE: "The event time lies further ahead of the time of receipt than the fleet allows.",
    Reason.TOO_OLD: "The event time lies further behind the time of receipt than the fleet allows.",
    Reason.WRONG_TYPE: "A value is not a number.",
    Reason.BURST_LENGTH: "A burst holds fewer samples than a segment of its spectrum, or more than its limit.",
    Reason.BURST_GAPS: "A burst lacks samples, or holds infinite ones.",
}


@dataclass(frozen=True, slots=True)
class Signal:
    """One measured quantity of a device.

    Args:
        name: A word of letters, digits and underscores; feature names start with it.
        unit: The unit of the values, as people write it.
        low: The smallest value that is believed.
        high: The largest value that is believed.
        description: What is measured and where, for people.
        limit: The value above which the signal calls for attention; what the statistic ``above_share`` counts against.

    Raises:
        FleetError: The name is not a word, or the range or the limit is empty or not finite.
    """

    name: str
    unit: str
    low: float
    high: float
    description: str = ""
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and not math.isfinite(self.limit):
            raise FleetError(f"the limit {self.limit} is not a number", where=f"signal {self.name}")
        if not _NAME.fullmatch(self.name):
            raise FleetError(
                f"'{self.name}' cannot name a signal",
                why="feature and column names are built from it",
                fix="use letters, digits and underscores, and start with a letter",
            )
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise FleetError(
                f"the range {self.low} to {self.high} holds no values",
                where=f"signal {self.name}",
                fix="give two finite numbers, the smaller first",
            )


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where device, times and signals stand in a JSON record; names may be dotted paths.

    Args:
        device: The field with the device's name.
        time: The field with the event time.
        time_unit: ``s``, ``ms`` or ``us`` since 1970 in UTC, or ``iso`` for ISO 8601 text.
        received: The field in which a hub stamped the time of receipt, in the same unit; ``None`` where there is none.
        signals: The dotted prefix under which the signals stand; empty for the top level.

    Raises:
        FleetError: The unit of time is unknown, or a field that must have a name has none.
    """

    device: str = "device"
    time: str = "ts"
    time_unit: str = "ms"
    received: str | None = "received"
    signals: str = ""

    def __post_init__(self) -> None:
        if self.time_unit not in TIME_UNITS:
            raise FleetError(
                f"'{self.time_unit}' is no unit of time", where="mapping", fix=f"use one of {', '.join(TIME_UNITS)}"
            )
        if not self.device or not self.time:
            raise FleetError("a mapping must name the fields of device and time", where="mapping")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Devices that share signals, and what is known about their telemetry.

    Args:
        name: A word; folders, tables and the catalog module are called by it.
        description: What the devices are, for people.
        signals: The signals, in the order of the columns everywhere.
        sampling: The interval at which a device reports.
        late_after: How long after its event time a reading usually has arrived; later ones are late data.
        max_future: How far an event time may lie ahead of the receipt.
        max_age: How far an event time may lie behind the receipt.
        mapping: Where things stand in a record.
        bursts: Fields of a record that hold samples at kHz, and the signals read off them.
        event_kinds: Kinds of events that features may ask for, as they stand in the records of events.

    Raises:
        FleetError: Names are no words or not unique, a burst names a signal there is not, or a duration is negative or
            longer than a century.
    """

    name: str
    description: str
    signals: tuple[Signal, ...]
    sampling: timedelta
    late_after: timedelta
    max_future: timedelta
    max_age: timedelta
    mapping: Mapping = Mapping()
    bursts: tuple[Burst, ...] = ()
    event_kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"fleet {self.name}"
        if not _NAME.fullmatch(self.name):
            raise FleetError(f"'{self.name}' cannot name a fleet", fix="use letters, digits and underscores")
        if not self.signals or len(set(self.signal_names)) < len(self.signals):
            raise FleetError("a fleet needs signals, each of its own name", where=where)
        kinds = self.event_kinds
        if len(set(kinds)) < len(kinds) or not all(_NAME.fullmatch(kind) for kind in kinds) or "start" in kinds:
            raise FleetError("event_kinds must be different words, none of them 'start'", where=where)
        for label, least in (("sampling", 1), ("max_age", 1), ("late_after", 0), ("max_future", 0)):
            if not least * MICROSECOND <= getattr(self, label) <= _LONGEST:
                raise FleetError(
                    f"{label} = {getattr(self, label)} is no usable duration",
                    where=where,
                    fix=f"give at least {least} µs and at most a century",
                )
        self._check_bursts(where)

    def _check_bursts(self, where: str) -> None:
        fields = [burst.samples for burst in self.bursts]
        derived = [reading.signal for burst in self.bursts for reading in burst.readings]
        if len({*fields, *self.signal_names}) < len(fields) + len(self.signals):
            raise FleetError("a burst needs a field of its own", where=where, why=f"there are {', '.join(fields)}")
        if len(set(derived)) < len(derived) or not set(derived) <= set(self.signal_names):
            raise FleetError(
                "bursts are read into signals of the fleet, into each but once",
                where=where,
                why=f"found {', '.join(derived)}",
                fix="declare a Signal with unit and range for each",
            )

    @property
    def signal_names(self) -> tuple[str, ...]:
        """The names of the signals, in column order."""
        return tuple(signal.name for signal in self.signals)

    @property
    def limits(self) -> NDArray[np.float64]:
        """The limits of the signals, shape ``(signals,)``; NaN where there is none."""
        return np.array([np.nan if signal.limit is None else signal.limit for signal in self.signals], np.float64)

    @property
    def digest(self) -> str:
        """``sha256:…`` over every parameter. Descriptions are prose for people: rewording one changes nothing."""
        return digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The fleet as JSON-ready dictionary; durations are whole microseconds."""
        return {
            "name": self.name,
            "description": self.description,
            "signals": [_signal_json(signal) for signal in self.signals],
            "sampling_us": self.sampling // MICROSECOND,
            "late_after_us": self.late_after // MICROSECOND,
            "max_future_us": self.max_future // MICROSECOND,
            "max_age_us": self.max_age // MICROSECOND,
            "mapping": {
                "device": self.mapping.device,
                "time": self.mapping.time,
                "time_unit": self.mapping.time_unit,
                "received": self.mapping.received,
                "signals": self.mapping.signals,
            },
            "bursts": [burst.to_json() for burst in self.bursts],
            "event_kinds": list(self.event_kinds),
        }

    @classmethod
    def from_json(cls, document: JsonMapping[str, Any]) -> Self:
        """The fleet that ``to_json`` wrote.

        Raises:
            FleetError: A field is missing or has another form, or the fleet contradicts itself.
        """
        try:
            return cls(
                name=str(document["name"]),
                description=str(document["description"]),
                signals=tuple(_signal(each) for each in document["signals"]),
                sampling=int(document["sampling_us"]) * MICROSECOND,
                late_after=int(document["late_after_us"]) * MICROSECOND,
                max_future=int(document["max_future_us"]) * MICROSECOND,
                max_age=int(document["max_age_us"]) * MICROSECOND,
                mapping=Mapping(**document["mapping"]),
                bursts=tuple(Burst.from_json(each) for each in document["bursts"]),
                event_kinds=tuple(str(kind) for kind in document["event_kinds"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FleetError("this is no description of a fleet", why=f"{type(error).__name__}: {error}") from error


def _signal(document: JsonMapping[str, Any]) -> Signal:
    limit = document["limit"]
    return Signal(
        name=str(document["name"]),
        unit=str(document["unit"]),
        low=float(document["low"]),
        high=float(document["high"]),
        description=str(document["description"]),
        limit=None if limit is None else float(limit),
    )


def _signal_json(signal: Signal) -> dict[str, Any]:
    return {
        "name": signal.name,
        "unit": signal.unit,
        "low": float(signal.low),  # 0 and 0.0 are one number, but two texts and would be two digests
        "high": float(signal.high),
        "description": signal.description,
        "limit": None if signal.limit is None else float(signal.limit),
    }


def digest_of(document: object) -> str:
    """``sha256:<hex>`` over the canonical JSON of ``document`` without its descriptions."""
    canonical = json.dumps(_without_prose(document), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _without_prose(document: object) -> object:
    if isinstance(document, dict):
        return {key: _without_prose(value) for key, value in document.items() if key != "description"}
    if isinstance(document, list | tuple):
        return [_without_prose(value) for value in document]
    return document


def check_readings(
    fleet: Fleet, times: NDArray[np.int64], received: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Judge readings: which are believed, and why the others are not.

    Args:
        fleet: The description they must fit.
        times: Event times, shape ``(n,)``, UTC microseconds.
        received: Times of receipt, shape ``(n,)``, UTC microseconds: the hub's stamp, or the clock where it has none.
        values: Readings, shape ``(n, signals)``, in the units of the signals. NaN marks a missing value.

    Returns:
        Shape ``(n,)``: 0 for an accepted reading, else ``Reason.number``. A reading with several faults gets the first
        of them in the order of ``Reason``.

    Raises:
        ReadingsShapeError: The arrays do not fit together or the fleet.

    Example:
        >>> from datetime import timedelta
        >>> hour = timedelta(hours=1)
        >>> fleet = Fleet("vans", "", (Signal("speed", "km/h", 0, 130),), hour, hour, hour, hour)
        >>> codes = check_readings(fleet, np.array([0, 0]), np.array([0, 0]), np.array([[80.0], [999.0]]))
        >>> [list(Reason)[code - 1].value if code else "accepted" for code in codes]
        ['accepted', 'out_of_range']
    """
    if times.ndim != 1 or received.shape != times.shape or values.shape != (len(times), len(fleet.signals)):
        raise ReadingsShapeError(
            f"times {times.shape}, received {received.shape} and values {values.shape} do not fit together",
            where=f"fleet {fleet.name}",
            why=f"expected (n,), (n,) and (n, {len(fleet.signals)})",
        )
    low = np.array([signal.low for signal in fleet.signals])
    high = np.array([signal.high for signal in fleet.signals])
    received = np.clip(received, -_FARTHEST_US, _FARTHEST_US)  # a hub's stamp may be anything; it must not wrap around
    codes = np.zeros(len(times), np.uint8)
    # The last assignment wins, so the faults are marked in the reverse order of Reason.
    codes[times < received - fleet.max_age // MICROSECOND] = Reason.TOO_OLD.number
    codes[times > received + fleet.max_future // MICROSECOND] = Reason.IN_THE_FUTURE.number
    codes[((values < low) | (values > high)).any(axis=1)] = Reason.OUT_OF_RANGE.number
    codes[np.isnan(values).all(axis=1)] = Reason.NO_SIGNALS.number
    return codes
