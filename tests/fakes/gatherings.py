"""Thousands of gateways that report, without their processes: the documents that gateways write, into a folder."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.bundle import digest_of
from serving.promotion import Action, Promotion, PromotionLedger
from serving.release import Former, Release, bundle_path, release_path
from serving.status import write_status
from serving.store import open_store
from serving.trust.keys import create_keys
from serving.trust.publisher import Publisher

USECASE = "pump_failure"
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
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
        "usecase": USECASE,
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
        "features": {"bundle": runs["bundle"] if runs else "", "values": 36 * 12 * number, "missing": 9 * number},
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
        "disk_free_share": 0.4,
        "temperature_c": 41.5,
    }
    return said | more


def trouble(number: int, release: Release, at_us: int) -> tuple[dict[str, Any], int]:
    """What is unlike the usual about some of ten thousand, and when they reported."""
    before = release.before
    reached = release.reaches(name(number))
    old = {"version": before.version, "number": before.number, "bundle": before.bundle} if before else {}
    lost = "TM-224 the model does not give the golden scores here: row 3 differs by 0.2"
    away = {"state": "unreachable", "reason": "TM-251 the store of updates does not answer"}
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


class Gathering:
    """A store in which a rollout is under way over thousands of gateways.

    Args:
        root: For the store and the keys; made when missing.
        now_us: The time.
    """

    def __init__(self, root: Path, now_us: int) -> None:
        root.mkdir(parents=True, exist_ok=True)
        create_keys(root / "keys")
        self.folder = root / "store"
        self.store = open_store(str(self.folder), create=True)
        self.publisher = Publisher(self.store, root / "keys")
        self.publisher.initialise(now_us)
        first = _release(1, "1", b"one", now_us - 9 * DAY_US)
        self.release = replace(
            _release(2, "2", b"two", now_us - 3 * HOUR_US),
            stage=2,
            stages=3,
            share=0.5,
            stage_since_us=now_us - HOUR_US // 2,
            before=first.former(),
        )
        files = {first.path: b"one", self.release.path: b"two", release_path(USECASE): self.release.to_bytes()}
        self.publisher.publish(files, (), now_us)
        self._note(first, "released", "", "ada")
        refused = replace(self.release, number=1, version="3", gate=f"sha256:{'e' * 64}")
        self._note(refused, "refused", "1", "ada", reason="the gate refused it: 0.9 false alarms a device and week")
        self._note(self.release, "released", "1", "ada", approved_by="ben")
        write_status(
            self.store,
            {
                "usecase": USECASE,
                "wanted": "2",
                "action": "waiting",
                "reason": "stage 2 goes on for another 30 min",
                "release": 2,
                "gateways": "",
                "question": None,
            },
        )

    def _note(
        self, release: Release, outcome: Action, before: str, by: str, *, approved_by: str = "", reason: str = ""
    ) -> None:
        ledger = PromotionLedger(self.store, USECASE, self.publisher.seal)
        entry = Promotion(
            USECASE,
            release.released_at_us,
            outcome,
            release.number,
            before,
            release.version,
            release.bundle,
            release.gate,
            reason,
            stage=1,
            promoted_by=by,
            approved_by=approved_by,
        )
        assert ledger.append(ledger.last(), entry)

    def monitor(self, now_us: int) -> None:
        """What monitoring leaves, as it writes it."""
        reasons, brakes = ["vibration_mean_6h moved far (0.31)"], ["trained 5 days ago, it rests for 14 days"]
        self._put(
            f"reports/monitoring/{USECASE}/2026-11-26.json",
            {
                "format": 1,
                "made_at_us": now_us - 5 * HOUR_US,
                "summary": {
                    "version": "1",
                    "windows": 18_234,
                    "devices": 412,
                    "joined_share": 0.61,
                    "headline": "9 of 11 failures caught",
                    "features": 24,
                    "drifted": ["vibration_mean_6h"],
                    "score_index": 0.08,
                },
                "versions": [
                    {
                        "version": "1",
                        "feature_index": {"vibration_mean_6h": 0.31, "current_std_24h": 0.07},
                        "beside": [
                            {"title": "share of failures caught", "unit": "1", "live": 0.818, "offline": 0.9},
                            {"title": "false alarms per device and week", "unit": "1", "live": 0.25, "offline": None},
                        ],
                    }
                ],
            },
        )
        decided = {"decided_at_us": now_us - 5 * HOUR_US, "retrain": False, "reasons": reasons, "brakes": brakes}
        self._put(f"ledger/retraining/{USECASE}/2026-11-26.json", decided)
        self._put(
            f"reports/shadow/{USECASE}/3.json",
            {
                "format": 1,
                "made_at_us": now_us - 4 * HOUR_US,
                "champion": {"version": "1", "headline": "9 of 11 failures caught"},
                "challenger": {"version": "3", "headline": "10 of 11 failures caught"},
                "windows": 9_100,
                "agreement": 0.973,
                "judged": 11,
                "counted": "failures",
                "measure": "precision at recall 0.8",
                "gain": 0.041,
                "gain_interval": [-0.012, 0.094],
                "examples": [{"device": "pump-017", "champion": 0.31, "challenger": 0.84}],
            },
        )

    def _put(self, key: str, fields: dict[str, Any]) -> None:
        self.store.put(key, json.dumps(fields).encode())


def _release(number: int, version: str, data: bytes, at_us: int) -> Release:
    digest = digest_of(data)
    return Release(
        USECASE,
        number,
        version,
        digest,
        bundle_path(digest),
        at_us,
        ("gateway", "cloud"),
        gate=f"sha256:{version * 64}",
        run=f"run{version}",
        stage_since_us=at_us,
    )
