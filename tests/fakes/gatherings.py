"""Thousands of gateways that report, without their processes: the documents that gateways write, into a folder."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.release import Former, Release

SITES = ("north", "south", "harbour", "quarry")


def name(number: int) -> str:
    """Name of a gateway."""
    return f"{SITES[number % len(SITES)]}-{number:05d}"


def document(gateway: str, due: Release | Former | None, at_us: int, **more: Any) -> dict[str, Any]:
    """What a gateway in order says that runs what it should.

    Args:
        gateway: Its name.
        due: What it should run, and does.
        at_us: When it says so.
        more: Fields that differ.
    """
    number = sum(map(ord, gateway))
    runs = {"version": due.version, "number": due.number, "bundle": due.bundle} if due else None
    said = {
        "format": 1,
        "id": gateway,
        "at": _iso(at_us),
        "process": "running",
        "usecase": "pump_failure",
        "fleet": "pumps",
        "state": "serving" if due and due.bundle else "waiting",
        "reason": "",
        **(runs or {"version": "", "number": 0, "bundle": ""}),
        "slot": "a",
        "feature_digest": f"sha256:{'5' * 64}",
        "desired": runs,
        "accepted": 31 * number,
        "rejected": {"out_of_range": 3},
        "duplicates": 2,
        "late": 0,
        "predictions": 12 * number,
        "unpredicted": 1,
        "alerts": number % 7,
        "standing_alerts": int(number % 97 == 0),
        "filling_devices": 0,
        "next_filled_at": None,
        "last_telemetry_at": _iso(at_us),
        "last_prediction_at": _iso(at_us),
        "clock": "plausible",
        "updates": {"state": "current", "reason": "", "checked_at": _iso(at_us)},
        "spool": {"pending": number % 3, "dropped": 0, "reason": ""},
        "memory_mib": 74.0 + number % 11,
    }
    return said | more


def trouble(number: int, release: Release, at_us: int) -> tuple[dict[str, Any], int]:
    """What is unlike the usual about some of ten thousand, and when they reported."""
    before = release.before
    reached = release.reaches(name(number))
    old = {"version": before.version, "number": before.number, "bundle": before.bundle} if before else {}
    lost = "TM-243 the bundle does not answer its golden rows: row 3 differs by 0.2"
    away = {"state": "unreachable", "reason": "TM-211 the store cannot be reached"}
    unlike: dict[int, tuple[dict[str, Any], int]] = {
        3: ({**old, "reason": lost} if reached else {}, 0),
        7: ({}, 3600 + number),
        8: ({}, 3600 + number),
        11: (old if reached else {}, 0),
        13: ({"process": "stopped"}, 0),
        17: ({"clock": "unsynced"}, 0),
        19: ({"updates": away}, 0),
    }
    more, earlier_s = unlike.get(number % 500, ({}, 0))
    return more, at_us - earlier_s * 1_000_000


def write_reports(folder: Path, count: int, release: Release, now_us: int, fleet: str = "pumps") -> None:
    """Write the reports of so many gateways, a few of which are in trouble, straight to disk.

    Args:
        folder: The folder of the store.
        count: How many.
        release: What is published.
        now_us: The time; reports are up to a minute old.
        fleet: Their fleet.
    """
    place = folder / "reports" / fleet
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        gateway = name(number)
        more, at_us = trouble(number, release, now_us - (number % 60) * 1_000_000)
        said = document(gateway, release.applied_to(gateway), at_us, **more)
        (place / f"{gateway}.json").write_text(json.dumps(said, indent=1))


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
