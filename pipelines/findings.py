"""What the sums of a run mean: the document of the data report, its headlines, and what is out of the ordinary.

A run is compared with what is remembered of earlier ones (`Memory`): which devices there are and when each was last
heard, and how much the last runs brought.
"""

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.schema import MICROSECOND, Fleet
from features.unknown import both
from pipelines.datareport import LATENESS_EDGES_S, SECOND_US, Arrivals, Spoken, lateness_quantile, pause_us

FORMAT: Final = 1
QUANTILES: Final = (0.5, 0.9, 0.99)
MOST_LISTED: Final = 10
_RUNS_REMEMBERED: Final = 30
_FEWEST_RUNS: Final = 5  # before fewer, nobody knows what is usual
_UNUSUAL: Final = 3.0  # times more, or less, than the median of earlier runs
_SILENT_PAUSES: Final = 4  # a device is silent after as many pauses, which are three sampling intervals each
_COARSE_S: Final = (1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86_400.0, 7 * 86_400.0, 30 * 86_400.0)
_COARSE: Final = ("1 s", "10 s", "1 min", "10 min", "1 h", "6 h", "1 d", "7 d", "30 d")
COUNTED: Final = ("accepted", "duplicates", "superseded", "quarantined")
"""What becomes of a record of telemetry: each is one of these."""
CHANGED: Final = ("replaced", "restored", "joined", "excluded")
"""What else the ingest counts: rows that went or came back, records that share a row, objects passed over."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of earlier runs.

    Attributes:
        runs: How many there were.
        heard: When each device was last heard, event time, UTC microseconds.
        volumes: Readings that the latest runs accepted, oldest first.
        counts: Everything that was ever counted.
        reasons: All rejects by reason.
        unknown: Records with a field that the mapping names nowhere, by field.
    """

    runs: int = 0
    heard: Mapping[str, int] = field(default_factory=dict)
    volumes: tuple[int, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)

    @property
    def newest_us(self) -> int | None:
        """The newest event time; None before the first reading."""
        return max(self.heard.values(), default=None)

    def to_json(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Memory":
        """Back from `to_json`; ``ValueError`` or ``TypeError`` when it is something else."""
        document = json.loads(data)
        return cls(**{**document, "volumes": tuple(document["volumes"])})


def remember(memory: Memory, arrivals: Arrivals, run: int) -> Memory:
    """What is remembered after a run."""
    heard = dict(memory.heard)
    for name, newest in zip(arrivals.devices.tolist(), _newest(arrivals).tolist(), strict=True):
        heard[name] = max(newest, heard.get(name, newest))
    volumes = (*memory.volumes, arrivals.counts["accepted"])[-_RUNS_REMEMBERED:]
    counts, reasons = Counter(memory.counts) + arrivals.counts, Counter(memory.reasons) + arrivals.reasons
    return Memory(run, heard, volumes, dict(counts), dict(reasons), dict(both(memory.unknown, arrivals.unknown)))


def document(fleet: Fleet, arrivals: Arrivals, before: Memory, run: int, now_us: int) -> dict[str, Any]:
    """The data report of a run, ready for JSON; see `pipelines.datareport` for what is counted how."""
    counts = arrivals.counts
    records = sum(counts[name] for name in COUNTED)
    after = remember(before, arrivals, run)
    gaps, silent = _gaps(arrivals), _silent(fleet, after)
    rejected = arrivals.reasons.total()
    found: dict[str, Any] = {
        "format": FORMAT,
        "fleet": fleet.name,
        "run": run,
        "at_us": now_us,
        "counts": {"objects": counts["objects"], "records": records, **{n: counts[n] for n in COUNTED}},
        "changed": {name: counts[name] for name in CHANGED},
        "late": counts["late"],
        "events": counts["events"],
        "unreadable_objects": counts["unreadable"],
        "damaged_objects": arrivals.damaged,
        "reasons": [{"reason": name, "count": n, "share": n / rejected} for name, n in arrivals.reasons.most_common()],
        "unknown_fields": [
            {"field": name, "count": n, "share": n / max(records, 1)} for name, n in arrivals.unknown.most_common()
        ],
        "first_us": arrivals.first_us,
        "last_us": arrivals.last_us,
        "lateness": _lateness(arrivals.lateness),
        "devices": {
            "heard": len(arrivals.devices),
            "known": len(after.heard),
            "new": _listed([name for name in arrivals.devices.tolist() if name not in before.heard]),
            "silent": _listed(silent),
        },
        "gaps": gaps,
        "rhythm": _rhythm(fleet.sampling, arrivals.devices, Spoken(arrivals.readings, arrivals.stretches)),
        "signal_rhythms": {
            signal.name: _rhythm(signal.sampling, arrivals.devices, arrivals.spoken[signal.name])
            for signal in fleet.signals
            if signal.sampling is not None and signal.name in arrivals.spoken
        },
        "violations": [
            {"signal": name, "below": below, "above": above} for name, (below, above) in arrivals.violations.items()
        ],
        "violations_examined": arrivals.examined,
        "off_grid": [
            {"signal": name, "count": arrivals.off_grid[name], "share": arrivals.off_grid[name] / values}
            for name, values in arrivals.stepped.items()
        ],
        "freshness_s": None if after.newest_us is None else (now_us - after.newest_us) / SECOND_US,
        "volume": {"accepted": counts["accepted"], "usual": usual(before)},
    }
    found["warnings"] = warnings(fleet, after.newest_us, counts["accepted"], before, now_us)
    return found


def warnings(fleet: Fleet, newest_us: int | None, accepted: int | None, before: Memory, now_us: int) -> list[str]:
    """Say what is out of the ordinary: readings that are not fresh, and a volume unlike that of earlier runs.

    Args:
        fleet: Says how often devices report and how late readings may be.
        newest_us: The newest event time there is, UTC microseconds; None before the first reading.
        accepted: Readings that this run accepted; None when it found nothing new, which freshness judges.
        before: What earlier runs accepted.
        now_us: The clock, UTC microseconds.

    Example:
        >>> from features.catalog import load
        >>> warnings(load("pumps").fleet, 0, 10, Memory(5, volumes=(100, 90, 110, 100, 100)), 7_200_000_000)
        ['freshness: the newest reading is 2 h old, a device reports every 1 min',
         'volume: 10 readings accepted, 100 are usual']
    """
    told = []
    allowed = fleet.late_after // MICROSECOND + pause_us(fleet)
    if newest_us is not None and now_us - newest_us > allowed:
        age, every = spoken((now_us - newest_us) / SECOND_US), spoken(fleet.sampling.total_seconds())
        told.append(f"freshness: the newest reading is {age} old, a device reports every {every}")
    typical = usual(before)
    if typical is not None and accepted is not None and not typical / _UNUSUAL <= accepted <= typical * _UNUSUAL:
        told.append(f"volume: {accepted:,} readings accepted, {typical:,} are usual")
    return told


def usual(memory: Memory) -> int | None:
    """The median of what earlier runs accepted; None while there are too few."""
    return int(statistics.median(memory.volumes)) if len(memory.volumes) >= _FEWEST_RUNS else None


def headlines(found: Mapping[str, Any]) -> list[str]:
    """The three lines of a report that matter most."""
    counts, devices, gaps = found["counts"], found["devices"], found["gaps"]
    parts = [f"{counts[name]:,} {name}" for name in COUNTED if counts[name] or name != "superseded"]
    lines = [f"{counts['records']:,} records in = {' + '.join(parts)}"]
    if found["freshness_s"] is not None:
        half, nearly_all = (found["lateness"]["quantiles"][str(share)] for share in (0.5, 0.99))
        late = "" if half is None else f"; half came within {spoken(half)}, 99 % within {spoken(nearly_all)}"
        lines.append(f"newest reading {spoken(max(found['freshness_s'], 0.0))} old{late}")
    told = [f"{devices['heard']:,} of {devices['known']:,} devices heard"]
    told += [f"{devices[kind]['count']:,} {kind}" for kind in ("new", "silent") if devices[kind]["count"]]
    if gaps["worst"]:
        worst = gaps["worst"][0]
        told.append(f"{gaps['count']:,} gaps, the longest {spoken(worst['longest_s'])} of {worst['device']}")
    return [*lines, ", ".join(told)]


def spoken(seconds: float) -> str:
    """A duration in the unit that people would use.

    Example:
        >>> [spoken(each) for each in (0.02, 59, 150, 7200, 200_000, 3e7)]
        ['0.02 s', '59 s', '2.5 min', '2 h', '2.3 d', '347 d']
    """
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.{0 if seconds >= 100 * size else 1}f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.2g} s"


