"""What gateways say about themselves, as the store holds it: an object each, which its owner writes anew each minute.

Specification. Key ``reports/<fleet>/<gateway>.json``, the document that ``serving.gateway.status`` makes. A gateway
with several use cases leaves ``<gateway>.<usecase>.json`` for each.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from serving.errors import DamagedObjectError, MissingObjectError
from serving.store import Entry, Remote, Store

FOLDER = "reports/"
OTHERS = ("ingest", "monitoring", "shadow")
"""Folders beside those of the fleets that hold reports of other kinds, which grow for years and are not listed."""
_AT_A_TIME = 32  # of a service; a disk is read by this thread alone
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Report:
    """What a gateway said.

    Attributes:
        gateway: Its name.
        fleet: Its fleet.
        usecase: What it runs.
        at_us: When it said so, by its own clock, UTC microseconds.
        state: ``waiting``, ``serving``, ``probation``, ``withdrawn``, ``failing``; ``unreadable`` for no report.
        process: ``running`` or ``stopped``.
        version: Version that answers in memory; empty for none.
        number: Release that brought it, 0 for none.
        bundle: Its digest; empty for none.
        wanted: Number of the release that it knows it should run, 0 for none.
        wanted_version: Its version; empty for none.
        reason: Why it does not run what it should, or empty.
        updates_reason: Why it does not reach the releases, or empty.
        predictions: Predictions since its start.
        alerts: Alerts since its start.
        standing_alerts: Alerts that stand.
        clock: ``plausible`` or ``unsynced``.
        memory_mib: Resident memory.
        last_prediction_us: When it predicted last, UTC microseconds; 0 for never.
        updates: Whether it reaches the releases: ``current``, ``unreachable``, ``expired``, ``refused``, ``unknown``.
        pending: Predictions that the store does not have yet.
        values: Values of features that the version that answers was shown; 0 for none, or where nobody told.
        missing: How many of them were missing (NaN).
        disk_free_share: How much of its disk is free, from 0 to 1; None where nobody told.
        temperature_c: Of its hottest sensor, in degrees Celsius; None where it has none, or nobody told.
    """

    gateway: str
    fleet: str
    usecase: str
    at_us: int
    state: str
    process: str = "running"
    version: str = ""
    number: int = 0
    bundle: str = ""
    wanted: int = 0
    wanted_version: str = ""
    reason: str = ""
    updates_reason: str = ""
    predictions: int = 0
    alerts: int = 0
    standing_alerts: int = 0
    clock: str = "plausible"
    memory_mib: float = 0.0
    last_prediction_us: int = 0
    updates: str = "current"
    pending: int = 0
    values: int = 0
    missing: int = 0
    disk_free_share: float | None = None
    temperature_c: float | None = None


class ReportReader:
    """Reads reports, and those that have not changed since only once.

    Args:
        store: Where they lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[str, Report]] = {}

    def read(self) -> list[Report]:
        """Return all reports, by fleet and gateway. One that cannot be read has the state ``unreadable``."""
        folders = [folder for folder in self._store.level(FOLDER).folders if folder.split("/")[1] not in OTHERS]
        listed = [entry for folder in folders for entry in self._store.list(folder) if _is_report(entry.key)]
        changed = [entry for entry in listed if self._known.get(entry.key, ("", None))[0] != entry.etag]
        self._known = {entry.key: self._known[entry.key] for entry in listed if entry.key in self._known}
        for entry, report in self._fetched(changed):
            if report is None:
                self._known.pop(entry.key, None)
            else:
                self._known[entry.key] = entry.etag, report
        return [self._known[entry.key][1] for entry in listed if entry.key in self._known]

    def _fetched(self, entries: list[Entry]) -> Iterator[tuple[Entry, Report | None]]:
        if isinstance(self._store, Remote):
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                yield from zip(entries, pool.map(self._one, entries), strict=True)
        else:
            yield from ((entry, self._one(entry)) for entry in entries)

    def _one(self, entry: Entry) -> Report | None:
        """None where it is gone meanwhile."""
        _, fleet, name = entry.key.split("/")
        try:
            return parse(fleet, json.loads(self._store.get(entry.key)))
        except MissingObjectError:
            return None
        except (DamagedObjectError, ValueError, KeyError, TypeError, AttributeError):
            gateway = name.removesuffix(".json")
            return Report(gateway, fleet, "", entry.modified_us, "unreadable", reason=f"{entry.key} is no report")


def parse(fleet: str, fields: Mapping[str, object]) -> Report:
    """Read a report.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is none.
    """
    desired, updates, spool, features = (
        _mapping(fields.get(name)) for name in ("desired", "updates", "spool", "features")
    )
    # After a change the counts are still those of the version before, until the new one predicts.
    counted = features.get("bundle") == fields.get("bundle")
    return Report(
        gateway=str(fields["id"]),
        fleet=fleet,
        usecase=str(fields["usecase"]),
        at_us=_time(fields["at"]),
        state=str(fields["state"]),
        process=str(fields.get("process", "running")),
        version=str(fields["version"]),
        number=_count(fields.get("number")),
        bundle=str(fields.get("bundle", "")),
        wanted=_count(desired.get("number")),
        wanted_version=str(desired.get("version", "")),
        reason=str(fields.get("reason") or ""),
        updates_reason=str(updates.get("reason") or ""),
        predictions=_count(fields["predictions"]),
        alerts=_count(fields.get("alerts")),
        standing_alerts=_count(fields.get("standing_alerts")),
        clock=str(fields.get("clock", "plausible")),
        memory_mib=float(str(fields.get("memory_mib") or 0)),
        last_prediction_us=_time(fields.get("last_prediction_at")),
        updates=str(updates.get("state", "unknown")),
        pending=_count(spool.get("pending")),
        values=_count(features.get("values")) if counted else 0,
        missing=_count(features.get("missing")) if counted else 0,
        disk_free_share=_figure(fields.get("disk_free_share")),
        temperature_c=_figure(fields.get("temperature_c")),
    )


def _is_report(key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 3 and parts[2].endswith(".json")  # noqa: PLR2004 - see FOLDER


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int:
    return int(str(value or 0))


def _figure(value: object) -> float | None:
    return None if value is None else float(str(value))


def _time(value: object) -> int:
    if not value:
        return 0
    return (datetime.fromisoformat(str(value)).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
