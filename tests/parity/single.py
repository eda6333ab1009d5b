"""Features by the kernel in single precision, as a microcontroller computes them: panes, merges and statistics in C."""

import ctypes
import shutil
import subprocess
import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import features.kernel
from features import kernel
from features.feature import AnyFeature, Difference, Feature, Lag
from features.featureset import FeatureSet
from features.pane import empty
from features.schema import MICROSECOND
from tests.parity.oracle import History
from tests.parity.telemetry import Telemetry

Rows = dict[tuple[int, int], NDArray[np.float64]]

SOURCE = Path(features.kernel.__file__).parent


@cache
def library() -> ctypes.CDLL:
    """The kernel compiled with float for its real type."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler on this machine")
    with tempfile.TemporaryDirectory(prefix="tidemill-single-") as folder:
        built = Path(folder) / "pane.so"
        flags = ["-std=c99", "-O2", "-ffp-contract=off", "-DTM_REAL=float", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, "-o", built, SOURCE / "pane.c", "-lm"], check=True, capture_output=True)
        loaded = ctypes.CDLL(str(built))
    loaded.tm_panes_add.restype = ctypes.c_size_t
    loaded.tm_pane_statistic.restype = ctypes.c_float
    return loaded


def rounded(readings: Telemetry) -> Telemetry:
    """The readings as a sensor in single precision gives them."""
    values = readings.values.astype(np.float32).astype(np.float64)
    return Telemetry(readings.device, readings.times, values, readings.events)


def rows(features: FeatureSet, readings: Telemetry) -> Rows:
    """Every feature row of the readings."""
    found: Rows = {}
    for code in np.unique(readings.device).tolist():
        mine = readings[np.flatnonzero(readings.device == code)]
        history = History(features, mine.times, mine.values, [])
        panes = _panes(features, mine)
        for end in history.ends():
            values = [_value(features, panes, feature, end) for feature in features.features]
            found[code, end] = np.array(values, np.float64)
    return found


def _panes(features: FeatureSet, readings: Telemetry) -> dict[int, NDArray[np.float32]]:
    starts = readings.times - readings.times % features.pane_us
    limits = features.fleet.limits.astype(np.float32)
    values = features.prepared(readings.values).astype(np.float32)
    panes = {}
    for start in np.unique(starts).tolist():
        inside = starts == start
        pane = empty((1, len(limits))).astype(np.float32)
        group, at = np.zeros(int(inside.sum()), np.int64), (readings.times[inside] - start).astype(np.float32)
        columns = (pane, group, at, np.ascontiguousarray(values[inside]), limits)
        groups, signals, count = (ctypes.c_size_t(number) for number in (1, len(limits), len(at)))
        pointers = [_pointer(column) for column in columns]
        library().tm_panes_add(pointers[0], groups, signals, *pointers[1:], count)
        panes[start] = pane[0]
    return panes


def _value(features: FeatureSet, panes: dict[int, NDArray[np.float32]], feature: AnyFeature, end: int) -> float:
    if isinstance(feature, Lag | Difference):
        before = _value(features, panes, feature.feature, end - feature.steps * features.every_us)
        return before if isinstance(feature, Lag) else _value(features, panes, feature.feature, end) - before
    assert isinstance(feature, Feature)
    assert isinstance(feature.window, timedelta)
    begin, signal = end - feature.window // MICROSECOND, features.fleet.signal_names.index(feature.signal)
    window = empty(1).astype(np.float32)[0]
    for start in range(begin, end, features.pane_us):
        if start in panes:
            library().tm_pane_merge(_pointer(window), _pointer(panes[start][signal]), ctypes.c_float(start - begin))
    code = ctypes.c_int(kernel.STATISTICS.index(feature.statistic))
    return float(library().tm_pane_statistic(_pointer(window), code, ctypes.c_float(end - begin)))


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