def _newest(arrivals: Arrivals) -> NDArray[np.int64]:
    newest = np.full(len(arrivals.devices), np.iinfo(np.int64).min)
    np.maximum.at(newest, arrivals.stretches.device, arrivals.stretches.end)
    return newest


def _lateness(buckets: NDArray[np.int64]) -> dict[str, Any]:
    seconds = np.append(0.0, LATENESS_EDGES_S)  # the first bucket came before its time
    coarse = np.searchsorted(np.array(_COARSE_S) * 1.001, seconds, side="left")
    counts = np.bincount(coarse[1:], buckets[1:], len(_COARSE) + 1).astype(int).tolist()
    quantiles = {str(share): lateness_quantile(buckets, share) for share in QUANTILES}
    return {
        "ahead": int(buckets[0]),
        "up_to": dict(zip([*_COARSE, "more"], counts, strict=True)),
        "quantiles": {share: None if value != value else value for share, value in quantiles.items()},  # noqa: PLR0124 - NaN
    }


def _gaps(arrivals: Arrivals) -> dict[str, Any]:
    """Pauses between stretches of one device."""
    stretches = arrivals.stretches
    same = stretches.device[1:] == stretches.device[:-1]
    lengths = (stretches.start[1:] - stretches.end[:-1])[same] / SECOND_US
    owners = stretches.device[1:][same]
    count, total, longest = (np.zeros(len(arrivals.devices)) for _ in range(3))
    np.add.at(count, owners, 1)
    np.add.at(total, owners, lengths)
    np.maximum.at(longest, owners, lengths)
    worst = np.argsort(-total, kind="stable")[:MOST_LISTED]
    return {
        "longer_than_s": stretches.pause_us / SECOND_US,
        "count": len(lengths),
        "devices": int((count > 0).sum()),
        "worst": [
            {
                "device": str(arrivals.devices[at]),
                "gaps": int(count[at]),
                "missing_s": total[at],
                "longest_s": longest[at],
            }
            for at in worst.tolist()
            if count[at]
        ],
    }


