"""What became of what was sent to a gateway: of one body of telemetry, of one of events, and of all so far."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


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
class Shown:
    """What the model that answered last was shown, since it began to answer.

    Attributes:
        bundle: Its digest; empty for no model yet.
        values: Values of features in the rows it predicted from.
        missing: How many of them were missing (NaN).
    """

    bundle: str = ""
    values: int = 0
    missing: int = 0

    def add(self, bundle: str, rows: NDArray[np.float64]) -> None:
        """Count rows that a model predicted from; another model begins anew.

        Example:
            >>> shown = Shown()
            >>> shown.add("sha256:aa", np.array([[1.0, np.nan], [np.nan, 2.0]]))
            >>> shown
            Shown(bundle='sha256:aa', values=4, missing=2)
            >>> shown.add("sha256:bb", np.array([[1.0, 3.0]]))
            >>> shown
            Shown(bundle='sha256:bb', values=2, missing=0)
        """
        if bundle != self.bundle:
            self.bundle, self.values, self.missing = bundle, 0, 0
        self.values += rows.size
        self.missing += int(np.count_nonzero(np.isnan(rows)))


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
    shown: Shown = field(default_factory=Shown)
    last_telemetry_us: int = 0
    last_prediction_us: int = 0
