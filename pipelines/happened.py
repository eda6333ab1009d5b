"""What happened to devices, as feature rows see it, and which of it is new since they were computed last."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.event import Events
from features.feature import START, EventCount, Feature, Since, TimeSince, plain, steps
from features.featureset import FeatureSet
from features.schema import MICROSECOND
from pipelines.devices import Devices
from pipelines.errors import TableMissingError
from pipelines.lake import Lake
from pipelines.reach import NEVER, Spans

_COLUMNS = ("device", "kind", "time", "known_at")


@dataclass(frozen=True, slots=True, eq=False)
class Happened:
    """The events that features ask for.

    Attributes:
        events: All of them.
        touched: The rows that the new ones touch.
    """

    events: Events
    touched: Spans


def reaches(features: FeatureSet) -> dict[str, int]:
    """How long after it happened an event of each kind that features ask for can touch rows, microseconds."""
    found: dict[str, int] = {}
    for feature in features.features:
        lag = steps(feature) * features.every_us
        match plain(feature):
            case EventCount(kind, window):
                found[kind] = max(found.get(kind, 0), window // MICROSECOND + lag)
            case TimeSince(kind) | Feature(window=Since(kind)) if kind != START:
                found[kind] = NEVER
    return found


def number(lake: Lake, features: FeatureSet) -> int:
    """A number that rises when the table of events changes; 0 where no feature asks for events, or there are none."""
    table = lake.events(features.fleet)
    return table.version() + 1 if reaches(features) and table.exists() else 0


def read(lake: Lake, features: FeatureSet, devices: Devices, done: int, reached: int) -> Happened:
    """Read the events.

    Args:
        lake: The tables.
        features: Which kinds are asked for.
        devices: Codes of the devices; learns new names.
        done: The `number` that the rows were computed with.
        reached: The `number` to read; nothing happened where it is 0.
    """
    if not reached:
        return Happened(Events.none(), Spans.none())
    now = _rows(lake, features, reached)
    before = set(_rows(lake, features, done)) if 0 < done <= reached else set()
    return Happened(_events(features, devices, now), _touched(features, devices, set(now) - before))


Row = tuple[str, str, int, int]


def _rows(lake: Lake, features: FeatureSet, version: int) -> list[Row]:
    """The events of a version of the table; none where it was cleaned away."""
    try:
        table = lake.events(features.fleet).open(version - 1).read(_COLUMNS)
    except TableMissingError:
        return []
    kinds = reaches(features)
    return [row for row in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True) if row[1] in kinds]


def _events(features: FeatureSet, devices: Devices, rows: list[Row]) -> Events:
    device, kind, time, known = _columns(devices, rows)
    return Events(device, np.array([features.fleet.event_kinds.index(each) for each in kind], np.int32), time, known)


def _touched(features: FeatureSet, devices: Devices, rows: set[Row]) -> Spans:
    device, kind, time, known = _columns(devices, rows)
    reach = reaches(features)
    lasting = np.array([reach[each] for each in kind], np.int64)
    return Spans.union([Spans(device, np.maximum(time, known) + 1, np.minimum(time, NEVER - lasting) + lasting)])


def _columns(
    devices: Devices, rows: Iterable[Row]
) -> tuple[NDArray[np.int32], list[str], NDArray[np.int64], NDArray[np.int64]]:
    device, kind, time, known = zip(*rows, strict=True) if (rows := list(rows)) else ((), (), (), ())
    codes = devices.codes(pa.chunked_array([pa.array(device, pa.string())]))
    return codes, list(kind), np.array(time, np.int64), np.array(known, np.int64)
