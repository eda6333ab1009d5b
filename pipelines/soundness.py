"""Whether what a model is fed is sound: missing values, frozen sensors, wrong clocks.

These are findings of their own and never drift. A dead sensor makes its features move further than any wear does, and
a model that is trained on it learns to do without the sensor that a technician could exchange; so the values of a
frozen sensor are left out where drift is measured, missing ones anyway, and none of this is a reason to train anew.

=========  ========================================================================================================
missing    a feature lacks values in a share of the windows that is a tenth larger than in training
frozen     a signal stands at one value on devices where it used to move (`pipelines.signals`)
clock      predictions about windows that end after now, predictions made before their window ended (the device is
           ahead of whoever predicted), and predictions made long after (it is behind, or was caught up with later)
=========  ========================================================================================================
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.featureset import FeatureSet
from pipelines.predictionlog import Log
from pipelines.sensitivity import reads
from pipelines.signals import SignalHistory
from pipelines.watched import Watched
from pipelines.windows import Windows

MORE_MISSING = 0.1
SKEW = timedelta(minutes=1)
_LEAST_WINDOWS, _WORTH_MENTIONING = 50, 0.01
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not sound.

    Attributes:
        kind: What it is about.
        subject: Which signal, feature or clock.
        sentence: What was found.
        share: Of the windows, devices or predictions, 0..1.
        devices: Whom it concerns, at most ten by name.
        count: How many it concerns.
    """

    kind: Literal["missing", "frozen", "clock"]
    subject: str
    sentence: str
    share: float
    devices: tuple[str, ...] = ()
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self)


def findings(
    watched: Watched | None, log: Log, signals: Sequence[SignalHistory], late_after: timedelta
) -> list[Finding]:
    """Look at what the version in use was fed.

    Args:
        watched: The version; None when nothing was predicted.
        log: All predictions.
        signals: The signals behind its features.
        late_after: How long after its window a prediction is usual at most.
    """
    found = [] if watched is None else missing(watched)
    devices = 0 if watched is None else len(np.unique(watched.windows.device))
    return [*found, *frozen(signals, devices), *clocks(log, late_after)]


def missing(watched: Watched) -> list[Finding]:
    """Features that are missing more often than in training; one finding for each signal, its worst feature."""
    manifest = watched.manifest
    rows = watched.lately
    if manifest is None or manifest.baseline is None or rows.sum() < _LEAST_WINDOWS:
        return []
    before, values = manifest.baseline.missing, watched.windows.values[rows]
    absent = np.isnan(values)
    more = np.array([absent[:, at].mean() - before.get(name, 0.0) for at, name in enumerate(manifest.features.names)])
    found = []
    for signal, columns in _by_signal(manifest.features):
        at = max(columns, key=lambda column: more[column])
        if more[at] <= MORE_MISSING:
            continue
        name, share = manifest.features.names[at], float(absent[:, at].mean())
        devices = np.unique(watched.windows.device[rows][absent[:, at]]).tolist()
        sentence = (
            f"{name} is missing in {share:.0%} of the latest week's windows, in training in {before.get(name, 0.0):.0%}"
        )
        found.append(Finding("missing", signal, sentence, share, tuple(devices[:_NAMED]), len(devices)))
    return found


def frozen(signals: Sequence[SignalHistory], devices: int) -> list[Finding]:
    """Signals that stand still on devices where they moved in training."""
    return [
        Finding(
            "frozen",
            signal.name,
            f"{signal.name} stands still on {len(signal.frozen)} of {devices} devices where it moved in training",
            len(signal.frozen) / max(devices, len(signal.frozen)),
            signal.frozen[:_NAMED],
            len(signal.frozen),
        )
        for signal in signals
        if signal.frozen
    ]


def broken(windows: Windows, features: FeatureSet, signals: Sequence[SignalHistory]) -> NDArray[np.bool_]:
    """Return which values rest on a frozen sensor, shape of the values."""
    found = np.zeros(windows.values.shape, dtype=np.bool_)
    columns = dict(_by_signal(features))
    for signal in signals:
        if signal.frozen and signal.name in columns and found.size:
            rows = np.flatnonzero(np.isin(windows.device, signal.frozen))
            found[np.ix_(rows, np.array(columns[signal.name]))] = True
    return found


def clocks(log: Log, late_after: timedelta) -> list[Finding]:
    """Predictions whose times cannot be, or are far apart."""
    rows, strays = log.rows, log.strays
    lag, stray = (each["predicted_at"].to_numpy() - each["window_end"].to_numpy() for each in (rows, strays))
    late, early = (time // timedelta(microseconds=1) for time in (late_after, -SKEW))
    after = f"{late_after / timedelta(minutes=1):g} minutes"
    told = (
        ("ahead of now", "about windows that end after now, and are left out", strays, stray <= late),
        ("long ago", "about windows that ended more than four weeks before, and are left out", strays, stray > late),
        ("device ahead", "made before their window had ended: a device is ahead of its gateway", rows, lag < early),
        ("late answer", f"made {after} after their window or later: a device is behind, or was late", rows, lag > late),
    )
    total = len(rows) + len(strays)
    found = (_clock(subject, what, each.filter(pa.array(wrong)), total) for subject, what, each, wrong in told)
    return [finding for finding in found if finding is not None]


def _clock(subject: str, what: str, rows: pa.Table, total: int) -> Finding | None:
    share = len(rows) / max(total, 1)
    if not len(rows) or (share < _WORTH_MENTIONING and "left out" not in what):
        return None
    counted = rows.group_by("device").aggregate([("window_end", "count")])
    counted = counted.sort_by([("window_end_count", "descending"), ("device", "ascending")])
    sentence = f"{len(rows):,} of {total:,} predictions are {what}"
    return Finding("clock", subject, sentence, share, tuple(counted["device"].to_pylist()[:_NAMED]), len(counted))


def _by_signal(features: FeatureSet) -> Iterable[tuple[str, list[int]]]:
    for signal in features.fleet.signal_names:
        columns = [at for at, feature in enumerate(features.features) if reads(feature, signal)]
        if columns:
            yield signal, columns
