"""Regimes: readings compared with what is usual under the same operating condition.

A turbine at full load is warmer than at idle, and a fault of two degrees drowns in a swing of forty. Signals are
therefore normalised per regime, before anything is summed up: the nearest of some centres in the space of the setting
signals is the regime of a record, and a signal x becomes ``(x - mean[regime]) / std[regime]``.

A catalog declares a `RegimeRule`: by which settings, how many regimes, for which signals. Training learns `Regimes`
from the readings of its training devices and span alone (`pipelines.regimes`) and carries them in the feature set, and
so in the bundle: batch, late data and gateways normalise with the same numbers.

    >>> regimes = Regimes(
    ...     settings=("load",), signals=("temperature",), offset=(50.0,), scale=(50.0,),
    ...     centres=((-1.0,), (1.0,)), mean=((20.0,), (60.0,)), std=((1.0,), (2.0,)),
    ... )
    >>> columns = ("load", "temperature")
    >>> regimes.normalise(columns, np.array([[3.0, 21.0], [99.0, 61.0], [np.nan, 61.0]])).tolist()
    [[3.0, 1.0], [99.0, 0.5], [nan, nan]]

Regimes are those of a record: settings must stand in the record of the signals they explain. Where one is missing, the
normalised signals count as missing, because by how much they are off cannot be told.

Normalisation per operating condition of turbofans: Peel, "Data driven prognostics using a Kalman filter ensemble of
neural network models", International Conference on Prognostics and Health Management, 2008.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.errors import FeatureSetError

Array = NDArray[np.float64]

UNKNOWN: Final = -1
"""The regime of a record that lacks a setting."""

_CHUNK: Final = 65_536  # records at a time: their distances stay in the cache
_MOST_REGIMES: Final = 64


@dataclass(frozen=True, slots=True)
class RegimeRule:
    """By which settings regimes are told apart: a declaration, to be learned by a training.

    Args:
        settings: The signals that say under which condition a device works.
        count: How many conditions there are at most; training learns fewer where the settings show fewer, and 1 makes
            plain z-scores.
        signals: The signals that are normalised.

    Raises:
        FeatureSetError: No settings or signals, one named twice, or an impossible count.
    """

    settings: tuple[str, ...]
    count: int
    signals: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_names(settings=self.settings, signals=self.signals)
        if not 1 <= self.count <= _MOST_REGIMES:
            raise FeatureSetError(f"{self.count} regimes are not possible", fix=f"give 1 to {_MOST_REGIMES}")

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON-ready dictionary."""
        return {"settings": list(self.settings), "count": self.count, "signals": list(self.signals)}