def _rhythm(declared: timedelta, heard: NDArray[np.str_], spoken: Spoken) -> dict[str, Any]:
    """How far the mean interval between readings is from the declared one, by device.

    Pauses do not count, unless a device hardly ever speaks without one: then it keeps another rhythm than declared.
    """
    readings, stretches, devices = spoken.readings, spoken.stretches, len(heard)
    spoken_us, pieces = np.zeros(devices), np.zeros(devices)
    np.add.at(spoken_us, stretches.device, stretches.end - stretches.start)
    np.add.at(pieces, stretches.device, 1)
    first, last = np.full(devices, np.inf), np.full(devices, -np.inf)
    np.minimum.at(first, stretches.device, stretches.start)
    np.maximum.at(last, stretches.device, stretches.end)
    within, between = readings - pieces, np.maximum(pieces - 1, 0)
    known = readings > 1
    with np.errstate(invalid="ignore", divide="ignore"):
        steady = spoken_us / within
        whole = (last - first) / (readings - 1)
    interval_s = np.where(within >= between, steady, whole)[known] / SECOND_US
    drift = interval_s / declared.total_seconds() - 1
    names = heard[known]
    worst = np.argsort(-np.abs(drift), kind="stable")[:MOST_LISTED]
    return {
        "declared_s": declared.total_seconds(),
        "median_s": float(np.median(interval_s)) if len(interval_s) else None,
        "off": int((np.abs(drift) > 0.1).sum()),  # noqa: PLR2004 - a tenth is what people call another rhythm
        "worst": [
            {"device": str(names[at]), "interval_s": float(interval_s[at]), "drift": float(drift[at])}
            for at in worst.tolist()
            if abs(drift[at]) > 0.05  # noqa: PLR2004 - a lost reading here and there is no other rhythm
        ],
    }


def _silent(fleet: Fleet, memory: Memory) -> list[str]:
    """Devices last heard long before the newest reading of the fleet."""
    latest = (memory.newest_us or 0) - _SILENT_PAUSES * pause_us(fleet) - fleet.late_after // MICROSECOND
    return sorted(name for name, heard in memory.heard.items() if heard < latest)


def _listed(names: Sequence[str]) -> dict[str, Any]:
    return {"count": len(names), "first": list(names[:MOST_LISTED])}
