"""From feature rows to predictions: an installed model, its scores, and what is written down of them."""

import contextlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.errors import TidemillError
from features.featureset import FeatureSet
from features.online import OnlineRows
from serving.gateway.slots import Installed
from serving.prediction import Prediction, prediction_id
from serving.predictor import Predictor, Scores


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """An installed bundle in memory."""

    installed: Installed
    predictor: Predictor
    feature_digest: str  # takes too long to be computed for every prediction

    @property
    def features(self) -> FeatureSet:
        """What the model sees."""
        return self.predictor.bundle.manifest.features


class Scored(NamedTuple):
    """Scores, with the rows they are of and the model that gave them."""

    model: Model
    rows: OnlineRows
    scores: Scores


class Source(NamedTuple):
    """Who predicts: use case, and name of the gateway."""

    usecase: str
    instance: str


def singly(model: Model, rows: OnlineRows) -> Scored:
    """Score rows one by one, so that a row the model fails on does not take its neighbours with it: it is left out."""
    scored: list[tuple[int, Scores]] = []
    for row in range(len(rows.end)):
        with contextlib.suppress(TidemillError):
            scored.append((row, model.predictor.predict(rows.values[row : row + 1])))
    taken = np.array([row for row, _ in scored], np.intp)
    return Scored(
        model,
        OnlineRows(tuple(rows.device[row] for row in taken), rows.end[taken], rows.values[taken]),
        Scores(
            np.concatenate([np.empty(0), *(scores.score for _, scores in scored)]),
            np.concatenate([np.empty(0, np.bool_), *(scores.alert for _, scores in scored)]),
        ),
    )


def stamped(source: Source, scored: Scored, now_us: int, *, behind: bool) -> list[Prediction]:
    """Write scores down as predictions.

    Args:
        source: Who predicts.
        scored: By which model, of which rows.
        now_us: The clock, UTC microseconds.
        behind: Whether it was never set. Such a clock cannot date a prediction, but none was made before its window
            ended.
    """
    model, rows, scores = scored
    installed = model.installed
    columns = (rows.device, rows.end.tolist(), scores.score.tolist(), scores.alert.tolist(), rows.values.tolist())
    return [
        Prediction(
            id=prediction_id(source.usecase, "gateway", source.instance, device, end, installed.bundle),
            usecase=source.usecase,
            placement="gateway",
            instance=source.instance,
            device=device,
            window_end_us=end,
            predicted_at_us=max(now_us, end) if behind else now_us,
            version=installed.version,
            bundle=installed.bundle,
            feature_digest=model.feature_digest,
            score=score,
            alert=alert,
            features=tuple(values),
        )
        for device, end, score, alert, values in zip(*columns, strict=True)
    ]
