"""Why a model said what it said: a prediction, found by its id or as the latest of a device, taken apart.

For each feature the question is asked: what would the score be if this one had its usual value (the median of the
training rows) and all others stayed? The difference is how much the feature moved the score. It is the released model
itself that answers, through ``serving.predictor``; nothing is approximated. Features that only act together share what
they do, so the differences need not add up.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.lake import Lake
from serving.bundle import Bundle, unpack
from serving.errors import MissingObjectError
from serving.prediction import Prediction, decode
from serving.release import bundle_path
from serving.store import Store
from serving.trust.layout import PREFIX, hashed_path

_SAME = ("id", "placement", "instance", "device", "version", "bundle", "feature_digest", "score", "alert")
MOST_OBJECTS = 2000  # of prediction logs that are looked through before giving up


@dataclass(frozen=True, slots=True)
class Cause:
    """What one feature did to a score.

    Attributes:
        feature: Its name.
        value: What it was, NaN for missing.
        usual_low: Tenth percentile of the training rows.
        usual: Their median.
        usual_high: Their ninetieth percentile.
        moved: Score minus the score with the usual value in its place.
    """

    feature: str
    value: float
    usual_low: float
    usual: float
    usual_high: float
    moved: float

    @property
    def sentence(self) -> str:
        """Like ``vibration_mean_6h was 7.9, usually 0.8 to 3.1: raised the score by 0.41``."""
        was = "was missing" if math.isnan(self.value) else f"was {self.value:.3g}"
        way = f"{'raised' if self.moved > 0 else 'lowered'} the score by {abs(self.moved):.2f}"
        return f"{self.feature} {was}, usually {self.usual_low:.3g} to {self.usual_high:.3g}: {way}"


def causes_of(prediction: Prediction, bundle: Bundle) -> list[Cause]:
    """Take a prediction apart, the feature that moved it most first."""
    from serving.predictor import Predictor  # noqa: PLC0415 - the runtime takes a second to load

    manifest = bundle.manifest
    names = manifest.features.names
    edges = np.array([manifest.reference[name] for name in names], dtype=np.float64)
    values = np.array(prediction.features, dtype=np.float64)
    rows = np.tile(values, (len(names) + 1, 1))
    at = np.arange(len(names))
    rows[at, at] = edges[:, 5]
    scores = Predictor(bundle).predict(rows).score
    found = [
        Cause(name, float(values[i]), edges[i, 1].item(), edges[i, 5].item(), edges[i, 9].item(), float(moved))
        for i, (name, moved) in enumerate(zip(names, scores[-1] - scores[:-1], strict=True))
    ]
    return sorted(found, key=lambda cause: -abs(cause.moved))


def prediction_by_id(store: Store, lake: Lake, usecases: Sequence[str], wanted: str) -> Prediction | None:
    """Find a prediction, in the table of predictions or in logs that were not taken in yet; None when there is none."""
    for usecase in usecases:
        stored = _stored(lake, usecase, wanted=wanted)
        logged = (prediction for prediction in _logged(store, usecase) if prediction.id == wanted)
        found = next(itertools.chain(stored, logged), None)
        if found is not None:
            return found
    return None


def latest_of(store: Store, lake: Lake, usecase: str, device: str) -> Prediction | None:
    """Find the prediction about the newest window of a device; None when there is none."""
    logged = (prediction for prediction in _logged(store, usecase) if prediction.device == device)
    found = [*_stored(lake, usecase, device=device), *logged]
    return max(found, key=lambda prediction: (prediction.window_end_us, prediction.predicted_at_us), default=None)


def published(store: Store, digest: str) -> Bundle | None:
    """Return a bundle that is published at present; None for one that was replaced or never released."""
    path = hashed_path(bundle_path(digest), digest.removeprefix("sha256:"))
    try:
        return unpack(store.get(f"{PREFIX}/targets/{path}"), digest)
    except MissingObjectError:
        return None


def _stored(lake: Lake, usecase: str, *, wanted: str = "", device: str = "") -> Iterator[Prediction]:
    """Predictions in the lake with this id, or about the newest window of this device."""
    table = lake.predictions(usecase)
    if not table.exists():
        return
    snapshot = table.open()
    keys = snapshot.read(["id", "date", "device"], devices=[device] if device else None).to_pylist()
    days = {row["date"] for row in keys if not wanted or row["id"] == wanted}
    if not days:
        return
    devices = [device] if device else [row["device"] for row in keys if row["id"] == wanted]
    for row in snapshot.read(dates=[max(days)], devices=devices).to_pylist():
        if not wanted or row["id"] == wanted:
            yield _prediction(usecase, row)


def _prediction(usecase: str, row: dict[str, Any]) -> Prediction:
    fields = {name: row[name] for name in _SAME}
    features = tuple(math.nan if value is None else float(value) for value in row["features"])
    return Prediction(
        usecase=usecase,
        window_end_us=row["window_end"],
        predicted_at_us=row["predicted_at"],
        features=features,
        **fields,
    )


def _logged(store: Store, usecase: str) -> Iterator[Prediction]:
    """Predictions as placements logged them, the newest objects first."""
    entries = sorted(store.list(f"predictions/{usecase}/"), key=lambda entry: -entry.modified_us)
    for entry in entries[:MOST_OBJECTS]:
        yield from decode(store.get(entry.key))
