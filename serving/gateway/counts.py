"""What became of what was sent to a gateway: of one body of telemetry, of one of events, and of all so far."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of the records of one body; ``accepted``, rejected, duplicates and late ones add up to all.

    Attributes:
        accepted: Records that entered the features.
        rejected: Records that were not believed, by reason.
        duplicates: Records whose device and time had been seen.
        late: Records of a time that is closed already.
        predictions: Predictions that became due.
    """

    accepted: int
    rejected: Mapping[str, int]
    duplicates: int
    late: int
    predictions: int


@dataclass(frozen=True, slots=True)
class Told:
    """What became of the events of one body.

    Attributes:
        accepted: Events that features may speak of from now on; told before or not.
        ignored: Events of kinds the fleet does not declare.
        rejected: Records that were no events, by reason.
        late: Events heard of after windows they belong to were predicted; they count from the next window on.
    """

    accepted: int
    ignored: int
    rejected: Mapping[str, int]
    late: int


@dataclass(slots=True)
class Totals:
    """What has happened since the program started; times are UTC microseconds, 0 for never."""

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    late: int = 0
    predictions: int = 0
    unpredicted: int = 0
    alerts: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    last_telemetry_us: int = 0
    last_prediction_us: int = 0
