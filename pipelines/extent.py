"""How far the panes of each device reach that the rows were computed from.

It is kept, so that nobody has to look through years of panes to find the first and the last one of each device.

The table is a memory, not a truth: it says of which ingest batch it is, and where that is not the one asked for, the
readings up to that batch are looked through. So it is never wrong, whatever was killed or removed. Late readings
rarely reach further than what was there: then it is not written anew, and the commit of the rows says that it holds.
"""

import numpy as np
import pyarrow as pa

from features.featureset import FeatureSet
from features.pane import pane_starts
from pipelines.devices import Devices
from pipelines.errors import CommitConflictError, TableMissingError
from pipelines.lake import Snapshot, Table
from pipelines.reach import Reach

_WRITER = "devices"


class Extent:
    """The reach of devices as of an ingest batch.

    Args:
        table: Where it is kept.
        telemetry: The readings.
        features: Says how long a pane is.
        devices: Codes of the devices; learns new names.
        batch: The ingest batch; 0 before the first.
        unchanged: The last ingest batch that is known to have left what is kept as it is.
    """

    def __init__(
        self,
        table: Table,
        telemetry: Snapshot,
        features: FeatureSet,
        devices: Devices,
        *,
        batch: int,
        unchanged: int = 0,
    ) -> None:
        self._table, self._devices, self._batch = table, devices, batch
        remembered = self._remembered(unchanged) if batch else Reach.nowhere(0)
        self._lost = remembered is None
        self.reach = self._found(telemetry, features) if remembered is None else remembered

    def remember(self) -> None:
        """Keep it for the next run, if it had to be looked for."""
        if self._lost:
            keep(self._table, self._devices, self.reach, self._batch)

    def _remembered(self, unchanged: int) -> Reach | None:
        try:
            snapshot = self._table.open()
        except TableMissingError:
            return None
        number = snapshot.transaction(_WRITER)
        if number != self._batch and not (number < self._batch == unchanged):
            return None
        rows = snapshot.read(["device", "first", "last"])
        codes = self._devices.codes(rows["device"])
        reach = Reach.nowhere(len(self._devices))
        reach.first[codes], reach.last[codes] = rows["first"].to_numpy(), rows["last"].to_numpy()
        return reach

    def _found(self, telemetry: Snapshot, features: FeatureSet) -> Reach:
        reach = Reach.nowhere(0)
        for date in telemetry.dates():
            rows = telemetry.read(["device", "time"], dates=[date], before={"batch": self._batch + 1}, coded=True)
            starts = pane_starts(rows["time"].to_numpy(), features.pane_us)
            codes = self._devices.codes(rows["device"])
            reach = reach.over(codes, starts, len(self._devices))
        return reach


def keep(table: Table, devices: Devices, reach: Reach, batch: int) -> None:
    """Keep the reach of devices as of an ingest batch; where that, or a later one, is kept already, nothing happens."""
    snapshot = table.create()
    if snapshot.transaction(_WRITER) >= batch:
        return
    there = np.flatnonzero(reach.last >= reach.first)
    names = devices.names.take(pa.array(there))
    rows = pa.table([names, reach.first[there], reach.last[there]], schema=table.layout.schema)
    try:
        snapshot.replace(rows, None, transactions=[(_WRITER, batch)])
    except CommitConflictError:
        return  # another run keeps the same, or something newer
