"""Hard disks of Backblaze's data centres: the SMART attributes of a day, a row a day.

Which attributes a disk reports depends on its model and on the year: an attribute nobody fills is a signal without
readings, not an error. Raw values are what the makers put there, so ranges are as wide as the fields.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("smart_5", "delta", DAY),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``.
"""

from datetime import timedelta

from features.feature import Feature, Since, TimeSince, grid
from features.featureset import FeatureSet
from features.schema import Fleet, Mapping, Signal

DAY = timedelta(days=1)

FLEET = Fleet(
    name="backblaze",
    description="Hard disks in data centres, as Backblaze publishes their daily SMART attributes",
    signals=(
        Signal("smart_1", "1", 0, 2**48, "Raw read error rate; some makers count reads in it as well"),
        Signal("smart_5", "1", 0, 1e7, "Reallocated sectors"),
        Signal("smart_9", "h", 0, 1e6, "Power-on hours; some models count in other units"),
        Signal("smart_12", "1", 0, 1e6, "Power cycles"),
        Signal("smart_187", "1", 0, 1e7, "Reported uncorrectable errors"),
        Signal("smart_188", "1", 0, 2**48, "Command timeouts; three counters in one on some models"),
        Signal("smart_194", "degC", -40, 150, "Temperature"),
        Signal("smart_197", "1", 0, 1e7, "Sectors waiting to be reallocated"),
        Signal("smart_198", "1", 0, 1e7, "Sectors that an offline scan could not read"),
        Signal("smart_199", "1", 0, 1e8, "Errors of the interface's checksum"),
    ),
    sampling=DAY,
    late_after=DAY,
    max_future=DAY,
    max_age=timedelta(days=10_950),  # imported history; a clock that stands at 1970 is still refused
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=DAY,
    every=DAY,
    features=(
        # The five attributes that Backblaze itself watches, then wear and surroundings. A day is the longest window:
        # one of a week would cost every disk its first week, and the published days are few.
        *grid(["smart_5", "smart_187", "smart_188", "smart_197", "smart_198"], ["last"], [DAY]),
        *grid(["smart_1", "smart_9", "smart_12", "smart_194", "smart_199"], ["last"], [DAY]),
        # A disk that hangs for hours does not count them: a slope well below 1 of its power-on hours says more than all
        # counters. Within the days to learn from, walked forward, recall at 1 % rose from 0.25 to 0.43 by it, and to
        # 0.54 by what counters gained since the disk was first seen, beside how long ago that was.
        Feature("smart_9", "slope", Since()),
        *(Feature(f"smart_{number}", "delta", Since()) for number in (5, 187, 188, 197, 198, 199)),
        TimeSince(),
    ),
)
