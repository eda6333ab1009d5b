"""Graphs that others wrote, taken into ours: what a converter made of a model that our own writers do not know.

Only operators that serving lets through are taken, without subgraphs and of our operator set; whatever only feeds
outputs that nobody asked for is left out. Whether the graph says what the model says is for the parity rule of the gate
to find out.
"""

from typing import Any

import onnx
from onnx import numpy_helper

from pipelines.errors import ExportError
from pipelines.export import OPSETS
from pipelines.links import Nodes
from serving.operators import ALLOWED, LOOPS


def embedded(model: Any, given: str, made: str, prefix: str = "own.") -> Nodes:
    """Return the part of a model from its only input to one of its outputs.

    Args:
        model: An ONNX model.
        given: What its input is called in our graph.
        made: Name of the output that is wanted, here and there.
        prefix: Put before all other names.

    Raises:
        ExportError: It needs more than serving lets through.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    ours = dict(OPSETS)
    if any(versions[domain] != ours.get(domain) for domain in versions):
        raise ExportError(f"the converter wrote for operator sets {versions}", fix=f"they must be {ours}")
    for node in model.graph.node:
        _check(node)
    nodes = _needed(list(model.graph.node), made)
    used = {name for node in nodes for name in node.input}
    constants = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name in used
    }
    return Nodes(nodes, constants).renamed({model.graph.input[0].name: given, made: made}, prefix)


def _check(node: Any) -> None:
    if node.op_type in LOOPS:
        raise ExportError(
            f"the model needs the operator {node.op_type}",
            why="it is a loop: how long it runs and what it holds is up to its input, so no gateway lets it through",
            fix="give the past as lags, and look along them with a convolution",
        )
    allowed = node.op_type in ALLOWED.get(node.domain, ())
    if not allowed or any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute):
        raise ExportError(
            f"the model needs the operator {node.op_type}",
            why="serving lets through what trees, sums and small networks need (serving.operators)",
            fix="write its nodes yourself: nodes= of what is plugged in",
        )


def _needed(nodes: list[Any], made: str) -> list[Any]:
    wanted, kept = {made}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]
