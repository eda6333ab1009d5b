"""Small true bundles: a logistic model over the mean, last and maximum of two signals, with golden rows of its own."""

import math
from datetime import timedelta

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from features.feature import grid
from features.featureset import FeatureSet
from features.schema import Fleet, Signal
from serving.bundle import Bundle, Golden, Manifest, pack, unpack

HOUR = timedelta(hours=1)
FLEET = Fleet(
    name="fans",
    description="Two fans for tests",
    signals=(Signal("speed", "rpm", 0.0, 3000.0), Signal("heat", "degC", -40.0, 150.0)),
    sampling=timedelta(minutes=1),
    late_after=timedelta(minutes=10),
    max_future=timedelta(minutes=5),
    max_age=timedelta(days=30),
)
FEATURES = FeatureSet(
    fleet=FLEET,
    pane=timedelta(minutes=10),
    every=HOUR,
    features=grid(("speed", "heat"), ("mean", "last", "max"), (HOUR,)),
)


def logistic_model(weights: np.ndarray, bias: float) -> bytes:
    """ONNX of ``sigmoid(rows with NaN as 0 @ weights + bias)``, shape [n, 1]."""
    width = len(weights)
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["score"]),
    ]
    constants = {"zero": [0.0], "weights": np.reshape(weights, (width, 1)), "bias": [bias]}
    graph = helper.make_graph(
        nodes,
        "logistic",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def weights_of(features: FeatureSet = FEATURES, seed: int = 7) -> np.ndarray:
    """Weights of the size that the signals' ranges call for."""
    return np.random.default_rng(seed).normal(0.0, 0.001, len(features.names))


def golden_of(weights: np.ndarray, bias: float, rows: int = 20, seed: int = 11) -> Golden:
    """Rows with gaps and the scores that numpy, not ONNX Runtime, gives for them."""
    generator = np.random.default_rng(seed)
    matrix = generator.uniform(0.0, 100.0, (rows, len(weights)))
    matrix[generator.random(matrix.shape) < 0.1] = math.nan
    scores = 1.0 / (1.0 + np.exp(-(np.nan_to_num(matrix) @ weights + bias)))
    return Golden(matrix, scores, tolerance=1e-5)


def manifest_of(features: FeatureSet = FEATURES, usecase: str = "fan_failure", threshold: float = 0.5) -> Manifest:
    return Manifest(
        usecase=usecase,
        features=features,
        threshold=threshold,
        horizon_s=86_400,
        estimator="logistic",
        placements=("gateway", "cloud"),
        lineage={"run": "test"},
        reference={name: [float(edge) for edge in range(11)] for name in features.names},
        label="failure_within_24h",
    )


def packed(
    features: FeatureSet = FEATURES, usecase: str = "fan_failure", threshold: float = 0.5, bias: float = 0.0
) -> bytes:
    """A bundle as bytes. Another ``bias`` makes another version of the model."""
    weights = weights_of(features)
    return pack(manifest_of(features, usecase, threshold), logistic_model(weights, bias), golden_of(weights, bias))


def bundle(
    features: FeatureSet = FEATURES, usecase: str = "fan_failure", threshold: float = 0.5, bias: float = 0.0
) -> Bundle:
    """The same, unpacked."""
    return unpack(packed(features, usecase, threshold, bias))
