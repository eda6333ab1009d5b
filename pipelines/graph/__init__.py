"""The step from pane states to features as an ONNX graph, alone or joined to a model.

    >>> from features import catalog
    >>> pumps = catalog.load("pumps").features
    >>> graph = onnx.load_from_string(feature_graph(pumps))
    >>> [[size.dim_value or size.dim_param for size in graph.graph.input[0].type.tensor_type.shape.dim]]
    [['n', 144, 6, 15]]

A runtime without Python, given the panes it keeps anyway, then needs no feature code of ours:

* input ``panes`` float64 ``(n, panes, signals, FIELDS)``: behind each row every pane, oldest first, the last one ending
  where the row ends; as many as the longest window has; fields in the order of ``features.pane.PANE_FIELDS``, a pane
  without readings as ``features.pane.EMPTY``. ``dense.panes_behind`` lays stored panes out like this;
* ``feature_graph`` answers ``features`` float64 ``(n, F)``: the same numbers as batch and online, within 1e-9 by scale;
* ``score_graph`` answers ``score`` float32 ``(n, 1)``: the features rounded to float32, as the predictor rounds them,
  through the model. The predictor refuses a number beyond float32, here it becomes infinite;
* everything is float64 until then; no loop, branch or random name; the same feature set gives the same bytes.

    terms.py      graphs written as expressions
    merge.py      all panes of a window merged at once
    statistic.py  what is read off a merged window
    dense.py      stored panes as the graph takes them
"""

import onnx
from onnx import TensorProto, compose, helper

from features.feature import AnyFeature, Feature, Since
from features.featureset import FeatureSet
from features.pane import PANE_FIELDS
from features.schema import MICROSECOND
from pipelines.errors import ExportError
from pipelines.export import IR_VERSION, OPSETS
from pipelines.graph.dense import panes_behind, reach_panes
from pipelines.graph.merge import Reach, Window
from pipelines.graph.statistic import FORMS
from pipelines.graph.terms import Sheet, Term
from serving.errors import ModelError
from serving.operators import check_operators

__all__ = ["feature_graph", "panes_behind", "reach_panes", "score_graph"]

_COLUMNS = 1  # the axis of features


def feature_graph(features: FeatureSet) -> bytes:
    """Write the graph from panes to features.

    Args:
        features: What to compute.

    Raises:
        ExportError: A feature has no form in ONNX, or the graph is larger than serving reads.
    """
    sheet = Sheet()
    _features(sheet, features).named("features")
    return _serialized(_model(sheet, features, TensorProto.DOUBLE))


def score_graph(features: FeatureSet, model: bytes) -> bytes:
    """Write the graph from panes to the score of a model.

    Args:
        features: What the model sees.
        model: A model as ``pipelines.export`` writes it: ``features`` float32 in, ``score`` float32 out.

    Raises:
        ExportError: A feature has no form in ONNX, or the graph is larger than serving reads.
    """
    sheet = Sheet()
    _features(sheet, features).narrowed().named("features")
    whole = compose.merge_models(
        _model(sheet, features, TensorProto.FLOAT),
        onnx.load_from_string(model),
        io_map=[("features", "features")],
        name="tidemill",
        producer_name="tidemill",
        producer_version="",
    )
    return _serialized(whole)


def _features(sheet: Sheet, features: FeatureSet) -> Term:
    """All features, shape ``(n, F)``: one statistic of one window for all its signals at a time, then put in order."""
    reach = Reach(sheet.input("panes"), reach_panes(features), len(features.fleet.signals), features.pane_us)
    parts: list[Term] = []
    order: list[int] = []
    asked = [_windowed(features, feature) for feature in features.features]
    for panes in sorted({panes for panes, _, _ in asked}):
        here = [(column, name, signal) for column, (length, name, signal) in enumerate(asked) if length == panes]
        signals = sorted({signal for _, _, signal in here})
        window = Window(reach, panes, 0, tuple(signals))
        for statistic in sorted({statistic for _, statistic, _ in here}):
            chosen = [(column, signals.index(signal)) for column, name, signal in here if name == statistic]
            parts.append(FORMS[statistic](window).take([place for _, place in chosen], _COLUMNS))
            order += [column for column, _ in chosen]
    table = parts[0].beside(parts[1:], _COLUMNS)
    return table.take([order.index(column) for column in range(len(order))], _COLUMNS)


def _windowed(features: FeatureSet, feature: AnyFeature) -> tuple[int, str, int]:
    """The panes, the statistic and the signal of a feature over a window of fixed length; others have no form."""
    if not isinstance(feature, Feature) or isinstance(feature.window, Since):
        raise ExportError(
            f"{feature.name} needs more than the panes of a window",
            where="the graph from panes to features",
            fix="train without the pane graph",
        )
    if feature.statistic not in FORMS:
        raise ExportError(
            f"the statistic '{feature.statistic}' has no form in ONNX",
            where=feature.name,
            fix="give it one in pipelines/graph/statistic.py, or train without the pane graph",
        )
    panes = feature.window // MICROSECOND // features.pane_us
    return panes, feature.statistic, features.fleet.signal_names.index(feature.signal)


def _model(sheet: Sheet, features: FeatureSet, element: int) -> onnx.ModelProto:
    behind = ["n", reach_panes(features), len(features.fleet.signals), len(PANE_FIELDS)]
    graph = helper.make_graph(
        sheet.nodes,
        "tidemill",
        [helper.make_tensor_value_info("panes", TensorProto.DOUBLE, behind)],
        [helper.make_tensor_value_info("features", element, ["n", len(features.names)])],
        initializer=sheet.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="tidemill")


def _serialized(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    try:
        check_operators(data)
    except ModelError as error:
        raise ExportError("the graph from panes is not one that serving reads", why=str(error)) from error
    return data
