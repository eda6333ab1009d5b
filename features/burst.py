"""Bursts: thousands of samples at kHz in one record become one reading of each derived signal.

A vibration snapshot of a bearing says little by its mean; it speaks by its kurtosis and by the energy in the bands
where defects ring. A fleet declares which field of a record holds samples and what is read off them:

    >>> burst = Burst(
    ...     samples="acc",
    ...     rate_hz=25_600,
    ...     readings=(
    ...         BurstReading("acc_kurtosis", "kurtosis"),
    ...         BurstReading("acc_2k_4k", "band_energy", band=(2_000, 4_000)),
    ...     ),
    ... )
    >>> tone = np.sin(2 * np.pi * 3_000 / 25_600 * np.arange(2_560))
    >>> [round(float(value), 6) for value in burst.read(tone)]
    [1.5, 0.5]

From there on the derived signals are signals like any other: with a unit, a valid range, panes and windows.

The statistics of samples x (``pane.h`` has the formulas, ``pane.c`` and ``burst_reference.py`` the same in C, numpy):

==============  ===================================================================================================
rms             root of the mean square, in the unit of the samples
crest           largest magnitude over RMS
kurtosis        Pearson's: fourth central moment over the square of the second; 3 for noise, 1.5 for a tone
peak_frequency  Hz of the largest density of the spectrum above 0 Hz
band_energy     mean square in a band of the spectrum, low end included, high end not; unit of the samples squared
==============  ====================================================================================================

The spectrum is Welch's averaged periodogram (P. D. Welch, "The Use of Fast Fourier Transform for the Estimation of
Power Spectra", IEEE Transactions on Audio and Electroacoustics 15, 1967): segments of a power of two that overlap by
half, each less its mean, Hann window, density scaling. ``scipy.signal.welch(x, rate, nperseg=segment)`` gives the same.
"""

import enum
import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from features import kernel
from features.errors import FleetError

STATISTICS: Final = ("rms", "crest", "kurtosis", "peak_frequency", "band_energy")
_BAND_ENERGY: Final = "band_energy"
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SEGMENTS: Final = (4, 65_536)
_MOST_SAMPLES: Final = 4_194_304


class BurstFault(enum.StrEnum):
    """Why a burst cannot be read; the values are those of `features.schema.Reason`."""

    WRONG_TYPE = "wrong_type"
    LENGTH = "burst_length"
    GAPS = "burst_gaps"


