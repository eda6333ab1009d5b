"""Quantiles by a mergeable sketch: counts of readings in buckets whose widths follow the size of the value.

The sketch is DDSketch (Masson, Rim and Lee, "DDSketch: A fast and fully-mergeable quantile sketch with relative-error
guarantees", PVLDB 12(12), 2019) with its linearly interpolated mapping: each octave [2^e, 2^(e+1)) is cut into 50
buckets of one width. The bucket is read off the bits of the number in integers, so C, numpy and a microcontroller agree
to the last count. Counts add up: merging is exact in any order and grouping, which neither t-digest nor KLL offers.

Bound: for the exact lower quantile x of the readings (rank ``floor(q (n - 1))``) the answer lies within 1 % of |x|, or,
where |x| is below 1/512 of the largest magnitude that the range of the signal allows, is 0.

    >>> sketch = Sketch(largest=60.0, signed=False)
    >>> counts = np.bincount(buckets_of(np.linspace(0.0, 60.0, 1000), sketch), minlength=sketch.buckets)
    >>> quantiles(counts, sketch, [0.5, 0.95]).round(1).tolist()  # exactly 29.97 and 56.94
    [29.9, 57.3]

Cost: 501 counts of 4 bytes for each pane and signal, 1,001 where values may be negative; paid for by the feature sets
that ask for a quantile, for the signals they ask it of.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.kernel.columns_reference import SIDE, STEPS, sketch_places

Counts = NDArray[np.uint32]

QUANTILES: Final = {f"p{percent:02d}": percent / 100 for percent in (1, 5, 25, 50, 75, 95, 99)}
"""The statistics that a sketch answers, by name."""

OCTAVES: Final = SIDE // STEPS


@dataclass(frozen=True, slots=True)
class Sketch:
    """How values fall into buckets.

    Args:
        largest: The largest magnitude that is expected; larger ones count as just below the next power of two.
        signed: Whether values may be negative.
    """

    largest: float
    signed: bool

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return 1 + SIDE * (2 if self.signed else 1)

    @property
    def top(self) -> int:
        """The exponent of the highest octave."""
        return math.frexp(self.largest)[1] - 1

    @property
    def key(self) -> int:
        """The number of the outermost bucket, counted from the one that begins at 1."""
        return (self.top + 1) * STEPS - 1

    @property
    def zero(self) -> int:
        """The bucket of values too small to tell from zero."""
        return SIDE if self.signed else 0

    @property
    def answers(self) -> NDArray[np.float64]:
        """What is answered for a value of each bucket, shape ``(buckets,)``: the middle in the harmonic sense."""
        octave, part = np.divmod(np.arange(SIDE), STEPS)
        low = np.ldexp(1.0 + part / STEPS, octave + self.top - OCTAVES + 1)
        high = np.ldexp(1.0 + (part + 1) / STEPS, octave + self.top - OCTAVES + 1)
        middle = 2.0 * low * high / (low + high)
        negative = -middle[::-1] if self.signed else middle[:0]
        return np.concatenate([negative, [0.0], middle])


def buckets_of(values: NDArray[np.float64], sketch: Sketch) -> NDArray[np.int64]:
    """The bucket of each value, shape of ``values``; what it says of NaN means nothing."""
    return sketch_places(values, sketch.key, sketch.zero)


def quantiles(counts: NDArray[np.integer], sketch: Sketch, wanted: Sequence[float]) -> NDArray[np.float64]:
    """Answer quantiles.

    Args:
        counts: Shape ``(..., buckets)``.
        sketch: How values fell into buckets.
        wanted: Shares between 0 and 1.

    Returns:
        Shape ``(..., len(wanted))``; NaN where nothing was counted.
    """
    upto = np.cumsum(counts, axis=-1, dtype=np.int64)
    total = upto[..., -1]
    answers = sketch.answers
    columns = []
    for share in wanted:
        rank = np.floor(share * (total - 1))
        bucket = (upto <= rank[..., None]).sum(axis=-1)
        columns.append(np.where(total > 0, answers[np.minimum(bucket, len(answers) - 1)], np.nan))
    return np.stack(columns, axis=-1)
