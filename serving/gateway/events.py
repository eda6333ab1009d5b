"""From the bytes somebody sends about events to events that features can count, pure.

A body is JSON records in any framing, as for telemetry: ``{"device", "ts", "kind", "known_at"}``, times in
milliseconds; without ``known_at`` an event counts as known when it happened. These are the records that stored events
are read from; kinds that the fleet does not declare are passed over, because no feature speaks of them.

Example:
    >>> from dataclasses import replace
    >>> from features.catalog import load
    >>> fleet = replace(load("pumps").fleet, event_kinds=("maintenance",))
    >>> body = b'{"device":"p-1","ts":60000,"kind":"maintenance"}{"device":"p-1","ts":5,"kind":"lunch"}{}'
    >>> events = read(body, fleet)
    >>> events.devices, events.times.tolist(), events.ignored, dict(events.rejected)
    (['p-1'], [60000000], 1, {<Reason.NO_DEVICE: 'no_device'>: 1})
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.schema import Fleet, Reason
from serving.gateway.records import portions
from serving.gateway.values import Rejected, clock_of, text_of

_MOMENT = clock_of("ms")


@dataclass(frozen=True, slots=True)
class Happened:
    """What a body told.

    Attributes:
        devices: The device of each event.
        kinds: What happened, kinds of the fleet.
        times: When, shape ``(n,)``, UTC microseconds.
        known: When it became known, shape ``(n,)``.
        ignored: Events of kinds that no feature can speak of.
        rejected: How many records were no events, by reason.
    """

    devices: Sequence[str]
    kinds: Sequence[str]
    times: NDArray[np.int64]
    known: NDArray[np.int64]
    ignored: int
    rejected: Mapping[Reason, int]


def read(body: bytes, fleet: Fleet) -> Happened:
    """Parse and judge a body. Nothing in it can make this fail."""
    rejected: Counter[Reason] = Counter()
    told: list[tuple[str, str, int, int]] = []
    for portion in portions(body):
        for record in portion:
            try:
                told.append(_event(record))
            except Rejected as fault:
                rejected[fault.reason] += 1
    kept = [event for event in told if event[1] in fleet.event_kinds]
    return Happened(
        [event[0] for event in kept],
        [event[1] for event in kept],
        np.array([event[2] for event in kept], np.int64),
        np.array([event[3] for event in kept], np.int64),
        len(told) - len(kept),
        rejected,
    )


def _event(record: object) -> tuple[str, str, int, int]:
    if type(record) is not dict:
        raise Rejected(Reason.UNREADABLE)
    device, kind = text_of(record.get("device")), text_of(record.get("kind"))
    time, known = _MOMENT(record.get("ts")), _MOMENT(record.get("known_at"))
    if not device:
        raise Rejected(Reason.NO_DEVICE)
    if time is None or time < 0:
        raise Rejected(Reason.NO_TIME)
    if not kind:
        raise Rejected(Reason.WRONG_TYPE)
    return device, kind, time, time if known is None or known < 0 else known
