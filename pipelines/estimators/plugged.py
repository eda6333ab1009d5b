"""Somebody else's estimator behind our interface: anything that works as scikit-learn's do.

How it is fitted, what its margin is, and how it is written:

* Seeds are set wherever it leaves a ``random_state`` open.
* Where a feature had gaps in training and the estimator takes them, it sees them; everywhere else a gap is the median.
* The margin is the decision function, the probability or the prediction, whichever it has first.
* Known models are written by our own writers (``fitted_nodes``), others by the nodes that come with them, the rest by
  skl2onnx in float64, if that uses operators that serving lets through.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import get_tags
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from pipelines.errors import ExportError, UseCaseError
from pipelines.estimators.estimator import Parameters, Rows, split_points
from pipelines.estimators.fitted_nodes import filled_nodes, known, nodes_of, trees_before_scaling
from pipelines.estimators.foreign import embedded
from pipelines.estimators.made import Made
from pipelines.estimators.network import Scaling
from pipelines.export import OPSETS, Tree
from pipelines.links import Nodes
from pipelines.tasks import Learns

Array = NDArray[np.float64]


class Plugged(Made):
    """An estimator in the style of scikit-learn.

    Args:
        factory: Takes parameters by name and returns an estimator that was not fitted.
        defaults: Parameters used where none are given.
        space: Where a search for parameters looks; empty for no search.
        nodes: Takes the fitted estimator and the number of features; returns nodes from ``filled``, float64 ``(n, F)``,
            to ``margin``, float64 ``(n, 1)``. For models that neither our writers nor skl2onnx know.

    Example:
        >>> from sklearn.linear_model import Lasso
        >>> sorted(Plugged(Lasso).learns)
        ['quantity']
    """

    name = "plugged"

    @property
    def learns(self) -> frozenset[Learns]:
        """What the estimator says of itself: classifiers learn probabilities, regressors quantities."""
        model = self._factory(**self.defaults)
        found: set[Learns] = set()
        if is_classifier(model):
            found.add("probability")
        if is_regressor(model):
            found.add("quantity")
        return frozenset(found)

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit.

        Raises:
            UseCaseError: It has another form than estimators of scikit-learn have.
        """
        model = self._factory(**{**self.defaults, **parameters})
        if not callable(getattr(model, "fit", None)) or not hasattr(model, "get_params"):
            raise UseCaseError(
                f"{model!r} is no estimator in the style of scikit-learn",
                where="estimator of the use case",
                fix="it needs fit, get_params, and one of decision_function, predict_proba and predict",
            )
        model.set_params(**_seeds(model, seed))
        gaps = np.isnan(rows.values).any(axis=0)
        takes = gaps & get_tags(model).input_tags.allow_nan
        self._fill, self._where = Scaling.learned(rows.values).fill, ~takes
        with threadpool_limits(limits=1):
            model.fit(self._filled(rows.values), rows.label)
        self._model, self._width = model, rows.values.shape[1]
        self._says = _says(model, rows.learns)

    def margin(self, values: Array) -> Array:
        """Return the decision function, the probability or the prediction."""
        with threadpool_limits(limits=1):
            found = np.asarray(getattr(self._model, self._says)(self._filled(values)), dtype=np.float64)
        return found[:, 1] if self._says == "predict_proba" else found.reshape(-1)

    def nodes(self) -> Nodes:
        """Write the fitted estimator.

        Raises:
            ExportError: Nobody knows how; the message says what can be done.
        """
        first = filled_nodes(self._fill, self._where, "wide", "filled")
        if self._own_nodes is not None:
            return first.followed_by(self._own_nodes(self._model, self._width))
        if known(self._model):
            return first.followed_by(nodes_of(self._model, self._width))
        return first.followed_by(_converted(self._model, self._says, self._width))

    def thresholds(self) -> list[tuple[int, float]]:
        """Return the split points of known trees."""
        return split_points(self.trees())

    def trees(self) -> list[Tree]:
        """Return known trees, as they look at values before scaling."""
        return trees_before_scaling(self._model, self._width) if self._own_nodes is None else []

    def _filled(self, values: Array) -> Array:
        return np.where(np.isnan(values) & self._where, self._fill, values)


def _seeds(model: Any, seed: int) -> Mapping[str, int]:
    ends = ("random_state",)
    return {
        name: seed
        for name, value in model.get_params(deep=True).items()
        if value is None and name.rpartition("__")[2] in ends
    }


def _says(model: Any, learns: Learns) -> str:
    """Name the method that gives the margin: probabilities are what skl2onnx writes, so only known models differ."""
    if learns == "quantity":
        return "predict"
    if known(model) and hasattr(model, "decision_function"):
        return "decision_function"
    if hasattr(model, "predict_proba"):
        return "predict_proba"
    raise UseCaseError(
        f"{type(model).__name__} gives no probabilities",
        where="estimator of the use case",
        fix="wrap it: sklearn.calibration.CalibratedClassifierCV, or use an estimator with predict_proba",
    )


def _converted(model: Any, says: str, width: int) -> Nodes:
    from skl2onnx import to_onnx  # noqa: PLC0415 - takes a second to load, and few need it
    from skl2onnx.common.data_types import DoubleTensorType  # noqa: PLC0415

    if _holds_trees(model):
        raise ExportError(
            f"{type(model).__name__} holds trees",
            why="skl2onnx moves their thresholds to float32, which flips rows, and its search for them may never end",
            fix="use the trees themselves, a forest or boosting, which are written exactly, or bring your own nodes",
        )
    options = {id(model): {"zipmap": False}} if says == "predict_proba" else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            written = to_onnx(
                model,
                initial_types=[("filled", DoubleTensorType([None, width]))],
                options=options,
                target_opset=dict(OPSETS),
            )
    except Exception as error:  # whatever a converter raises, it cannot write this model
        raise ExportError(
            f"{type(model).__name__} cannot be written",
            why=f"skl2onnx says: {str(error).strip().splitlines()[0]}",
            fix="write its nodes yourself: Plugged(..., nodes=...), or use an estimator from the list in fitted_nodes",
        ) from error
    made = written.graph.output[-1].name
    piece = embedded(written, "filled", made)
    last = [helper.make_node("Cast", [made], ["said"], to=TensorProto.DOUBLE)]
    if says == "predict_proba":
        last.append(helper.make_node("Gather", ["said", "second"], ["margin"], axis=1))
        return piece.followed_by(Nodes(last, {"second": np.array([1])}))
    last.append(helper.make_node("Reshape", ["said", "column"], ["margin"]))
    return piece.followed_by(Nodes(last, {"column": np.array([-1, 1])}))


def _holds_trees(held: Any) -> bool:
    """Whether a tree is somewhere inside a fitted model; a model that is known as a whole does not come here."""
    if isinstance(held, np.ndarray):
        return held.dtype == object and any(map(_holds_trees, held.ravel()))
    if isinstance(held, list | tuple):
        return any(map(_holds_trees, held))
    if hasattr(held, "tree_") or hasattr(held, "_predictors"):
        return True
    inside = getattr(held, "__module__", "").startswith("sklearn.") and not isinstance(held, type)
    return inside and any(map(_holds_trees, getattr(held, "__dict__", {}).values()))
