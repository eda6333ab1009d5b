"""A catalog entry for telemetry that was looked at, tried on the very object before a person sees it."""

import math
import pprint
from collections import Counter
from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from features.mapping import Long, Mapping
from features.schema import MICROSECOND, Fleet, Signal
from pipelines.formats import decode_all
from pipelines.probing.guess import Guess
from pipelines.records import RawObject
from pipelines.validate import believe

_TOLD = ("device", "time", "time_unit")
_USUAL_AGE = timedelta(days=30)
_ROUND = (
    (timedelta(days=1), "days"), (timedelta(hours=1), "hours"), (timedelta(minutes=1), "minutes"),
    (timedelta(seconds=1), "seconds"), (timedelta(milliseconds=1), "milliseconds"), (MICROSECOND, "microseconds"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """What the object gives when it is read by the draft.

    Attributes:
        rows: Readings accepted.
        rejected: The others, by reason.
        devices: A few of the devices, and how many there are.
        first_us, last_us: Event times, UTC microseconds; 0 without rows.
    """

    rows: int
    rejected: dict[str, int]
    devices: tuple[list[str], int]
    first_us: int
    last_us: int


def draft(name: str, guess: Guess, raw: RawObject, now_us: int) -> tuple[Fleet, Trial]:
    """Make a fleet of a guess and read the object by it.

    Args:
        name: Name of the fleet.
        guess: A guess with a mapping.
        raw: The object.
        now_us: The clock: telemetry older than usual makes the fleet accept old readings.

    Raises:
        FleetError: The guess does not hold together.
    """
    mapping = guess.mapping or Mapping()
    names = tuple(guess.signals)
    decoded = decode_all([raw], mapping, names)
    spacing = _spacing(decoded.device.to_pylist(), decoded.times)
    oldest = int(decoded.times.min()) if len(decoded.times) else now_us
    age = max(_USUAL_AGE, timedelta(days=math.ceil((now_us - oldest) / 86_400e6 * 1.2)))
    seen = {name: _span(decoded.values[:, place]) for place, name in enumerate(names)}
    stored = mapping if mapping.storage_only else None
    fleet = Fleet(
        name=name,
        description="",
        signals=tuple(_signal(name, *span) for name, span in seen.items()),
        sampling=spacing,
        late_after=10 * spacing,
        max_future=timedelta(minutes=5),
        max_age=min(age, timedelta(days=36_525)),
        mapping=Mapping() if stored else mapping,
        stored=stored,
    )
    judged = believe(fleet, decoded, now_us)
    devices = sorted(set(judged.device.to_pylist()))
    times = judged.times
    reasons = Counter(reject.reason.value for reject in judged.rejects)
    span = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    return fleet, Trial(len(times), dict(reasons), (devices[:5], len(devices)), *span)


def catalog_text(fleet: Fleet, guess: Guess) -> str:
    """The module of a fleet's catalog entry, for a person to confirm and to complete."""
    mapping = _call(fleet.lies)
    where = "stored" if fleet.stored else "mapping"
    signals = "\n".join(_signal_line(signal) for signal in fleet.signals)
    remarks = "".join(f"\n* {remark}" for remark in guess.remarks)
    return f'''"""Telemetry of {fleet.name}: a draft of `tidemill probe`, to be confirmed.

Fill in the units, look at the ranges (what was seen, widened) and at where things stand.{remarks}
"""

from datetime import timedelta

from features.feature import grid
from features.featureset import FeatureSet
from features.mapping import Long
from features.schema import Fleet, Mapping, Signal

FLEET = Fleet(
    name="{fleet.name}",
    description="",
    signals=(
{signals}
    ),
    sampling={_duration(fleet.sampling)},
    late_after={_duration(fleet.late_after)},
    max_future={_duration(fleet.max_future)},
    max_age={_duration(fleet.max_age)},
    {where}={mapping},
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane={_duration(_pane(fleet))},
    every={_duration(6 * _pane(fleet))},
    features=grid(FLEET.signal_names, ["mean", "std"], [{_duration(6 * _pane(fleet))}]),
)
'''.replace(
        "from features.mapping import Long\n", "" if fleet.lies.long is None else "from features.mapping import Long\n"
    )


def _pane(fleet: Fleet) -> timedelta:
    """A round pane that holds ten readings or so."""
    choices = [timedelta(minutes=m) for m in (1, 10, 60, 240)] + [timedelta(days=1)]
    return next((pane for pane in choices if pane >= 10 * fleet.sampling), choices[-1])


def _call(value: object) -> str:
    """A mapping as it is written in Python, without what is as by default."""
    plain = type(value)()
    parts = []
    for field in fields(value):  # type: ignore[arg-type]  # a Mapping or a Long
        found = getattr(value, field.name)
        if found == getattr(plain, field.name) and (isinstance(value, Long) or field.name not in _TOLD):
            continue
        if field.name == "names":
            found = dict(found)
        text = _call(found) if isinstance(found, Long) else pprint.pformat(found, width=100, sort_dicts=False)
        parts.append(f"{field.name}={text}".replace("'", '"') if '"' not in text else f"{field.name}={text}")
    one_line = f"{type(value).__name__}({', '.join(parts)})"
    if len(one_line) <= 100 and "\n" not in one_line:  # noqa: PLR2004 - what fits in a line
        return one_line
    inner = ",\n".join(parts).replace("\n", "\n        ")
    return f"{type(value).__name__}(\n        {inner},\n    )"


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    """The smallest and the largest number; 0 and 1 where there is none."""
    found = values[np.isfinite(values)]
    return (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)


def _signal(name: str, low: float, high: float) -> Signal:
    span = (high - low) or abs(high) * 0.1 or 1.0
    least = 0.0 if low >= 0 else _rounded(low - span, down=True)
    return Signal(name, "?", least, _rounded(high + span, down=False), f"seen {low:g} to {high:g}")


def _rounded(value: float, *, down: bool) -> float:
    """To two digits, outwards."""
    if not value:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    found = (math.floor if down else math.ceil)(value / step) * step
    return float(f"{found:.6g}")


def _signal_line(signal: Signal) -> str:
    return f'        Signal("{signal.name}", "?", {signal.low:g}, {signal.high:g}),  # {signal.description}'


def _spacing(devices: list[str], times: NDArray[np.int64]) -> timedelta:
    """The usual interval between readings of one device, a minute where there are too few to tell."""
    gaps: list[NDArray[np.int64]] = []
    names = np.array(devices, dtype=object)
    for device in sorted(set(devices))[:20]:
        steps = np.diff(np.sort(times[names == device]))
        gaps.append(steps[steps > 0])
    found = np.concatenate([np.empty(0, np.int64), *gaps])
    if not len(found):
        return timedelta(minutes=1)
    exact = timedelta(microseconds=int(np.median(found)))
    unit = next((unit for unit, _ in _ROUND if exact >= unit), MICROSECOND)
    return max(round(exact / unit), 1) * unit


def _duration(length: timedelta) -> str:
    unit, name = next((unit, name) for unit, name in _ROUND if length % unit == timedelta(0))
    return f"timedelta({name}={length // unit})"
