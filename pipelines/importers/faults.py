r"""What a network does to messages on their way to a hub: delays, repeats, overtakes and spoils some of them.

What happens to a message follows from the seed and its text alone. An import that is repeated, or continued with more
data, therefore damages the same messages in the same way.

    >>> sound = {"device": "pump-1", "ts": 1_764_000_000_000, "values": {"flow": 7.5}}
    >>> [delivery.line for delivery in deliveries(sound, 1_764_000_000_250, Pace(60_000, 600_000), Faults())]
    ['{"device":"pump-1","ts":1764000000000,"received":1764000000250,"values":{"flow":7.5}}\n']
    >>> faults = Faults(duplicate_share=0.5)
    >>> [delivery.fault for delivery in deliveries(sound, 1_764_000_000_250, Pace(60_000, 600_000), faults)]
    [None, 'duplicate']
"""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from features.schema import Reason
from pipelines.errors import ImportOptionError

MOST: Final = 0.5
DAY_MS: Final = 86_400_000
LATEST_MS: Final = 7 * DAY_MS  # how much later than late a held-back message arrives at most
CLOCK_AHEAD_MS: Final = 3 * DAY_MS
_REPEATED_MS = (1_000, 60_000)  # a sender that misses its acknowledgement tries again within about a minute
_DRAWS = 6

SPOILT: Final = (
    ("cut off", Reason.UNREADABLE),
    ("modem chatter", Reason.UNREADABLE),
    ("text for a number", Reason.WRONG_TYPE),
    ("no device", Reason.NO_DEVICE),
    ("clock three days ahead", Reason.IN_THE_FUTURE),
    ("clock back at 1970", Reason.TOO_OLD),
    ("no values", Reason.NO_SIGNALS),
    ("no time", Reason.NO_TIME),
)
"""The ways a message is spoilt, and with which reason a reader must reject each."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what happens.

    Args:
        late_share: Messages held back beyond what the fleet calls late, by seven days at most.
        duplicate_share: Messages delivered twice, the second time within a minute.
        disorder_share: Messages overtaken by one to three later ones of their device.
        corrupt_share: Messages that arrive spoilt, and only so.
        seed: Everything random follows from it.

    Raises:
        ImportOptionError: A share is not from 0 to 0.5.
    """

    late_share: float = 0.0
    duplicate_share: float = 0.0
    disorder_share: float = 0.0
    corrupt_share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
            if not 0 <= getattr(self, field.name) <= MOST:
                raise ImportOptionError(
                    f"{field.name} = {getattr(self, field.name)} is no share", fix=f"give a number from 0 to {MOST}"
                )

    @property
    def none(self) -> bool:
        """Whether nothing happens to any message."""
        return not (self.late_share or self.duplicate_share or self.disorder_share or self.corrupt_share)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a device reports, and how long after its time a message counts as late; milliseconds."""

    sampling_ms: int
    late_after_ms: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it reaches the hub: when (UTC milliseconds), its text, and what happened to it."""

    received_ms: int
    line: str
    fault: str | None = None


def deliveries(message: Mapping[str, Any], received_ms: int, pace: Pace, faults: Faults) -> list[Delivery]:
    """What arrives of a message, one delivery or two.

    Args:
        message: ``device``, ``ts`` (UTC milliseconds), ``values`` and whatever else it says, without ``received``.
        received_ms: When it arrives if nothing happens to it, UTC milliseconds.
        pace: What counts as late and as overtaken.
        faults: How often what happens.
    """
    if faults.none:
        return [Delivery(received_ms, _line(message, received_ms))]
    spoilt, how, late, overtaken, twice, by = _draws(message, faults.seed)
    if spoilt < faults.corrupt_share:
        kind = math.floor(how * len(SPOILT))
        return [Delivery(received_ms, spoil(_line(message, received_ms), kind), "spoilt")]
    fault = None
    if late < faults.late_share:
        received_ms = max(received_ms, message["ts"] + pace.late_after_ms + 1) + math.floor(by * LATEST_MS)
        fault = "late"
    elif overtaken < faults.disorder_share:
        received_ms += math.ceil((1 + 2 * by) * pace.sampling_ms)
        fault = "overtaken"
    found = [Delivery(received_ms, _line(message, received_ms), fault)]
    if twice < faults.duplicate_share:
        again_ms = received_ms + _REPEATED_MS[0] + math.floor(how * _REPEATED_MS[1])
        found.append(Delivery(again_ms, _line(message, again_ms), "duplicate"))
    return found


def spoil(line: str, how: int) -> str:
    r"""Spoil a sound line in the manner ``SPOILT[how]``.

    Example:
        >>> sound = '{"device":"pump-001","ts":5,"received":9,"values":{"vibration":1.0}}\n'
        >>> spoil(sound, 0)
        '{"device":"pump-001","ts":5,"re\n'
        >>> spoil(sound, 3)
        '{"ts":5,"received":9,"values":{"vibration":1.0}}\n'
    """
    name = SPOILT[how][0]
    if name == "cut off":
        return line[: len(line) * 4 // 9 + 1] + "\n"
    if name == "modem chatter":
        return "AT+CSQ: 9,99 OK\n"
    message = json.loads(line)
    if name == "text for a number":
        message["values"][next(iter(message["values"]))] = "n/a"
    elif name == "no device":
        del message["device"]
    elif name == "clock three days ahead":
        message["ts"] += CLOCK_AHEAD_MS
    elif name == "clock back at 1970":
        message["ts"] %= DAY_MS
    elif name == "no values":
        message["values"] = {}
    else:
        del message["ts"]
    return json.dumps(message, separators=(",", ":")) + "\n"


def _line(message: Mapping[str, Any], received_ms: int) -> str:
    stamped = {"device": message["device"], "ts": message["ts"], "received": received_ms, **message}
    return json.dumps(stamped, separators=(",", ":"), allow_nan=False) + "\n"


def _draws(message: Mapping[str, Any], seed: int) -> tuple[float, ...]:
    """Six numbers from 0 to below 1 that depend on the seed and the message only."""
    text = json.dumps(message, sort_keys=True).encode()
    digest = hashlib.blake2b(text, digest_size=8 * _DRAWS, key=str(seed).encode()).digest()
    return tuple(number / 2**53 for number in (drawn >> 11 for drawn in struct.unpack(f"<{_DRAWS}Q", digest)))
