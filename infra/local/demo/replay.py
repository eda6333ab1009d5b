"""Feed stored raw telemetry and events to gateways, as their devices would have sent them.

A gateway stands beside its devices, so nothing is late there as it is at the hub: records are put back into event
order, then disturbed a little. Duplicates and broken records stay in. Events come when they became known.
"""

import gzip
import http.client
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from features.schema import Fleet
from serving.store import Store

BATCH = 2_000
"""Records in one request."""


Sent = tuple[str, bytes]
"""A path of the gateway's endpoint and a line that goes there."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Raw records of one stretch of time, in order.

    Attributes:
        lines: Telemetry: ``(event time in ms, device, line)``.
        events: What became known before its end: ``(when in ms, device, line)``.
    """

    lines: tuple[tuple[int, str, bytes], ...]
    events: tuple[tuple[int, str, bytes], ...] = ()

    def of(self, devices: Sequence[str], disorder_ms: int = 0, seed: int = 0) -> list[Sent]:
        """Return what some devices send, telemetry a little out of order, as a busy network delivers it.

        Args:
            devices: Whose lines; those that name no device go to whoever asks for the empty name.
            disorder_ms: How much later than another a record may arrive that happened before it.
            seed: Makes the disorder reproducible.
        """
        generator = random.Random(seed)  # noqa: S311 - a reproducible disturbance, not a secret
        wanted = set(devices)
        arrivals: list[tuple[float, Sent]] = [
            (at, ("/events", line)) for at, device, line in self.events if device in wanted
        ]
        arrivals += [
            (at + generator.uniform(0, disorder_ms), ("/telemetry", line))
            for at, device, line in self.lines
            if device in wanted
        ]
        return [sent for _, sent in sorted(arrivals, key=lambda arrival: arrival[0])]

    @property
    def devices(self) -> list[str]:
        """The devices that appear, sorted."""
        return sorted({device for _, device, _ in self.lines if device})


def record(store: Store, fleet: Fleet, since_ms: int, until_ms: int) -> Recorded:
    """Read the raw records of a fleet whose event time lies in ``[since_ms, until_ms)``.

    A record that cannot be read has no event time: it keeps the place of the record before it.
    """
    timed: list[tuple[int, int, str, bytes]] = []
    latest = since_ms
    for entry in store.list(f"raw/{fleet.name}/telemetry/"):
        if not _overlaps(entry.key, since_ms, until_ms):
            continue
        for line in gzip.decompress(store.get(entry.key)).splitlines():
            device, at = _device_and_time(fleet, line)
            latest = at if at is not None else latest
            if since_ms <= latest < until_ms:
                timed.append((latest, len(timed), device, line))
    timed.sort(key=lambda row: (row[0], row[1]))
    return Recorded(tuple((at, device, line) for at, _, device, line in timed), tuple(_events(store, fleet, until_ms)))


def feed(url: str, sent: Sequence[Sent], progress: Callable[[int], None]) -> dict[str, Any]:
    """Post lines to a gateway's local endpoint in batches and add up what it answered to telemetry."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=60)
    totals = {"accepted": 0, "rejected": 0, "duplicates": 0, "late": 0, "predictions": 0}
    for path, batch in _batches(sent):
        connection.request("POST", path, b"\n".join(batch), {"Content-Type": "application/x-ndjson"})
        response = connection.getresponse()
        content = json.loads(response.read())
        if response.status != http.HTTPStatus.OK:
            raise ConnectionError(f"the gateway at {url} answered {response.status}: {content}")
        for name in totals if path == "/telemetry" else ():
            value = content[name]
            totals[name] += sum(value.values()) if isinstance(value, dict) else value
        progress(len(batch))
    connection.close()
    return totals


def _batches(sent: Sequence[Sent]) -> Iterator[tuple[str, list[bytes]]]:
    for path, group in groupby(sent, key=lambda each: each[0]):
        lines = [line for _, line in group]
        for start in range(0, len(lines), BATCH):
            yield path, lines[start : start + BATCH]


def _events(store: Store, fleet: Fleet, until_ms: int) -> Iterator[tuple[int, str, bytes]]:
    """Events that became known before a moment, in this order; of the years before the stretch as well."""
    known = []
    for entry in store.list(f"raw/{fleet.name}/events/"):
        for line in gzip.decompress(store.get(entry.key)).splitlines():
            event = json.loads(line)
            known.append((max(event["ts"], event["known_at"]), event["device"], line))
    return (event for event in sorted(known) if event[0] < until_ms)


def _overlaps(key: str, since_ms: int, until_ms: int) -> bool:
    """Whether an object's arrival day, written in its key, can hold records of the stretch; late ones come after it."""
    year, month, day = key.split("/telemetry/", 1)[1].split("/")[:3]
    arrived = datetime(int(year), int(month), int(day), tzinfo=UTC).timestamp() * 1000
    day_ms = 86_400_000
    return since_ms - day_ms <= arrived < until_ms + day_ms


def _device_and_time(fleet: Fleet, line: bytes) -> tuple[str, int | None]:
    try:
        content = json.loads(line)
        return str(content[fleet.mapping.device]), int(content[fleet.mapping.time])
    except (ValueError, KeyError, TypeError):
        return "", None
