"""One measured quantity of a device: its unit, the range that is believed, and what else is known of its values."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

from features.errors import FleetError

MICROSECOND: Final = timedelta(microseconds=1)
LONGEST: Final = timedelta(days=36_525)
"""A century; it keeps sums of a time and a duration within 64 bits."""
WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""What names of signals and fleets look like."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One measured quantity of a device.

    Args:
        name: A word of letters, digits and underscores; feature names start with it.
        unit: The unit of the values, as people write it.
        low: The smallest value that is believed.
        high: The largest value that is believed.
        description: What is measured and where, for people.
        limit: The value above which the signal calls for attention; what the statistic ``above_share`` counts against.
        required: A record without the signal is rejected.
        quantised: The step of the values, where they lie on a grid; readings off it are told in the data report.
        sampling: The interval at which the signal is reported, where it is not the fleet's.

    Raises:
        FleetError: The name is not a word, the range or the limit is empty or not finite, or the step or the interval
            is not positive.
    """

    name: str
    unit: str
    low: float
    high: float
    description: str = ""
    limit: float | None = None
    required: bool = False
    quantised: float | None = None
    sampling: timedelta | None = None

    def __post_init__(self) -> None:
        if self.quantised is not None and not 0 < self.quantised < math.inf:
            raise FleetError(f"a step of {self.quantised} makes no grid", where=f"signal {self.name}")
        if self.sampling is not None and not MICROSECOND <= self.sampling <= LONGEST:
            raise FleetError(f"sampling = {self.sampling} is no usable duration", where=f"signal {self.name}")
        if self.limit is not None and not math.isfinite(self.limit):
            raise FleetError(f"the limit {self.limit} is not a number", where=f"signal {self.name}")
        if not WORD.fullmatch(self.name):
            raise FleetError(
                f"'{self.name}' cannot name a signal",
                why="feature and column names are built from it",
                fix="use letters, digits and underscores, and start with a letter",
            )
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise FleetError(
                f"the range {self.low} to {self.high} holds no values",
                where=f"signal {self.name}",
                fix="give two finite numbers, the smaller first",
            )

    def to_json(self) -> dict[str, Any]:
        """The signal as JSON-ready dictionary; the interval is whole microseconds."""
        return {
            "name": self.name,
            "unit": self.unit,
            "low": float(self.low),  # 0 and 0.0 are one number, but two texts and would be two digests
            "high": float(self.high),
            "description": self.description,
            "limit": None if self.limit is None else float(self.limit),
            "required": self.required,
            "quantised": None if self.quantised is None else float(self.quantised),
            "sampling_us": None if self.sampling is None else self.sampling // MICROSECOND,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The signal that ``to_json`` wrote.

        Raises:
            FleetError: It contradicts itself.
            KeyError, TypeError, ValueError: A field is missing or has another form.
        """
        limit, step, sampling = (document[name] for name in ("limit", "quantised", "sampling_us"))
        return cls(
            name=str(document["name"]),
            unit=str(document["unit"]),
            low=float(document["low"]),
            high=float(document["high"]),
            description=str(document["description"]),
            limit=None if limit is None else float(limit),
            required=bool(document["required"]),
            quantised=None if step is None else float(step),
            sampling=None if sampling is None else int(sampling) * MICROSECOND,
        )
