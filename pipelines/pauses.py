"""The dates on which feature rows appear because devices came back after a pause.

While a device is silent, rows end with its last pane. When it speaks again, the rows of the pause appear as well, as
far as their windows reach back to what was there before; these can lie on dates before that of its new readings.
"""

from features.featureset import FeatureSet
from pipelines.devices import Devices
from pipelines.extent import Extent, keep
from pipelines.lake import Lake, Snapshot
from pipelines.reach import NEVER, Sight
from pipelines.refresh import day_of
from pipelines.tables import DAY_US


class Pauses:
    """The pauses that end with changed panes.

    Args:
        lake: The tables.
        features: Says how far rows look back.
        panes: The panes, changed ones included.
        done: The ingest batch of which there are rows.
        changed: The dates from the first changed one on.

    Attributes:
        dates: The dates before the first changed one on which rows appear, sorted.
    """

    def __init__(self, lake: Lake, features: FeatureSet, panes: Snapshot, done: int, changed: list[str]) -> None:
        self._table, self._devices = lake.devices(features), Devices()
        telemetry = lake.telemetry(features.fleet).open()
        before = Extent(self._table, telemetry, features, self._devices, batch=done).reach
        found = panes.read(["device", "start"], dates=changed, coded=True)
        codes = self._devices.codes(found["device"])
        self._after = before.over(codes, found["start"].to_numpy(), len(self._devices))
        sight = Sight.of(features)
        appeared = sight.of_existing(sight.of_growth(before, self._after), self._after)
        self.dates = appeared.within(-NEVER, day_of(changed[0]) * DAY_US - 1).dates() if changed else []

    def remember(self, batch: int) -> None:
        """Keep how far the panes reach now, as of an ingest batch, so that the next run need not look for it."""
        keep(self._table, self._devices, self._after, batch)