class RefusedBurstError(Exception):
    """A field that should hold a burst cannot be read; the text is a sentence for whoever looks after the device."""

    def __init__(self, fault: BurstFault, sentence: str) -> None:
        super().__init__(sentence)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class BurstReading:
    """What is read off a burst.

    Args:
        signal: The signal of the fleet it becomes a reading of.
        statistic: One of ``STATISTICS``.
        band: For ``band_energy`` the frequencies it spans, Hz, low end included; otherwise left out.
    """

    signal: str
    statistic: str
    band: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Burst:
    """Samples in one field of a record, and what is read off them.

    Args:
        samples: The field that holds the list of samples, beside the signals.
        rate_hz: Samples per second.
        readings: What is read off; each of a signal of its own.
        segment: Samples in a segment of the spectrum, a power of two; bins lie ``rate_hz / segment`` apart. A shorter
            burst is refused.
        longest: The most samples that are accepted.

    Raises:
        FleetError: A statistic is unknown, a band holds no bin of the spectrum, or a number is out of bounds.
    """

    samples: str
    rate_hz: float
    readings: tuple[BurstReading, ...]
    segment: int = 1_024
    longest: int = 65_536

    def __post_init__(self) -> None:
        where = f"burst {self.samples}"
        least, most = _SEGMENTS
        if not _FIELD.fullmatch(self.samples):
            raise FleetError(f"'{self.samples}' cannot name the field of a burst", fix="use letters, digits and _")
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise FleetError(f"{self.rate_hz} Hz is no rate", where=where, fix="give samples per second")
        if not least <= self.segment <= most or self.segment & (self.segment - 1):
            raise FleetError(
                f"a segment of {self.segment} samples is not possible",
                where=where,
                fix=f"give a power of two from {least} to {most}",
            )
        if not self.segment <= self.longest <= _MOST_SAMPLES:
            raise FleetError(
                f"bursts of {self.longest} samples at most are not possible",
                where=where,
                fix=f"give a number from the segment, {self.segment}, to {_MOST_SAMPLES}",
            )
        if not self.readings or len({reading.signal for reading in self.readings}) < len(self.readings):
            raise FleetError("a burst needs readings, each of its own signal", where=where)
        for reading in self.readings:
            self._check(reading, where)

    def _check(self, reading: BurstReading, where: str) -> None:
        if reading.statistic not in STATISTICS:
            raise FleetError(
                f"there is no statistic '{reading.statistic}' of a burst",
                where=where,
                fix=f"use one of {', '.join(STATISTICS)}",
            )
        if (reading.band is not None) != (reading.statistic == _BAND_ENERGY):
            raise FleetError(f"{reading.signal}: a band goes with {_BAND_ENERGY}, and only there", where=where)
        if reading.band is None:
            return
        low, high = reading.band
        if not 0 <= low < high < math.inf or np.diff(self._bins(reading.band))[0] < 1:
            raise FleetError(
                f"the band from {low} to {high} Hz of {reading.signal} holds no frequency of the spectrum",
                where=where,
                why=f"they lie {self.rate_hz / self.segment:g} Hz apart, from 0 to {self.rate_hz / 2:g} Hz",
            )

    def _bins(self, band: tuple[float, float]) -> tuple[int, int]:
        """The first bin at or above each end of a band."""
        step, behind = self.rate_hz / self.segment, self.segment // 2 + 1
        low, high = (behind if end / step > behind else math.ceil(end / step) for end in band)
        return low, high

    def read(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the readings of a burst.

        Args:
            samples: In the order of time, shape ``(n,)``, finite; ``segment`` of them or more.

        Returns:
            One number for each of ``readings``; NaN where a statistic has nothing to say, as of samples that are equal.

        Raises:
            ValueError: The samples are fewer than a segment or have another shape.
        """
        bands = _bands(self)
        result = np.empty(kernel.BURST_RESULTS + len(bands))
        kernel.burst(np.require(samples, np.float64, ["C", "A"]), self.rate_hz, twiddles(self.segment), bands, result)
        return result[_places(self)]

    def parse(self, found: object) -> NDArray[np.float64]:
        """The samples that stand in a record, as JSON gives them.

        Raises:
            RefusedBurstError: It is no list of numbers, has gaps, or is too short or too long.
        """
        if not isinstance(found, list):
            raise RefusedBurstError(BurstFault.WRONG_TYPE, f"{self.samples} is no list of samples.")
        if not self.segment <= len(found) <= self.longest:
            raise RefusedBurstError(
                BurstFault.LENGTH,
                f"{self.samples} holds {len(found)} samples; {self.segment} to {self.longest} are read.",
            )
        kinds = set(map(type, found))
        if not kinds <= {float, int, type(None)}:
            raise RefusedBurstError(BurstFault.WRONG_TYPE, f"{self.samples} holds samples that are not numbers.")
        try:
            samples = np.array(found, np.float64)  # None becomes NaN
        except OverflowError:  # an integer beyond the range of a double
            samples = np.full(1, np.inf)
        if not np.isfinite(samples).all():
            raise RefusedBurstError(BurstFault.GAPS, f"{self.samples} lacks samples, or holds infinite ones.")
        return samples

    def to_json(self) -> dict[str, Any]:
        """The burst as JSON-ready dictionary."""
        return {
            "samples": self.samples,
            "rate_hz": float(self.rate_hz),
            "segment": self.segment,
            "longest": self.longest,
            "readings": [
                {
                    "signal": reading.signal,
                    "statistic": reading.statistic,
                    "band": None if reading.band is None else [float(end) for end in reading.band],
                }
                for reading in self.readings
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The burst that ``to_json`` wrote.

        Raises:
            FleetError: It contradicts itself.
            KeyError, TypeError, ValueError: A field is missing or has another form.
        """
        readings = []
        for each in document["readings"]:
            band = None
            if each["band"] is not None:
                low, high = each["band"]
                band = (float(low), float(high))
            readings.append(BurstReading(str(each["signal"]), str(each["statistic"]), band))
        return cls(
            samples=str(document["samples"]),
            rate_hz=float(document["rate_hz"]),
            readings=tuple(readings),
            segment=int(document["segment"]),
            longest=int(document["longest"]),
        )


class BurstColumns:
    """Puts the readings of bursts in their places among the signals of a record.

    Args:
        bursts: The bursts of a fleet.
        signals: The signals, in the order of the columns.
    """

    def __init__(self, bursts: Sequence[Burst], signals: Sequence[str]) -> None:
        self._bursts = [(burst, [signals.index(reading.signal) for reading in burst.readings]) for burst in bursts]

    def fill(self, record: Mapping[str, object], row: list[float]) -> None:
        """Overwrite the derived signals of ``row`` with what is read off the bursts that ``record`` holds.

        A record without a burst keeps what it says itself: a device may do the sums and send their outcome.

        Raises:
            RefusedBurstError: See ``Burst.parse``.
        """
        for burst, places in self._bursts:
            found = record.get(burst.samples)
            if found is not None:
                for place, value in zip(places, burst.read(burst.parse(found)).tolist(), strict=True):
                    row[place] = value


@functools.lru_cache(maxsize=8)
def twiddles(segment: int) -> NDArray[np.float64]:
    """``cos, sin`` of ``2 pi k / segment`` for ``k < segment / 2``, in pairs, shape ``(segment,)``; read-only."""
    angles = 2 * np.pi * np.arange(segment // 2) / segment
    pairs = np.stack([np.cos(angles), np.sin(angles)], axis=1).ravel()
    pairs.flags.writeable = False
    return pairs


@functools.lru_cache(maxsize=64)
def _bands(burst: Burst) -> NDArray[np.int64]:
    bands = [burst._bins(reading.band) for reading in burst.readings if reading.band is not None]  # noqa: SLF001 - its own
    return np.array(bands, np.int64).reshape(-1, 2)


@functools.lru_cache(maxsize=64)
def _places(burst: Burst) -> NDArray[np.intp]:
    """Where in the kernel's result each reading stands."""
    named = {name: place for place, name in enumerate(STATISTICS[:-1])}
    behind = iter(range(kernel.BURST_RESULTS, kernel.BURST_RESULTS + len(burst.readings)))
    return np.array([named[r.statistic] if r.band is None else next(behind) for r in burst.readings], np.intp)
