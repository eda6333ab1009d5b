"""What a gateway says about itself: one flat document for people and pages, and counts for Prometheus.

The first question of everybody is what the gateway runs and predicts with, so ``version``, ``bundle`` and ``slot`` tell
what answers in memory at this moment, never what was sent to it; what is wanted stands apart, under ``desired``.
"""

import resource
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from serving.exposition import Family, Sample
from serving.gateway.installation import Installation
from serving.gateway.updates import Updates
from serving.journal import iso
from serving.record import Spool
from serving.release import Release

FORMAT = 1
THERMAL = Path("/sys/class/thermal")
"""Where Linux shows its sensors, a folder each, in thousandths of a degree."""
_COLDEST, _HOTTEST = -60, 200
_MIB = 1024 * 1024


def memory_mib() -> float:
    """Resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not Linux: the peak has to do
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB, 1)
    return round(pages * resource.getpagesize() / _MIB, 1)


def disk_free_share(folder: Path) -> float | None:
    """How much of the disk that holds a folder is free, from 0 to 1; None where nobody can tell."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return round(usage.free / usage.total, 4) if usage.total else None


def temperature_c(zones: Path = THERMAL) -> float | None:
    """The highest temperature that a sensor of the machine says, in degrees Celsius; None where there is no sensor.

    A sensor that cannot be read, or that says what no running machine has, is left out.
    """
    found = []
    for sensor in zones.glob("thermal_zone*/temp"):
        try:
            degrees = int(sensor.read_text(encoding="ascii")) / 1000
        except (OSError, ValueError):
            continue
        if _COLDEST < degrees < _HOTTEST:
            found.append(degrees)
    return round(max(found), 1) if found else None


def describe(installation: Installation, desired: Release | None, now_us: int) -> dict[str, object]:
    """What there is to say about one use case."""
    telemetry = installation.telemetry
    shown = telemetry.totals.shown
    model, totals = telemetry.model, telemetry.totals
    installed = model.installed if model else None
    standing, _ = telemetry.alerts()
    filling, filled_us = telemetry.filling()
    return {
        "usecase": telemetry.usecase,
        "fleet": telemetry.fleet,
        "state": installation.state,
        "reason": installation.reason,
        "version": installed.version if installed else "",
        "number": installed.number if installed else 0,
        "bundle": installed.bundle if installed else "",
        "slot": installed.slot if installed else "",
        "feature_digest": model.feature_digest if model else "",
        "desired": {"version": desired.version, "number": desired.number, "bundle": desired.bundle}
        if desired
        else None,
        "accepted": totals.accepted,
        "rejected": dict(totals.rejected),
        "duplicates": totals.duplicates,
        "late": totals.late,
        "predictions": totals.predictions,
        "unpredicted": totals.unpredicted,
        "features": {"bundle": shown.bundle, "values": shown.values, "missing": shown.missing},
        "alerts": totals.alerts,
        "standing_alerts": len(standing),
        "filling_devices": filling,
        "next_filled_at": iso(filled_us),
        "last_telemetry_at": iso(totals.last_telemetry_us),
        "last_prediction_at": iso(totals.last_prediction_us),
        "clock": "unsynced" if telemetry.clock_is_behind(now_us) else "plausible",
    }


def updates_of(updates: Updates) -> dict[str, object]:
    """How fresh the knowledge about releases is."""
    return {"state": updates.state, "reason": updates.reason, "checked_at": iso(updates.checked_us)}


def spool_of(spool: Spool) -> dict[str, object]:
    """Predictions on their way to the store."""
    return {"pending": spool.pending, "dropped": spool.dropped, "reason": spool.last_error}


def families(installations: Mapping[str, Installation], updates: Updates, spool: Spool) -> Iterable[Family]:
    """Counts for Prometheus."""
    totals = {name: installation.telemetry.totals for name, installation in installations.items()}
    models = {name: installation.telemetry.model for name, installation in installations.items()}
    running = {name: model.installed for name, model in models.items() if model is not None}
    yield Family(
        "tidemill_gateway_model_info",
        "gauge",
        "The version that answers for each use case.",
        [
            ({"usecase": name, "version": it.version, "bundle": it.bundle, "slot": it.slot}, 1)
            for name, it in running.items()
        ],
    )
    yield Family(
        "tidemill_gateway_records_total",
        "counter",
        "Telemetry records, by what became of them.",
        [
            ({"usecase": name, "became": became}, count)
            for name, counts in totals.items()
            for became, count in (
                ("accepted", counts.accepted),
                ("duplicate", counts.duplicates),
                ("late", counts.late),
                *sorted(counts.rejected.items()),
            )
        ],
    )
    unknown: list[Sample] = [
        ({"usecase": name, "field": field}, count)
        for name, counts in totals.items()
        for field, count in sorted(counts.unknown.items())
    ]
    if unknown:
        sentence = "Telemetry records with a field that the mapping names nowhere."
        yield Family("tidemill_gateway_unknown_fields_total", "counter", sentence, unknown)
    for metric, sentence, field in (
        ("tidemill_gateway_predictions_total", "Predictions made.", "predictions"),
        ("tidemill_gateway_unpredicted_total", "Feature rows that no model could answer for.", "unpredicted"),
        ("tidemill_gateway_alerts_total", "Alerts raised.", "alerts"),
    ):
        samples = [({"usecase": name}, getattr(counts, field)) for name, counts in totals.items()]
        yield Family(metric, "counter", sentence, samples)
    yield Family("tidemill_gateway_pending", "gauge", "Predictions the store does not have.", [({}, spool.pending)])
    yield Family("tidemill_gateway_updates_current", "gauge", "Whether the last look for releases succeeded.",
                 [({}, int(updates.state == "current"))])  # fmt: skip
    yield Family("tidemill_gateway_memory_mib", "gauge", "Resident memory.", [({}, memory_mib())])
