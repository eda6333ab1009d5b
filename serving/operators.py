"""Which operators a model uses, read from its bytes before ONNX Runtime sees them.

An ONNX file is a program: it can loop, allocate (77 bytes can take 611 MiB) and name other files to read. The walk
below reads the protobuf wire format as far as needed and refuses everything that the exported tree, linear and small
neural models do without: other operators and domains, functions, subgraphs, sparse tensors, data outside the file,
tensors that claim more elements than they carry. It is strict: a field it does not know is refused, because the runtime
might know it.

It does not bound what allowed operators compute together (a chain of ``Concat`` doubles its rows each time), so a
gateway still loads a new model first in a memory-limited child.

Why so: the ``onnx`` package would read the same with less code, but costs a gateway 60 MB and parses hostile input in
C++.
"""

import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from serving.errors import ForbiddenOperatorError, MalformedModelError

MODEL_BYTES: Final = 60 * 1024 * 1024
NODES: Final = 4000  # a graph from panes has about 150 for each window and lag with every statistic
DIMENSIONS: Final = 8
LARGEST_SCALAR: Final = 1 << 20  # of attributes: n_targets = 2**31 would make the runtime allocate as much per row

ONNX: Final = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "Cast", "Clip", "Concat", "Constant", "Div", "Equal", "Erf", "Exp",
    "Flatten", "Gather", "Gemm", "Greater", "GreaterOrEqual", "Identity", "IsInf", "IsNaN", "Less", "LessOrEqual",
    "Log", "LogSoftmax", "MatMul", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Shape", "Sigmoid", "Sign",
    "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze",
    "Where",
})  # fmt: skip
ONNX_ML: Final = frozenset({
    "ArrayFeatureExtractor", "Binarizer", "FeatureVectorizer", "Imputer", "LabelEncoder", "LinearClassifier",
    "LinearRegressor", "Normalizer", "Scaler", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor",
})  # fmt: skip
LOOPS: Final = frozenset({"GRU", "If", "LSTM", "Loop", "RNN", "Scan"})
"""Never let through, not even bounded ones: a recurrent layer takes one step after another, and how many is written in
the shape of its input, not in the file. The past as columns, and a convolution over them, costs the same for every row.
"""
ALLOWED: Final = {"": ONNX, "ai.onnx": ONNX, "ai.onnx.ml": ONNX_ML}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 (groups) are of the past
_VARINT_BYTES = 10

# Field numbers of onnx.proto by message. What is named is read, what is in `known` passes unread, the rest is refused.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 8, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_INT, _ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS = 3, 5, 10
_TENSOR_DIMENSION, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14
_OPSET_DOMAIN = 1
_MODEL_KNOWN = frozenset({1, 2, 3, 4, 5, 6, _MODEL_GRAPH, _MODEL_OPSET, 14})
_GRAPH_KNOWN = frozenset({_GRAPH_NODE, 2, _GRAPH_INITIALIZER, 10, 11, 12, 13, 14, 16})
_NODE_KNOWN = frozenset({1, 2, 3, _NODE_OPERATOR, _NODE_ATTRIBUTE, 6, _NODE_DOMAIN, 9})
_ATTRIBUTE_KNOWN = frozenset({1, 2, _ATTRIBUTE_INT, 4, _ATTRIBUTE_TENSOR, 7, 8, 9, _ATTRIBUTE_TENSORS, 13, 20})
_TENSOR_KNOWN = frozenset({_TENSOR_DIMENSION, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, _TENSOR_LOCATION, 16})

# A forest holds millions of unpacked numbers; runs of them are skipped by the regular expression engine, 100x faster.
# Attribute fields 7 (floats), 8 (ints) and 9 (strings shorter than 16 bytes). Possessive: nothing to backtrack into.
_RUN = re.compile(
    rb"(?:\x3d[\x00-\xff]{4}|\x40[\x80-\xff]{0,9}+[\x00-\x7f]|"
    + b"|".join(rb"\x4a\x%02x[\x00-\xff]{%d}" % (length, length) for length in range(16))
    + rb")++"
)


class _Field(NamedTuple):
    number: int
    wire: int
    value: int  # of a varint, else 0
    start: int  # of the payload
    end: int


def operators(model: bytes) -> set[str]:
    """The operators a model uses, ``domain:name`` for those outside the standard domain.

    Raises:
        MalformedModelError: The bytes are no ONNX model.
        ForbiddenOperatorError: The model holds functions, subgraphs, sparse tensors or outside data.
    """
    return {f"{domain}:{name}" if domain not in ("", "ai.onnx") else name for domain, name in _uses(model)}


def check_operators(model: bytes) -> None:
    """Refuse a model that uses more than it needs.

    Raises:
        MalformedModelError: The bytes are no ONNX model, or a larger one than any we export.
        ForbiddenOperatorError: The model uses something outside the allow-list; the message names it.
    """
    for domain, name in sorted(_uses(model)):
        if domain not in ALLOWED:
            raise _forbidden(f"operator {name[:80]!r} of domain {domain[:80]!r}")
        if name in LOOPS:
            raise ForbiddenOperatorError(
                f"the model uses operator {name!r}",
                why="it is a loop, a branch or a recurrent layer: what it costs is up to its input",
                fix="give the past as lags and look along them with a convolution, such as torch_cnn",
            )
        if name not in ALLOWED[domain]:
            raise _forbidden(f"operator {name[:80]!r}")