@dataclass(frozen=True, slots=True)
class Regimes:
    """Learned regimes: where they lie, and what is usual in each.

    Args:
        settings: The signals that say under which condition a device works; none where there is one regime for all.
        signals: The signals that are normalised.
        offset: For each setting what is subtracted before distances are taken.
        scale: For each setting what it is then divided by, above zero.
        centres: For each regime its place in the space of the settings so scaled.
        mean: For each regime the mean of each signal, in the signal's unit.
        std: For each regime the standard deviation of each signal, above zero.

    Raises:
        FeatureSetError: The parameters do not fit together, or a scale or deviation is not above zero.
    """

    settings: tuple[str, ...]
    signals: tuple[str, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    centres: tuple[tuple[float, ...], ...]
    mean: tuple[tuple[float, ...], ...]
    std: tuple[tuple[float, ...], ...]
    _arrays: dict[str, Array] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_names(settings=self.settings or ("one for all",), signals=self.signals)
        regimes, settings, signals = len(self.centres), len(self.settings), len(self.signals)
        shapes = {
            "offset": (settings,), "scale": (settings,), "centres": (regimes, settings),
            "mean": (regimes, signals), "std": (regimes, signals),
        }  # fmt: skip
        arrays: dict[str, Array] = {}
        for name, shape in shapes.items():
            try:
                arrays[name] = np.array(getattr(self, name), np.float64)
            except ValueError as error:
                raise FeatureSetError(f"{name} of the regimes is no table", why=str(error)) from error
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise FeatureSetError(f"{name} of the regimes does not hold {shape} finite numbers")
        if not 1 <= regimes <= _MOST_REGIMES or (arrays["scale"] <= 0).any() or (arrays["std"] <= 0).any():
            raise FeatureSetError("regimes need a centre at least, and scales and deviations above zero")
        object.__setattr__(self, "_arrays", arrays)

    def assign(self, settings: Array) -> NDArray[np.intp]:
        """The regime of each record: its nearest centre, the first of equally near ones.

        Args:
            settings: Shape ``(n, settings)``, in the units of the signals.

        Returns:
            Shape ``(n,)``; ``UNKNOWN`` where a setting is missing.
        """
        arrays = self._arrays
        regime = np.empty(len(settings), np.intp)
        for begin in range(0, len(settings), _CHUNK):
            part = (settings[begin : begin + _CHUNK] - arrays["offset"]) / arrays["scale"]
            nearest, least = np.full(len(part), UNKNOWN, np.intp), np.full(len(part), math.inf)
            for number, centre in enumerate(arrays["centres"]):
                distance = np.square(part - centre).sum(axis=1)
                closer = distance < least  # never where a setting is NaN
                nearest[closer], least[closer] = number, distance[closer]
            regime[begin : begin + _CHUNK] = nearest
        return regime

    def normalise(self, names: Sequence[str], values: Array) -> Array:
        """Readings with their signals normalised.

        Args:
            names: The signals in the order of the columns.
            values: Shape ``(n, signals of the fleet)``, in the units of the signals; NaN marks a missing value.

        Returns:
            New values of the same shape: standard deviations for the normalised signals, the others as they were. NaN
            where a reading or a setting of its record is missing.
        """
        normalised = np.array(values, np.float64, order="C")
        places = [names.index(signal) for signal in self.signals]
        regime = self.assign(values[:, [names.index(setting) for setting in self.settings]])
        known = regime != UNKNOWN
        mean, std = (self._arrays[name][regime] for name in ("mean", "std"))
        normalised[:, places] = np.where(known[:, None], (normalised[:, places] - mean) / std, np.nan)
        return normalised

    def to_json(self) -> dict[str, Any]:
        """The regimes as JSON-ready dictionary; numbers come back bit by bit."""
        return {
            "settings": list(self.settings),
            "signals": list(self.signals),
            **{name: array.tolist() for name, array in self._arrays.items()},
        }


def regimes_json(regimes: RegimeRule | Regimes | None) -> dict[str, Any] | None:
    """What a feature set says about regimes, as JSON-ready dictionary."""
    if regimes is None:
        return None
    return {"rule" if isinstance(regimes, RegimeRule) else "learned": regimes.to_json()}


def regimes_from_json(document: Mapping[str, Any] | None) -> RegimeRule | Regimes | None:
    """What `regimes_json` wrote.

    Raises:
        FeatureSetError: The parameters do not fit together.
        KeyError, TypeError, ValueError: A field is missing or has another form.
    """
    if document is None:
        return None
    ((kind, said),) = document.items()
    settings, signals = (tuple(map(str, said[name])) for name in ("settings", "signals"))
    if kind == "rule":
        return RegimeRule(settings, int(said["count"]), signals)
    offset, scale = (_numbers(said[name]) for name in ("offset", "scale"))
    centres, mean, std = (tuple(map(_numbers, said[name])) for name in ("centres", "mean", "std"))
    return Regimes(settings, signals, offset, scale, centres, mean, std)


def _numbers(row: Sequence[Any]) -> tuple[float, ...]:
    return tuple(map(float, row))


def _check_names(**kinds: Sequence[str]) -> None:
    for kind, names in kinds.items():
        if not names or len(set(names)) < len(names):
            raise FeatureSetError(f"regimes need {kind}, each once", why=f"found {', '.join(names) or 'none'}")
