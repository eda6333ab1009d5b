"""The step from pane states to features as an ONNX graph, alone or joined to a model.

    >>> from features import catalog
    >>> pumps = catalog.load("pumps").features
    >>> graph = onnx.load_from_string(feature_graph(pumps))
    >>> [[size.dim_value or size.dim_param for size in graph.graph.input[0].type.tensor_type.shape.dim]]
    [['n', 144, 6, 15]]

A runtime without Python, given the panes it keeps anyway, then needs no feature code of ours:

* input ``panes`` float64 ``(n, panes, signals, FIELDS)``: behind each row every pane, oldest first, the last one ending
  where the row ends; as many as the row looks back, lags included; fields in the order of
  ``features.pane.PANE_FIELDS``, a pane without readings as ``features.pane.EMPTY``. ``dense.panes_behind`` lays stored
  panes out like this. Where the features have regimes, the readings in the panes are normalised by them already;
* ``feature_graph`` answers ``features`` float64 ``(n, F)``: the same numbers as batch and online, within 1e-9 by scale;
* ``score_graph`` answers ``score`` float32 ``(n, 1)``: the features rounded to float32, as the predictor rounds them,
  through the model. The predictor refuses a number beyond float32, here it becomes infinite;
* windows of fixed length have a form, their lags and differences too. Windows that grow from an event, and events
  themselves, are refused: they would need more than panes, and who can compute that needs no graph;
* everything is float64 until then; no loop, branch or random name; the same feature set gives the same bytes.

    terms.py      graphs written as expressions
    merge.py      all panes of a window merged at once
    statistic.py  what is read off a merged window
    dense.py      stored panes as the graph takes them
"""

from datetime import timedelta
from typing import NamedTuple

import onnx
from onnx import TensorProto, compose, helper

from features.feature import AnyFeature, Difference, Feature, Lag, Plain, plain
from features.featureset import FeatureSet
from pipelines.errors import ExportError
from pipelines.export import IR_VERSION, OPSETS
from pipelines.graph.dense import panes_behind
from pipelines.graph.merge import Reach, Window
from pipelines.graph.statistic import FORMS, WITHOUT_FORM
from pipelines.graph.terms import Sheet, Term
from serving.errors import ModelError
from serving.operators import check_operators
from serving.predictor import pane_shape

__all__ = ["feature_graph", "panes_behind", "score_graph"]

_COLUMNS = 1  # the axis of features


class _Read(NamedTuple):
    """What is read off one window of one signal; lengths in panes."""

    length: int
    back: int  # from the end of the window to the end of the row
    signal: int
    statistic: str


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
    """All features, shape ``(n, F)``: what is read off windows, then differences beside it, then all put in order."""
    here = [_read(features, plain(feature), _lag(feature)) for feature in features.features]
    earlier = [
        _read(features, feature.feature, feature.steps) if isinstance(feature, Difference) else None
        for feature in features.features
    ]
    asked = {*here, *(read for read in earlier if read)}
    count, signals, _ = pane_shape(features)
    reach = Reach(sheet.input("panes"), count, signals, features.pane_us)
    values, place = _values(reach, asked)
    order = [place[read] for read in here]
    differences = [number for number, read in enumerate(earlier) if read]
    if differences:
        less = values.take([place[read] for read in earlier if read], _COLUMNS)
        more = values.take([order[number] for number in differences], _COLUMNS)
        for count, number in enumerate(differences):
            order[number] = len(asked) + count
        values = values.beside([more - less], _COLUMNS)
    return values.take(order, _COLUMNS)


def _values(reach: Reach, asked: set[_Read]) -> tuple[Term, dict[_Read, int]]:
    """Everything that is read off windows, shape ``(n, asked)``, and the column of each.

    Windows are merged for all their signals at once, and each statistic is read for all that ask for it.
    """
    parts: list[Term] = []
    place: dict[_Read, int] = {}
    for back, length in sorted({(read.back, read.length) for read in asked}):
        inside = [read for read in asked if (read.back, read.length) == (back, length)]
        signals = sorted({read.signal for read in inside})
        window = Window(reach, length, back, tuple(signals))
        for statistic in sorted({read.statistic for read in inside}):
            chosen = sorted(read.signal for read in inside if read.statistic == statistic)
            parts.append(FORMS[statistic](window).take([signals.index(signal) for signal in chosen], _COLUMNS))
            for signal in chosen:
                place[_Read(length, back, signal, statistic)] = len(place)
    return parts[0].beside(parts[1:], _COLUMNS), place


def _lag(feature: AnyFeature) -> int:
    return feature.steps if isinstance(feature, Lag) else 0


def _read(features: FeatureSet, feature: Plain, lag: int) -> _Read:
    match feature:
        case Feature(signal, statistic, timedelta() as window) if statistic in FORMS:
            length, back = window // features.pane, lag * features.every // features.pane
            return _Read(length, back, features.fleet.signal_names.index(signal), statistic)
        case Feature(_, statistic, timedelta()):
            why = WITHOUT_FORM.get(statistic, f"the statistic '{statistic}' has no form in ONNX yet")
            fix = (
                "use another statistic, give it a form in pipelines/graph/statistic.py, or train with pane_graph=False"
            )
        case Feature():
            why = "its window grows without bound, and the graph is given a fixed number of panes"
            fix = "use a window of fixed length, or train with pane_graph=False"
        case _:
            why = "events are no part of panes, which are all that the graph is given"
            fix = "leave it out, or train with pane_graph=False"
    raise ExportError(f"{feature.name} cannot be computed by a graph from panes", why=why, fix=fix)


def _model(sheet: Sheet, features: FeatureSet, element: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        sheet.nodes,
        "tidemill",
        [helper.make_tensor_value_info("panes", TensorProto.DOUBLE, ["n", *pane_shape(features)])],
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
