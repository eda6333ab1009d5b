"""A small fleet and the messages its hub would write."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.feature import grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal
from pipelines.importers.hub import RawWriter
from pipelines.ingest import IngestSummary, ingest
from pipelines.lake import Lake
from serving.store import FolderStore, Store

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
NOON_US = 1_763_985_600_000_000  # 2025-11-24T12:00:00Z, a multiple of every window below

FANS = Fleet(
    name="fans",
    description="Fans of a tunnel",
    signals=(Signal("speed", "rpm", 0, 3000), Signal("current", "A", 0, 50)),
    sampling=MINUTE,
    late_after=HOUR,
    max_future=MINUTE,
    max_age=timedelta(days=30),
    mapping=Mapping(signals="values"),
)
FAN_FEATURES = FeatureSet(
    fleet=FANS,
    pane=10 * MINUTE,
    every=HOUR,
    features=grid(["speed", "current"], ["mean", "std", "slope", "last", "count"], [HOUR, 6 * HOUR]),
)


def reading(device: str, time_us: int, speed: float = 1000.0, received_us: int | None = None, **more: Any) -> Any:
    """A message as a device sends it; times are whole milliseconds."""
    stamp = {} if received_us is None else {"received": received_us // 1000}
    return {"device": device, "ts": time_us // 1000, **stamp, "values": {"speed": speed, "current": speed / 100}} | more


class Plant:
    """A store in a folder, the lake in it, and a hub that writes to it."""

    def __init__(self, folder: Path, store: Store | None = None, fleet: Fleet = FANS) -> None:
        self.fleet = fleet
        self.store = store or FolderStore(folder)
        self.lake = Lake(self.store.uri)
        self.hub = RawWriter(self.store, fleet.name)
        self._written = 0

    def write(self, messages: list[Any] | bytes, name: str = "") -> str:
        """Write one raw object of telemetry; names count up unless one is given."""
        self._written += 1
        return self.hub.write_telemetry(name or f"hub-{self._written:06d}", NOON_US, messages)

    def ingest(self, now_us: int = NOON_US + DAY_US) -> IngestSummary:
        """Take in what was written."""
        return ingest(self.store, self.lake, self.fleet, now_us)

    def rows(self) -> pa.Table:
        """The telemetry, sorted by device and time."""
        names = ["date", "device", "time", "received", *self.fleet.signal_names]
        table = self.lake.telemetry(self.fleet).open().read(names)
        return table.sort_by([("device", "ascending"), ("time", "ascending")])
