"""What a run of the ingest brought, as sums that are merged batch by batch: no more than one batch is ever in memory.

Laws: merging is associative, and nothing merged to something is that something. So the figures do not depend on how
objects were cut into batches, with one exception that is said where it applies: gaps are counted in what one run
brought, and stretches of more than ``_MOST_STRETCHES`` are told apart more coarsely.

Gaps and rhythm are read off *stretches*: runs of readings of a device without a pause longer than three sampling
intervals. Two stretches that touch are one, whichever batch they came with.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.schema import MICROSECOND, Fleet, Signal
from features.unknown import both
from pipelines.diagnosis import heard
from pipelines.quarantine import Kept, Rejected

PAUSE_INTERVALS: Final = 3
"""A device that says nothing for more than this many sampling intervals has a gap."""
SECOND_US: Final = 1_000_000
_LOWEST, _DECADES, _PER_DECADE = -3, 12, 10  # of lateness: 1 ms to 1e9 s, ten buckets a decade
_MOST_STRETCHES: Final = 500_000


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Runs of readings without a pause, sorted by device and start; shape ``(n,)`` each.

    Attributes:
        device: Positions in ``Arrivals.devices``.
        start: Time of the first reading, UTC microseconds.
        end: Time of the last.
        pause_us: The longest pause within one.
    """

    device: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    pause_us: int

    def joined(self, pause_us: int) -> "Stretches":
        """Join those of a device that overlap, or lie no more than ``pause_us`` apart."""
        if not len(self.start):
            return replace(self, pause_us=pause_us)
        order = np.lexsort((self.start, self.device))
        device, start, end = self.device[order], self.start[order], self.end[order]
        # The latest end so far within each device: ends as ranks, with the device above them, never decrease wrongly.
        moments, rank = np.unique(end, return_inverse=True)
        latest = moments[np.maximum.accumulate(device * len(moments) + rank) % len(moments)]
        fresh = np.ones(len(start), bool)
        fresh[1:] = (device[1:] != device[:-1]) | (start[1:] - latest[:-1] > pause_us)
        last = np.append(np.flatnonzero(fresh)[1:], len(start)) - 1
        return Stretches(device[fresh], start[fresh], latest[last], pause_us)


