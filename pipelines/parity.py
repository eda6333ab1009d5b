"""Does the bundle decide as the model that was fitted? Asked on every held-out row, and where it would hurt.

Besides the held-out rows as they are, the same rows with values taken away (a converter that forgets where a missing
value goes is right on complete rows), and rows one float32 step around the splits (one that rounds a threshold wrongly
is right everywhere else).

Where the bundle holds the graph from panes as well, it is asked for the same held-out windows from the panes behind
them, and has to say what the predictor says of their features.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.fitting import Fitted
from pipelines.reference import at_splits, with_gaps
from pipelines.windows import Windows
from serving.predictor import PanePredictor, Predictor

Panes = Callable[[Windows], Iterable[tuple[NDArray[np.intp], NDArray[np.float64]]]]
"""Windows to their panes: rows of the windows in parts, and the dense panes behind those."""

_SPLIT_ROWS = 3000
_GAPPY_ROWS = 3000


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the bundle and the fitted model are apart.

    Attributes:
        rows: Rows compared.
        missing_rows: Those of them with missing values.
        split_rows: Those of them next to a split.
        label_flips: Rows on which one alerts and the other does not.
        max_abs: Largest difference of the scores.
        pane_rows: Windows that the graph from panes was asked as well; None when there is no such graph. The two
            figures above hold for them too.
    """

    rows: int
    missing_rows: int
    split_rows: int
    label_flips: int
    max_abs: float
    pane_rows: int | None = None


def compare(fitted: Fitted, predictor: Predictor, values: NDArray[np.float64], seed: int) -> Parity:
    """Compare scores and alerts of the bundle with those of the fitted model.

    Args:
        fitted: The float64 reference.
        predictor: The bundle, opened as it is served.
        values: All held-out rows, shape ``(n, F)``.
        seed: Decides which rows are changed and how.
    """
    random = np.random.default_rng(seed)
    gappy = with_gaps(values, min(len(values), _GAPPY_ROWS), random)
    beside = at_splits(values, fitted.estimator.thresholds(), _SPLIT_ROWS, random)
    rows = np.vstack([values, gappy, beside, np.full((1, values.shape[1]), np.nan)])
    expected, found = fitted.score(rows), predictor.predict(rows)
    manifest = predictor.bundle.manifest
    return Parity(
        rows=len(rows),
        missing_rows=int(np.isnan(rows).any(axis=1).sum()),
        split_rows=len(beside),
        label_flips=int(np.sum(manifest.output.alerts(expected, manifest.threshold) != found.alert)),
        max_abs=float(np.abs(expected - found.score).max()),
    )


def compare_panes(found: Parity, predictor: Predictor, windows: Windows, panes: Panes) -> Parity:
    """Add to what was found how the graph from panes does on held-out windows.

    Args:
        found: Bundle against fitted model.
        predictor: The bundle, opened as it is served.
        windows: All held-out windows.
        panes: Gives the panes behind them.
    """
    graph = PanePredictor(predictor.bundle)
    rows, flips, difference = 0, 0, found.max_abs
    for part, behind in panes(windows):
        expected, answered = predictor.predict(windows.values[part]), graph.predict(behind)
        rows += len(part)
        flips += int(np.sum(expected.alert != answered.alert))
        difference = max(difference, float(np.abs(expected.score - answered.score).max(initial=0.0)))
    return replace(found, label_flips=found.label_flips + flips, max_abs=difference, pane_rows=rows)
