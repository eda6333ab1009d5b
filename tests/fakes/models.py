"""Bundles of models that misbehave, each in one way, and are sound otherwise."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.bundle import Golden, pack
from tests.fakes.bundles import FEATURES, golden_of, logistic_model, manifest_of, weights_of

WIDTH = len(FEATURES.names)
ROWS = 20


def _model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "misbehaving",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def _rows(high: float) -> np.ndarray:
    return np.random.default_rng(3).uniform(0.0, high, (ROWS, WIDTH))


def leaves_the_range() -> bytes:
    """Right on its golden rows; from larger inputs it answers more than 1."""
    weights = np.full((WIDTH, 1), 0.001)
    rows = _rows(100.0)
    model = _model([helper.make_node("MatMul", ["features", "weights"], ["score"])], {"weights": weights})
    return pack(manifest_of(), model, Golden(rows, (rows @ weights).reshape(-1), 1e-5))


def takes_memory(doublings: int = 18) -> bytes:
    """Right, but doubles its rows again and again on the way: 480 bytes a golden set become 120 MiB."""
    nodes = []
    name = "features"
    for step in range(doublings):
        nodes.append(helper.make_node("Concat", [name, name], [f"wide{step}"], axis=1))
        name = f"wide{step}"
    nodes += [helper.make_node("ReduceMax", [name], ["largest"], axes=[1], keepdims=1)]
    nodes += [helper.make_node("Sigmoid", ["largest"], ["score"])]
    rows = _rows(1.0)
    return pack(manifest_of(), _model(nodes, {}), Golden(rows, 1.0 / (1.0 + np.exp(-rows.max(axis=1))), 1e-5))


def has_other_golden_scores() -> bytes:
    """Sound, but its golden rows say something else."""
    weights = weights_of()
    golden = golden_of(weights, 0.0)
    return pack(manifest_of(), logistic_model(weights, 0.0), Golden(golden.rows, 1.0 - golden.scores, 1e-5))
