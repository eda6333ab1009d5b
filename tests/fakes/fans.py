"""Telemetry of the fleet of ``tests.fakes.bundles``: JSON lines of some fans, one reading a minute."""

import json

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
START_US = 1_764_000_000_000_000  # 2025-11-24T16:00:00Z, a full hour


def records(first: int, last: int, devices: int = 1, speed: float = 50.0) -> list[bytes]:
    """The readings of the minutes ``first`` to ``last`` (not included) since ``START_US``."""
    return [
        json.dumps(
            {
                "device": f"fan-{device}",
                "ts": (START_US + minute * MINUTE_US) // 1000,
                "received": (START_US + minute * MINUTE_US) // 1000 + 200,
                "speed": speed + minute % 7,
                "heat": 20.0 + device,
            }
        ).encode()
        for minute in range(first, last)
        for device in range(devices)
    ]


def body(first: int, last: int, devices: int = 1, speed: float = 50.0) -> bytes:
    """The same as one body."""
    return b"\n".join(records(first, last, devices, speed))
