"""What a fleet's telemetry looks like, and which readings are believed.

A fleet is devices that share signals. Its description is everything a reader of its telemetry must know: the signals
with unit and valid range, how often devices report, how late and how old readings may be, and where in a JSON document
device, time and signals stand. ``check_readings`` is the one judge of a reading; the ingest of stored telemetry and the
gateway both ask it, so both believe the same readings.
"""

import hashlib
import json
from collections.abc import Mapping as JsonMapping
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from features.burst import Burst
from features.errors import FleetError, ReadingsShapeError
from features.mapping import Mapping
from features.reason import Reason
from features.signal import LONGEST, MICROSECOND, WORD, Signal
from features.unknown import Unknown

_FARTHEST_US = 2**62
_DAY = timedelta(days=1)
__all__ = [
    "KEYS",
    "MICROSECOND",
    "Fleet",
    "Mapping",
    "Reason",
    "Signal",
    "check_devices",
    "check_readings",
    "digest_of",
]
KEYS = (("device", "time"), ("device", "time", "sequence"))


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
        mapping: Where things stand in a record, as devices send it.
        bursts: Fields of a record that hold samples at kHz, and the signals read off them.
        event_kinds: Kinds of events that features may ask for, as they stand in the records of events.
        stored: Where things stand in stored objects, when that differs from what devices send: in an envelope, in
            files of another format, in the object's key. None means like ``mapping``. Ingest reads by this one, a
            gateway always by ``mapping``, which must therefore be plain JSON where a gateway serves the fleet.
        key: What makes two readings the same: ``("device", "time")``, or those and ``"sequence"``.
        believe: Of two different readings of one key, the ``"first"`` that was received, or the ``"last"``: a
            correction then supersedes.
        rewritten: What an object brings whose content changed under its key: ``"replace"`` its former rows (it
            grows), or ``"add"`` to them (a writer that uses one key for ever).
        enrol: Whether devices that nobody knew become part of the fleet; otherwise their readings are rejected.
        devices: The devices that are known from the start; needed where ``enrol`` is off.
        unknown_fields: What becomes of records with fields that the mapping names nowhere: ``"ignore"`` the fields,
            ``"count"`` them for the data report and the metrics, or ``"reject"`` the records. A field is known when any
            path leads to it or through it, and missing when it is null. An object of JSON with unknown fields is read
            record by record, which takes several times as long; one without costs nothing. Events are not asked.
        keep: For how long telemetry is kept, by event time; None means for ever. The daily upkeep removes whole dates
            that are older, and an ingest takes nothing in that is.

    Raises:
        FleetError: Names are no words or not unique, a burst names a signal there is not, a duration is negative or
            longer than a century, or a rule is unknown.
    """

    name: str
    description: str
    signals: tuple[Signal, ...]
    sampling: timedelta
    late_after: timedelta
    max_future: timedelta
    max_age: timedelta
    mapping: Mapping = field(default_factory=Mapping)
    bursts: tuple[Burst, ...] = ()
    event_kinds: tuple[str, ...] = ()
    stored: Mapping | None = None
    key: tuple[str, ...] = ("device", "time")
    believe: Literal["first", "last"] = "first"
    rewritten: Literal["replace", "add"] = "replace"
    enrol: bool = True
    devices: tuple[str, ...] = ()
    keep: timedelta | None = None
    unknown_fields: Unknown = "ignore"

    def __post_init__(self) -> None:
        where = f"fleet {self.name}"
        if not WORD.fullmatch(self.name):
            raise FleetError(f"'{self.name}' cannot name a fleet", fix="use letters, digits and underscores")
        if not self.signals or len(set(self.signal_names)) < len(self.signals):
            raise FleetError("a fleet needs signals, each of its own name", where=where)
        kinds = self.event_kinds
        if len(set(kinds)) < len(kinds) or not all(WORD.fullmatch(kind) for kind in kinds) or "start" in kinds:
            raise FleetError("event_kinds must be different words, none of them 'start'", where=where)
        for label, least in (("sampling", 1), ("max_age", 1), ("late_after", 0), ("max_future", 0)):
            if not least * MICROSECOND <= getattr(self, label) <= LONGEST:
                raise FleetError(
                    f"{label} = {getattr(self, label)} is no usable duration",
                    where=where,
                    fix=f"give at least {least} µs and at most a century",
                )
        if self.keep is not None and not _DAY <= self.keep <= LONGEST:
            raise FleetError(
                f"keep = {self.keep} is no usable duration", where=where, fix="give a day at least, a century at most"
            )
        self._check_bursts(where)
        self._check_contract(where)

    def _check_contract(self, where: str) -> None:
        rules: tuple[tuple[str, tuple[object, ...]], ...] = (
            ("key", KEYS),
            ("believe", ("first", "last")),
            ("rewritten", ("replace", "add")),
            ("unknown_fields", ("ignore", "count", "reject")),
        )
        for label, known in rules:
            if getattr(self, label) not in known:
                raise FleetError(
                    f"{label} = {getattr(self, label)!r} is unknown",
                    where=where,
                    fix=f"use {' or '.join(map(str, known))}",
                )
        if "sequence" in self.key and self.lies.sequence is None:
            raise FleetError("the key has a sequence, the mapping none", where=where, fix="name its field: sequence=")
        if not self.enrol and not self.devices:
            raise FleetError("no device is known and none may be enrolled", where=where, fix="name them: devices=")
        if not all(self.devices) or len(set(self.devices)) < len(self.devices):
            raise FleetError("devices must be different texts", where=where)

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
    def lies(self) -> Mapping:
        """How the telemetry lies in storage."""
        return self.stored or self.mapping

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
            "signals": [signal.to_json() for signal in self.signals],
            "sampling_us": self.sampling // MICROSECOND,
            "late_after_us": self.late_after // MICROSECOND,
            "max_future_us": self.max_future // MICROSECOND,
            "max_age_us": self.max_age // MICROSECOND,
            "mapping": self.mapping.to_json(),
            "bursts": [burst.to_json() for burst in self.bursts],
            "event_kinds": list(self.event_kinds),
            "stored": None if self.stored is None else self.stored.to_json(),
            "key": list(self.key),
            "believe": self.believe,
            "rewritten": self.rewritten,
            "enrol": self.enrol,
            "devices": list(self.devices),
            **({} if self.keep is None else {"keep_us": self.keep // MICROSECOND}),
            **({} if self.unknown_fields == "ignore" else {"unknown_fields": self.unknown_fields}),
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
                signals=tuple(Signal.from_json(each) for each in document["signals"]),
                sampling=int(document["sampling_us"]) * MICROSECOND,
                late_after=int(document["late_after_us"]) * MICROSECOND,
                max_future=int(document["max_future_us"]) * MICROSECOND,
                max_age=int(document["max_age_us"]) * MICROSECOND,
                mapping=Mapping.from_json(document["mapping"]),
                bursts=tuple(Burst.from_json(each) for each in document["bursts"]),
                event_kinds=tuple(str(kind) for kind in document["event_kinds"]),
                stored=None if document["stored"] is None else Mapping.from_json(document["stored"]),
                key=tuple(document["key"]),
                believe=document["believe"],
                rewritten=document["rewritten"],
                enrol=bool(document["enrol"]),
                devices=tuple(str(device) for device in document["devices"]),
                keep=int(document["keep_us"]) * MICROSECOND if "keep_us" in document else None,
                unknown_fields=document.get("unknown_fields", "ignore"),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FleetError("this is no description of a fleet", why=f"{type(error).__name__}: {error}") from error


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
    required = [place for place, signal in enumerate(fleet.signals) if signal.required]
    codes = np.zeros(len(times), np.uint8)
    # The last assignment wins, so the faults are marked in the reverse order of Reason.
    if required:
        codes[np.isnan(values[:, required]).any(axis=1)] = Reason.MISSING_SIGNAL.number
    codes[times < received - fleet.max_age // MICROSECOND] = Reason.TOO_OLD.number
    codes[times > received + fleet.max_future // MICROSECOND] = Reason.IN_THE_FUTURE.number
    codes[((values < low) | (values > high)).any(axis=1)] = Reason.OUT_OF_RANGE.number
    codes[np.isnan(values).all(axis=1)] = Reason.NO_SIGNALS.number
    return codes


def check_devices(fleet: Fleet, devices: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each device may report to the fleet: it is enrolled, or the fleet enrols whoever reports.

    Example:
        >>> from features.catalog import load
        >>> import dataclasses
        >>> closed = dataclasses.replace(load("pumps").fleet, enrol=False, devices=("pump-1",))
        >>> check_devices(closed, ["pump-1", "pump-9"]).tolist()
        [True, False]
    """
    if fleet.enrol:
        return np.ones(len(devices), np.bool_)
    known = frozenset(fleet.devices)
    return np.array([device in known for device in devices], np.bool_)
