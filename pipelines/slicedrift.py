"""How far inputs and scores have moved in each part of the fleet: what is calm on average may have moved in one model.

Parts are those of a training report (`pipelines.slices`): kind of device, operating condition, age. Each is compared
with the same part of the training rows, since a pump of another make never was like the average. These rows are read
from the table of features, never from telemetry, of some days spread over the training; their scores are those of the
bundle itself, which has learned from most of them, so scores of a part may seem to have moved a little when they have
not. Parts inform, the whole decides.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.drift import NOWHERE, Shift, deciles, shift
from pipelines.history import windows_of
from pipelines.lake import Lake
from pipelines.retraining import RetrainingRules, drifted
from pipelines.slices import LEAST_WINDOWS, divided
from pipelines.unique import date_names
from pipelines.watched import Watched
from pipelines.windows import Windows
from serving.bundle import Manifest
from serving.predictor import Predictor

_MOST_ROWS = 50_000  # on either side: a decile of a tenth of that is known to a per cent


@dataclass(frozen=True, slots=True)
class SliceDrift:
    """A part of the fleet.

    Attributes:
        group: By what the fleet was divided.
        name: Which part.
        windows: Windows of the latest week.
        reference: Rows of training.
        devices: Devices of the latest week.
        features: How many features were compared.
        drifted: Those that moved far, most first.
        most: How far the first of them moved; of none, the one that moved most.
        feature: Which one that is.
        score: How far the scores moved.
        small: Whether that is too little to trust.
    """

    group: str
    name: str
    windows: int
    reference: int
    devices: int
    features: int
    drifted: tuple[str, ...]
    feature: str
    most: Shift
    score: Shift
    small: bool

    @property
    def severity(self) -> tuple[bool, int, float]:
        """What parts are sorted by, the calmest first."""
        return not self.small, len(self.drifted), 0.0 if math.isnan(self.most.index) else self.most.index

    @property
    def sentence(self) -> str:
        """What has moved there.

        Example:
            >>> calm = SliceDrift("model", "3", 900, 900, 5, 8, (), "heat", Shift(0.04, 0.1, 900), NOWHERE, False)
            >>> calm.sentence
            'model 3: 0 of 8 features moved far, most heat (index 0.04)'
        """
        most = f", most {self.feature} (index {self.most.index:.2f})" if self.feature else ""
        return f"{self.group} {self.name}: {len(self.drifted)} of {self.features} features moved far{most}"

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        plain = ("group", "name", "windows", "reference", "devices", "features", "feature", "small")
        told = {name: getattr(self, name) for name in plain}
        return {**told, "drifted": list(self.drifted), "most": self.most.to_json(), "score": self.score.to_json()}


def slice_drifts(
    lake: Lake, watched: Watched, broken: NDArray[np.bool_] | None, rules: RetrainingRules
) -> tuple[list[SliceDrift], str]:
    """Compare the latest week with training, part by part.

    Args:
        lake: Holds the feature rows of training.
        watched: The version.
        broken: Values of the latest week that say nothing, shape ``(windows of the week, F)``.
        rules: Say what is far.

    Returns:
        The parts, the one that moved most first; or none, and why.
    """
    if watched.bundle is None:
        return [], "its bundle is not in this store"
    manifest = watched.bundle.manifest
    before = training_rows(lake, manifest)
    if before is None:
        return [], "the feature rows of its training are not in this store"
    chosen = np.flatnonzero(watched.lately)
    every = np.arange(0, len(chosen), math.ceil(len(chosen) / _MOST_ROWS))
    late = watched.windows.select(chosen[every])
    if broken is not None:
        late.values[broken[every]] = math.nan
    scores = (Predictor(watched.bundle).predict(before.values).score, watched.score[chosen[every]])
    return _parts(manifest, before, late, scores, rules), ""


def training_rows(lake: Lake, manifest: Manifest) -> Windows | None:
    """Read rows of the span a model was trained and judged on, of as many days as fit; None where there are none."""
    table = lake.features(manifest.features)
    span = (manifest.lineage.get("since", ""), manifest.lineage.get("until", ""))
    if not all(moment.isdecimal() for moment in span) or not table.exists():
        return None
    first, last = date_names(np.array([int(moment) for moment in span])).to_pylist()
    snapshot = table.open()
    counts = {date: rows for date, rows in snapshot.row_counts().items() if first <= date <= last}
    step = max(1, math.ceil(sum(counts.values()) / _MOST_ROWS))
    rows = windows_of(snapshot, manifest.features, dates=list(counts)[::step])
    return rows if len(rows) else None


def _parts(
    manifest: Manifest,
    before: Windows,
    late: Windows,
    scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    rules: RetrainingRules,
) -> list[SliceDrift]:
    """Both sides are divided together, so that a part is the same on either."""
    names = manifest.features.names
    both = [
        np.concatenate([getattr(before, part), getattr(late, part)]) for part in ("device", "end", "values", "label")
    ]
    windows = Windows(*both)
    nobody = windows.select(np.empty(0, dtype=np.intp))
    found = []
    for group, parts in divided(manifest.features, names, nobody, windows):
        for part in dict.fromkeys(sorted(parts.tolist())):
            own = parts == part
            here = (own[: len(before)], own[len(before) :])
            if part and here[1].any():
                sides = (before.select(here[0]), late.select(here[1]), scores[0][here[0]], scores[1][here[1]])
                found.append(_part(group, part.partition(" ")[2], names, sides, rules))
    return sorted(found, key=lambda each: each.severity, reverse=True)


def _part(
    group: str,
    name: str,
    names: Sequence[str],
    sides: tuple[Windows, Windows, NDArray[np.float64], NDArray[np.float64]],
    rules: RetrainingRules,
) -> SliceDrift:
    before, late, scored, score = sides
    small = min(len(before), len(late)) < LEAST_WINDOWS
    shifts = {
        feature: shift(deciles(before.values[:, at]), late.values[:, at])
        for at, feature in enumerate(names)
        if not small
    }
    far = drifted(shifts, rules)
    known = [feature for feature in shifts if not math.isnan(shifts[feature].index)]
    most = far[0] if far else max(known, key=lambda feature: shifts[feature].index, default="")
    return SliceDrift(
        group=group,
        name=name,
        windows=len(late),
        reference=len(before),
        devices=len(np.unique(late.device)),
        features=len(shifts),
        drifted=tuple(far),
        feature=most,
        most=shifts.get(most, NOWHERE),
        score=NOWHERE if small else shift(deciles(scored), score),
        small=small,
    )