_NEVER: Final = Stretches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), 0)


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """When devices reported a signal that has an interval of its own.

    Attributes:
        readings: Values of each device, shape ``(devices,)``.
        stretches: When each device reported it.
    """

    readings: NDArray[np.int64]
    stretches: Stretches


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Sums over what came in.

    Attributes:
        devices: Names, sorted, shape ``(devices,)``.
        readings: Readings of each device, a repeated one of the same batch once.
        stretches: When each device spoke.
        spoken: The same of each signal that declares its own interval.
        lateness: Readings by how late they came, see ``LATENESS_EDGES_S``; those that came before their time first.
        reasons: Rejects by reason.
        violations: Values below and above the range of each signal, ``(below, above)`` by signal.
        examined: Rejects with a value out of range that ``violations`` were counted in.
        off_grid: Values that are no multiple of the declared step, by signal.
        stepped: Values of these signals.
        counts: What the ingest counted: accepted, duplicates, late, quarantined and so on.
        unknown: Records with a field that the mapping names nowhere, by field, where the fleet counts them.
        damaged: Objects of which the store gave bytes that are not theirs, known when the run ends.
        first_us: The earliest event time; None without readings.
        last_us: The latest.
    """

    devices: NDArray[np.str_]
    readings: NDArray[np.int64]
    stretches: Stretches
    lateness: NDArray[np.int64]
    reasons: Counter[str] = field(default_factory=Counter)
    violations: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    examined: int = 0
    off_grid: Counter[str] = field(default_factory=Counter)
    stepped: Counter[str] = field(default_factory=Counter)
    spoken: Mapping[str, Spoken] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    first_us: int | None = None
    last_us: int | None = None


LATENESS_EDGES_S: Final = 10.0 ** (np.arange(_DECADES * _PER_DECADE + 1) / _PER_DECADE + _LOWEST)
"""Upper edges of the buckets of lateness in seconds, after one for readings ahead of their receipt."""


def nothing(fleet: Fleet) -> Arrivals:
    """No arrivals."""
    none = np.zeros(0, np.int64)
    stretches = Stretches(none, none, none, pause_us(fleet))
    return Arrivals(np.zeros(0, np.str_), none, stretches, np.zeros(len(LATENESS_EDGES_S) + 1, np.int64))


def pause_us(declared: Fleet | Signal) -> int:
    """The longest pause between two readings of a device that is no gap; 0 where no interval is declared."""
    return 0 if declared.sampling is None else int(PAUSE_INTERVALS * (declared.sampling // MICROSECOND))


def of_batch(fleet: Fleet, rows: Sequence[pa.Table], kept: Kept, counts: Mapping[str, int]) -> Arrivals:
    """Sum up one batch of telemetry.

    Args:
        fleet: What was declared.
        rows: Believed readings in any order, duplicates among them: columns device, time, received and the signals.
        kept: What is known of those that were not believed.
        counts: What the ingest counted.
    """
    found = nothing(fleet)
    table = pa.concat_tables([part.select(["device", "time", "received"]) for part in rows]) if rows else None
    if table is not None and len(table):
        times, received = table["time"].to_numpy(), table["received"].to_numpy()
        names, codes = _coded(table["device"])
        speaking = _spoken(codes, times, len(names), pause_us(fleet))
        off_grid, stepped = _off_grid(fleet, rows)
        found = replace(
            found,
            devices=names,
            readings=speaking.readings,
            stretches=speaking.stretches,
            spoken=_own_rhythms(fleet, rows, codes, times, len(names)),
            lateness=_by_lateness(received - times),
            off_grid=off_grid,
            stepped=stepped,
            first_us=int(times.min()),
            last_us=int(times.max()),
        )
    violations = _violations(fleet, kept.outside)
    examined = len(kept.outside)
    return replace(found, reasons=kept.reasons, violations=violations, examined=examined, counts=Counter(dict(counts)))


def merged(left: Arrivals, right: Arrivals) -> Arrivals:
    """Sum up two."""
    devices = np.unique(np.concatenate([left.devices, right.devices]))
    places = [np.searchsorted(devices, each.devices).astype(np.int64) for each in (left, right)]
    whole = _added(Spoken(left.readings, left.stretches), Spoken(right.readings, right.stretches), places, len(devices))
    signals = [*left.violations, *(name for name in right.violations if name not in left.violations)]
    firsts, lasts = ([v for v in pair if v is not None] for pair in (
        (left.first_us, right.first_us), (left.last_us, right.last_us)
    ))  # fmt: skip
    return Arrivals(
        devices=devices,
        readings=whole.readings,
        stretches=whole.stretches,
        spoken=_added_up(left, right, places, len(devices)),
        lateness=left.lateness + right.lateness,
        reasons=left.reasons + right.reasons,
        violations={name: _pair(left.violations.get(name), right.violations.get(name)) for name in signals},
        examined=left.examined + right.examined,
        off_grid=left.off_grid + right.off_grid,
        stepped=left.stepped + right.stepped,
        unknown=both(left.unknown, right.unknown),
        counts=left.counts + right.counts,
        first_us=min(firsts, default=None),
        last_us=max(lasts, default=None),
    )


def lateness_quantile(lateness: NDArray[np.int64], share: float) -> float:
    """How late this share of the readings came at most, seconds; to a quarter of the value. NaN without readings."""
    total = int(lateness.sum())
    if not total:
        return float("nan")
    bucket = int(np.searchsorted(np.cumsum(lateness), share * total))
    return 0.0 if bucket == 0 else float(LATENESS_EDGES_S[min(bucket, len(LATENESS_EDGES_S)) - 1])


def _pair(left: tuple[int, int] | None, right: tuple[int, int] | None) -> tuple[int, int]:
    (a, b), (c, d) = left or (0, 0), right or (0, 0)
    return a + c, b + d


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    names = column.unique().sort()
    codes = pc.index_in(column, names).to_numpy().astype(np.int64)
    return np.asarray(names.to_numpy(zero_copy_only=False), np.str_), codes


def _added(left: Spoken, right: Spoken, places: Sequence[NDArray[np.int64]], devices: int) -> Spoken:
    readings = np.zeros(devices, np.int64)
    for each, place in zip((left, right), places, strict=True):
        readings[place] += each.readings
    return Spoken(readings, _joined(left.stretches, right.stretches, places))


def _added_up(left: Arrivals, right: Arrivals, places: Sequence[NDArray[np.int64]], devices: int) -> dict[str, Spoken]:
    found = {}
    for name in [*left.spoken, *(name for name in right.spoken if name not in left.spoken)]:
        pair = [each.spoken.get(name, Spoken(np.zeros(len(each.devices), np.int64), _NEVER)) for each in (left, right)]
        found[name] = _added(pair[0], pair[1], places, devices)
    return found


def _own_rhythms(
    fleet: Fleet, rows: Sequence[pa.Table], codes: NDArray[np.int64], times: NDArray[np.int64], devices: int
) -> dict[str, Spoken]:
    """What is said of signals that declare their own interval: only records that have a value count."""
    found = {}
    for signal in fleet.signals:
        if signal.sampling is not None:
            has = np.concatenate([~np.isnan(pc.fill_null(part[signal.name], np.nan).to_numpy()) for part in rows])
            if has.any():
                found[signal.name] = _spoken(codes[has], times[has], devices, pause_us(signal))
    return found


def _spoken(codes: NDArray[np.int64], times: NDArray[np.int64], devices: int, pause: int) -> Spoken:
    """Different moments of each device, and its stretches."""
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    changes = np.append(True, codes[1:] != codes[:-1])
    distinct = changes.copy()
    distinct[1:] |= times[1:] != times[:-1]
    begins = changes
    begins[1:] |= times[1:] - times[:-1] > pause
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(codes)) - 1
    readings = np.bincount(codes[distinct], minlength=devices).astype(np.int64)
    return Spoken(readings, Stretches(codes[first], times[first], times[last], pause))


def _joined(left: Stretches, right: Stretches, places: Sequence[NDArray[np.int64]]) -> Stretches:
    pause = max(left.pause_us, right.pause_us)
    device = np.concatenate([place[each.device] for each, place in zip((left, right), places, strict=True)])
    joined = Stretches(
        device, np.concatenate([left.start, right.start]), np.concatenate([left.end, right.end]), pause
    ).joined(pause)
    while len(joined.start) > _MOST_STRETCHES:
        pause *= 2
        joined = joined.joined(pause)
    return joined


def _by_lateness(delay_us: NDArray[np.int64]) -> NDArray[np.int64]:
    seconds = delay_us / SECOND_US
    buckets = np.searchsorted(LATENESS_EDGES_S, seconds, side="left") + 1
    buckets[seconds < 0] = 0
    size = len(LATENESS_EDGES_S) + 1
    return np.bincount(np.minimum(buckets, size - 1), minlength=size).astype(np.int64)


def _violations(fleet: Fleet, outside: Sequence[Rejected]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for line in outside:
        for each in heard(fleet, line.data):
            if not each.believed:
                found[each.signal] = _pair(
                    found.get(each.signal), (int(each.value < each.low), int(each.value > each.high))
                )
    return found


def _off_grid(fleet: Fleet, rows: Sequence[pa.Table]) -> tuple[Counter[str], Counter[str]]:
    """Values of quantised signals that lie between two steps by more than rounding explains, and all their values."""
    found: Counter[str] = Counter()
    values: Counter[str] = Counter()
    for signal in fleet.signals:
        if signal.quantised is not None:
            for part in rows:
                steps = pc.fill_null(part[signal.name], np.nan).to_numpy() / signal.quantised
                found[signal.name] += int((np.abs(steps - np.rint(steps)) > 1e-6 * np.maximum(np.abs(steps), 1)).sum())
                values[signal.name] += int((~np.isnan(steps)).sum())
    return found, values
