"""The two jobs of materializing as pieces that any process can do: from names of files to names of files.

A worker needs this package, the store and its credentials; it commits nothing and does not know who deals out work.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from features.featureset import FeatureSet
from pipelines import partial
from pipelines.datafile import DataFile, Folder

Load = Sequence[DataFile]


@dataclass(frozen=True)
class PaneJob:
    """Panes of whole dates.

    Attributes:
        features: Says how long a pane is.
        telemetry: Where the readings lie.
        panes: Where the panes go.
        loads: The files of readings, dealt out in loads of one date each.
    """

    features: FeatureSet
    telemetry: Folder
    panes: Folder
    loads: Sequence[Load]

    @cached_property
    def files(self) -> dict[str, list[DataFile]]:
        """All files of readings of each date."""
        found: dict[str, list[DataFile]] = defaultdict(list)
        for load in self.loads:
            found[load[0].date] += load
        return dict(found)

    def summarise(self, load: Load) -> pa.Table:
        """Partial panes of the readings of one load."""
        return partial.summarise(self.features, self._readings(load))

    def finish(self, parts: pa.Table) -> list[DataFile]:
        """Merge all parts of some panes and write them.

        Args:
            parts: Partial panes; of a pane that has one part here, all parts are.
        """
        panes = partial.merged(self.features, parts)
        lost = partial.interleaved(self.features, panes)
        if lost.any():
            panes = partial.mended(self.features, panes, lost, self._readings_of(panes.filter(pa.array(lost))))
        return self.panes.write(panes)

    def _readings_of(self, panes: pa.Table) -> pa.Table:
        reach = pc.min_max(panes["start"]).as_py()
        condition = (
            pc.field("device").isin(panes["device"].unique())
            & (pc.field("time") >= reach["min"])
            & (pc.field("time") < reach["max"] + self.features.pane_us)
        )
        files = [file for date in panes["date"].unique().to_pylist() for file in self.files[date]]
        return self._readings(files, condition)

    def _readings(self, files: Load, condition: pc.Expression | None = None) -> pa.Table:
        return self.telemetry.read(files, ["device", "time", *self.features.fleet.signal_names], condition)


@dataclass(frozen=True)
class RowJob:
    """Feature rows from some time on.

    Attributes:
        features: The features.
        panes: Where the panes lie.
        rows: Where the feature rows go.
        events: What happened to the devices.
        after_us: Only rows that end after it.
        loads: The files of all panes, dealt out.
        dates: Only rows of these dates.
    """

    features: FeatureSet
    panes: Folder
    rows: Folder
    events: pa.Table
    after_us: int
    loads: Sequence[Load]
    dates: Sequence[str]

    def devices(self, load: Load) -> list[str]:
        """The names of the devices of a load."""
        names = self.panes.read(load, ["device"])["device"]
        return list(names.unique().to_pylist())

    def read(self, load: Load, devices: Collection[str] | None = None) -> pa.Table:
        """The panes of a load as far as rows need them: of what no window reaches, the first pane of each device.

        Args:
            load: The files.
            devices: Only panes of these devices.
        """
        condition = None if devices is None else pc.field("device").isin(pa.array(devices, pa.string()))
        if max(file.highs["start"] for file in load) >= partial.earliest_needed(self.features, self.after_us):
            return self.panes.read(load, condition=condition)
        starts = self.panes.read(load, ["device", "start"], condition)
        first = starts.group_by("device").aggregate([("start", "min")]).rename_columns(["device", "start"])
        return self._filled(first)

    def compute(self, panes: pa.Table) -> pa.Table:
        """Feature rows of the devices that these panes are all of."""
        rows = partial.rows(self.features, panes, self.events, self.after_us)
        return rows.filter(pc.is_in(rows["date"], pa.array(self.dates, pa.string())))

    def _filled(self, panes: pa.Table) -> pa.Table:
        schema = self.panes.layout.schema
        known = set(panes.column_names)
        columns = [panes[f.name] if f.name in known else pa.nulls(len(panes), f.type) for f in schema]
        return pa.table(columns, schema=schema)