def _uses(model: bytes) -> set[tuple[str, str]]:
    if len(model) > MODEL_BYTES:
        raise MalformedModelError("the model is too large", why=f"{len(model)} bytes, at most {MODEL_BYTES} are read")
    found: set[tuple[str, str]] = set()
    graphs = nodes = 0
    for field in _fields(model, _Field(0, _BYTES, 0, 0, len(model)), "model", _MODEL_KNOWN):
        if field.number == _MODEL_OPSET:
            _check_opset(model, field)
        elif field.number == _MODEL_GRAPH:
            graphs += 1
            nodes += _read_graph(model, field, found)
    if not graphs:
        raise MalformedModelError("the model holds no graph")
    if not nodes or nodes > NODES:
        raise MalformedModelError("the model has an unusual size", why=f"{nodes} nodes; 1 to {NODES} are read")
    return found


def _check_opset(model: bytes, opset: _Field) -> None:
    for field in _fields(model, opset, "opset", frozenset({_OPSET_DOMAIN, 2})):
        if field.number == _OPSET_DOMAIN and (domain := _text(model, field)) not in ALLOWED:
            raise _forbidden(f"domain {domain[:80]!r}")


def _read_graph(model: bytes, graph: _Field, found: set[tuple[str, str]]) -> int:
    nodes = 0
    for field in _fields(model, graph, "graph", _GRAPH_KNOWN):
        if field.number == _GRAPH_NODE:
            nodes += 1
            found |= _read_node(model, field)
        elif field.number == _GRAPH_INITIALIZER:
            _check_tensor(model, field)
    return nodes


def _read_node(model: bytes, node: _Field) -> set[tuple[str, str]]:
    # Of a repeated scalar field a parser keeps the last; whichever it keeps, every combination must be allowed.
    names: set[str] = set()
    domains: set[str] = set()
    for field in _fields(model, node, "node", _NODE_KNOWN):
        if field.number == _NODE_OPERATOR:
            names.add(_text(model, field))
        elif field.number == _NODE_DOMAIN:
            domains.add(_text(model, field))
        elif field.number == _NODE_ATTRIBUTE:
            _check_attribute(model, field)
    return {(domain, name) for domain in domains or {""} for name in names or {""}}


def _check_attribute(model: bytes, attribute: _Field) -> None:
    for field in _fields(model, attribute, "attribute", _ATTRIBUTE_KNOWN):
        if field.number == _ATTRIBUTE_INT and not -LARGEST_SCALAR <= _signed(field.value) <= LARGEST_SCALAR:
            raise _forbidden(f"an attribute of {_signed(field.value)}")
        if field.number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _check_tensor(model, field)


def _check_tensor(model: bytes, tensor: _Field) -> None:
    dimensions: list[int] = []
    for field in _fields(model, tensor, "tensor", _TENSOR_KNOWN):
        if field.number == _TENSOR_LOCATION and field.value:
            raise _forbidden("data outside the file")
        if field.number == _TENSOR_DIMENSION:
            packed = field.wire == _BYTES
            dimensions += _packed(model, field) if packed else [field.value]
            if len(dimensions) > DIMENSIONS:
                raise _forbidden(f"a tensor of more than {DIMENSIONS} dimensions")
    # Every element takes at least one byte of the file.
    if math.prod(dimensions) > tensor.end - tensor.start:
        raise _forbidden(f"a tensor of shape {dimensions} that does not carry its elements")


def _fields(model: bytes, within: _Field, message: str, known: frozenset[int]) -> Iterator[_Field]:
    if within.wire != _BYTES:
        raise MalformedModelError("the model is no ONNX file", why=f"no {message} at byte {within.start}")
    position, end = within.start, within.end
    numbers = message == "attribute"
    while position < end:
        if numbers and (run := _RUN.match(model, position, end)):
            position = run.end()
            continue
        tag, position = _varint(model, position, end)
        number, wire = tag >> 3, tag & 7
        if number not in known:
            raise _forbidden(_UNWANTED.get((message, number), f"field {number} of a {message}"))
        value = 0
        begin = position
        if wire == _VARINT:
            value, position = _varint(model, position, end)
        elif wire == _BYTES:
            length, begin = _varint(model, position, end)
            position = begin + length
        elif wire in (_FIXED32, _FIXED64):
            position += 4 if wire == _FIXED32 else 8
        else:
            raise MalformedModelError("the model is no ONNX file", why=f"wire type {wire} at byte {position}")
        if position > end:
            raise MalformedModelError("the model is no ONNX file", why=f"a {message} ends at byte {position} of {end}")
        yield _Field(number, wire, value, begin, position)


_UNWANTED: Final = {
    ("model", _MODEL_TRAINING): "training information",
    ("model", _MODEL_FUNCTION): "a function",
    ("graph", _GRAPH_SPARSE): "a sparse tensor",
    ("attribute", 6): "a subgraph",
    ("attribute", 11): "a subgraph",
    ("attribute", 22): "a sparse tensor",
    ("attribute", 23): "a sparse tensor",
    ("tensor", _TENSOR_EXTERNAL): "data outside the file",
}


def _varint(model: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(model[position : min(end, position + _VARINT_BYTES)]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + count + 1
    raise MalformedModelError("the model is no ONNX file", why=f"a number at byte {position} does not end")


def _packed(model: bytes, field: _Field) -> list[int]:
    values: list[int] = []
    position = field.start
    while position < field.end and len(values) <= DIMENSIONS:
        value, position = _varint(model, position, field.end)
        values.append(value)
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(model: bytes, field: _Field) -> str:
    if field.wire != _BYTES:
        raise MalformedModelError("the model is no ONNX file", why=f"a name at byte {field.start} is no text")
    return model[field.start : field.end].decode("utf-8", "backslashreplace")


def _forbidden(what: str) -> ForbiddenOperatorError:
    return ForbiddenOperatorError(
        f"the model uses {what}",
        why="only operators of tree, linear and small neural models are let through",
        fix="export it with operators of `serving.operators.ALLOWED`",
    )
