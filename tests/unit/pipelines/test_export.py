from typing import ClassVar

import numpy as np
import onnxruntime
import pytest

from pipelines.errors import ExportError
from pipelines.export import Tree, scaled_nodes, tree_nodes, weighted_nodes, write
from pipelines.links import Clipped, Isotonic, Link, Ratio, Sigmoid
from tests.unit.pipelines.test_estimators import CASES, fitted_on, rows

LINKS: list[Link] = [
    Sigmoid(2.0, -0.5),
    Isotonic((0.1, 0.4, 2.0), (0.05, 0.2, 0.9)),
    Isotonic((0.3,), (0.2,)),
    Clipped(0.2, 0.8),
]


def run(model, values):
    session = onnxruntime.InferenceSession(model)
    return session.run(["score"], {"features": values.astype(np.float32)})[0].ravel()


def between(scores):
    """A threshold where nobody scores, as trainings choose it: amid the widest gap of the upper fifth."""
    upper = np.unique(scores)
    if len(upper) == 1:
        return np.inf
    upper = upper[-max(len(upper) // 5, 2) :]
    widest = int(np.diff(upper).argmax())
    return float(upper[widest : widest + 2].mean())


def nudged(values, points, seed=0):
    """Rows whose value lies on a split point of the model, one float32 step below it, and one above."""
    random = np.random.default_rng(seed)
    picked = [points[i] for i in random.permutation(len(points))[:300]]
    made = []
    for feature, threshold in picked:
        at = np.float32(threshold)
        for value in (np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))):
            row = values[random.integers(len(values))].copy()
            row[feature] = value
            made.append(row)
    return np.array(made)


@pytest.mark.parametrize("missing", [0.0, 0.1], ids=["complete", "a tenth missing"])
@pytest.mark.parametrize(("name", "learns"), CASES)
def test_the_exported_model_scores_as_the_fitted_one(name, learns, missing):
    values, label = rows(missing=missing)
    values[:, 3] *= 1e5
    fitted = fitted_on(name, learns, values, label)
    asked, _ = rows(count=2000, seed=5, missing=0.1)  # missing values come even where training saw none
    asked[:, 3] *= 1e5
    asked[0] = np.nan
    if points := [point for point in fitted.thresholds() if np.isfinite(point[1])]:
        asked = np.vstack([asked, nudged(asked, points)])
    margin = fitted.margin(asked.astype(np.float32).astype(np.float64))
    links = LINKS if learns != "normality" else [Ratio(0.7)]
    for link in links:
        expected, found = link(margin), run(write(fitted.nodes(), link, 5), asked)
        assert np.abs(found - expected).max() < 5e-7
        at = between(expected)
        assert np.array_equal(expected >= at, found >= at)


class TestTrees:
    LEFT: ClassVar[float] = 1.0
    RIGHT: ClassVar[float] = 3.0

    def tree(self, threshold=0.5, *, missing_left=False, value=None):
        child = np.array([-1, -1])
        return Tree(
            np.zeros(3, dtype=np.int64),
            np.array([threshold, 0, 0]),
            np.array([missing_left, False, False]),
            np.array([1, *child]),
            np.array([2, *child]),
            np.array([0.0, self.LEFT, self.RIGHT]) if value is None else value,
        )

    def written(self, trees, base, link):
        return write(tree_nodes(trees, base, 1), link, 1)

    def margin(self, model, *values):
        score = run(model, np.array(values).reshape(-1, 1)).astype(np.float64)
        return np.log(score / (1 - score)).round(5).tolist()

    def test_a_value_at_the_threshold_goes_left(self):
        model = self.written([self.tree()], 0.0, Sigmoid())
        above = np.nextafter(np.float32(0.5), np.float32(1))
        assert self.margin(model, 0.5, above) == [self.LEFT, self.RIGHT]

    @pytest.mark.parametrize("missing_left", [True, False])
    def test_a_missing_value_goes_where_the_branch_says(self, missing_left):
        model = self.written([self.tree(missing_left=missing_left)], 0.0, Sigmoid())
        assert self.margin(model, np.nan) == [self.LEFT if missing_left else self.RIGHT]

    def test_a_threshold_of_infinity_splits_off_missing_values(self):
        model = self.written([self.tree(threshold=np.inf)], 0.0, Sigmoid())
        assert self.margin(model, 1e30, np.nan) == [self.LEFT, self.RIGHT]

    def test_base_and_calibration_are_added(self):
        model = self.written([self.tree(), self.tree()], 0.5, Sigmoid(2.0, -1.0))
        assert self.margin(model, 0.0) == [pytest.approx(2.0 * (2 * self.LEFT + 0.5) - 1.0, abs=1e-4)]

    def test_trees_without_a_split_only_move_the_base(self):
        alone = Tree(*(np.array([x]) for x in (0, 0.0, False, -1, -1, 0.25)))
        model = self.written([alone, alone], 0.5, Sigmoid())
        assert self.margin(model, 7.0, np.nan) == [1.0, 1.0]

    def test_a_leaf_that_is_no_number_is_refused(self):
        with pytest.raises(ExportError, match="not a number"):
            tree_nodes([self.tree(value=np.array([0.0, np.nan, 1.0]))], 0.0, 1)

    def test_a_feature_that_does_not_exist_is_refused(self):
        with pytest.raises(ExportError, match="feature that does not exist"):
            tree_nodes([self.tree()], 0.0, 0)


def test_a_linear_model_with_a_number_that_is_not_finite_is_refused():
    one = np.ones(1)
    with pytest.raises(ExportError, match="'scale' that is not finite"):
        write(scaled_nodes(one, one, np.array([np.inf])).followed_by(weighted_nodes(one, 0.0)), Sigmoid(), 1)


def test_centring_does_not_cancel_large_offsets():
    offset, spread = 1e6, 0.25
    one = np.ones(1)
    model = write(
        scaled_nodes(one * offset, one * offset, one * spread).followed_by(weighted_nodes(one, 0.0)), Sigmoid(), 1
    )
    score = run(model, np.array([[offset + spread], [np.nan]]))
    assert score == pytest.approx([1 / (1 + np.exp(-1)), 0.5], abs=1e-7)
