"""What new readings and events change: panes, how far the devices reach, and which feature rows are touched by it."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipelines.devices import Devices
from pipelines.happened import Happened
from pipelines.lake import Snapshot
from pipelines.reach import NEVER, Codes, Reach, Sight, Spans, Times


@dataclass(slots=True)
class Changes:
    """What the first stage found.

    Attributes:
        devices: Codes of the devices.
        sight: How far rows look.
        before: How far the panes reached that the rows were computed from up to now.
        after: How far they reach with the new readings.
        panes: How many panes have new readings.
        readings: How many readings these panes hold.
        spans: The rows they touch.
        emptied: The panes that hold no readings any more: codes and starts.
    """

    devices: Devices
    sight: Sight
    before: Reach
    after: Reach
    panes: int = 0
    readings: int = 0
    spans: Spans = field(default_factory=Spans.none)
    emptied: tuple[Codes, Times] = field(default=(np.zeros(0, np.int32), np.zeros(0, np.int64)))

    def note(self, device: Codes, start: Times, readings: int) -> None:
        """Take in panes that changed: codes and starts, each pane once."""
        self.panes += len(start)
        self.readings += readings
        self.after = self.after.over(device, start, len(self.devices))
        self.spans = Spans.union([self.spans, self.sight.of_panes(device, start)], self.sight.every_us)

    def note_emptied(self, device: Codes, start: Times) -> None:
        """Take in panes that lost all of their readings."""
        self.panes += len(start)
        self.emptied = np.append(self.emptied[0], device), np.append(self.emptied[1], start)
        self.spans = Spans.union([self.spans, self.sight.of_panes(device, start)], self.sight.every_us)

    def measure(self, panes: Snapshot) -> None:
        """Find out how far the panes reach of devices that lost some; only they may reach less far than before."""
        codes = np.unique(self.emptied[0])
        if not len(codes):
            return
        self.after.first[codes], self.after.last[codes] = NEVER, -NEVER
        names = self.devices.names.take(pa.array(codes)).to_pylist()
        stored = panes.read(["device", "start"], devices=names, coded=True)
        device, start = self.devices.codes(stored["device"]), stored["start"].to_numpy()
        self.after = self.after.over(device, start, len(self.devices))

    def touched(self, happened: Happened) -> Spans:
        """The rows that these changes and new events touch, as far as the devices can have them, or could before."""
        # Devices that have events and no readings have codes too.
        nothing = np.zeros(0, np.int32), np.zeros(0, np.int64)
        self.after = widest = self.after.over(*nothing, len(self.devices))
        found = [self.spans, self.sight.of_growth(self.before, self.after), happened.touched]
        if len(self.emptied[0]):
            before = self.before.over(*self.emptied, len(self.devices))
            found.append(self.sight.of_growth(self.after, before))
            widest = Reach(np.minimum(before.first, self.after.first), np.maximum(before.last, self.after.last))
        return self.sight.of_existing(Spans.union(found), widest)
