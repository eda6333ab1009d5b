import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from serving.errors import ForbiddenOperatorError, MalformedModelError, ModelError
from serving.operators import NODES, check_operators, operators
from tests.fakes import bundles

GOOD = bundles.logistic_model(bundles.weights_of(), 0.0)


def graph_of(*nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 6])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])]
    return helper.make_graph(list(nodes), "test", inputs, outputs, list(initializers))


def model_of(*nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = ()) -> onnx.ModelProto:
    return helper.make_model(graph_of(*nodes, initializers=initializers), opset_imports=[helper.make_opsetid("", 17)])


def identity(**attributes: object) -> onnx.NodeProto:
    return helper.make_node("Identity", ["features"], ["score"], **attributes)


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded, value = encoded + bytes([value & 0x7F | 0x80]), value >> 7
    return encoded + bytes([value])


def message(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def test_the_operators_of_a_model_are_those_onnx_itself_reads():
    assert operators(GOOD) == {node.op_type for node in onnx.load_from_string(GOOD).graph.node}


def fitted() -> Iterator[tuple[str, Any]]:
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(200, 6)).astype(np.float32)
    labels = (rows[:, 0] + rows[:, 1] > 0).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator in (
            LogisticRegression(),
            make_pipeline(StandardScaler(), LogisticRegression()),
            make_pipeline(SimpleImputer(), MinMaxScaler(), Normalizer(), SGDClassifier(loss="log_loss")),
            make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=20)),
            DecisionTreeClassifier(max_depth=4),
            RandomForestClassifier(20, max_depth=5),
            ExtraTreesClassifier(20, max_depth=5),
            GradientBoostingClassifier(n_estimators=10),
            IsolationForest(n_estimators=10),
        ):
            yield (
                type(estimator[-1] if hasattr(estimator, "steps") else estimator).__name__,
                estimator.fit(rows, labels),
            )


def test_the_models_that_scikit_learn_exports_are_let_through():
    rows = np.zeros((1, 6), np.float32)
    seen = set()
    for name, estimator in fitted():
        options = None if name == "IsolationForest" else {id(estimator): {"zipmap": False}}
        opset = {"": 17, "ai.onnx.ml": 3}
        model = to_onnx(estimator, rows, options=options, target_opset=opset).SerializeToString()
        check_operators(model)
        read = {
            node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"
            for node in onnx.load_from_string(model).graph.node
        }
        assert operators(model) == read
        seen |= read
    assert {"ai.onnx.ml:TreeEnsembleClassifier", "ai.onnx.ml:LinearClassifier", "ai.onnx.ml:Scaler", "MatMul"} <= seen


def _external() -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "secret")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def _only_located_outside() -> onnx.TensorProto:
    tensor = _external()
    tensor.ClearField("external_data")
    return tensor


def _hollow() -> onnx.TensorProto:
    """Claims a terabyte, carries four bytes."""
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "hollow")
    tensor.dims[:] = [1 << 20, 1 << 20]
    return tensor


def _functional() -> onnx.ModelProto:
    model = model_of(identity())
    model.functions.append(
        helper.make_function("evil", "f", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], model.opset_import)
    )
    return model


def _trained() -> onnx.ModelProto:
    model = model_of(identity())
    model.training_info.add()
    return model


def _sparse() -> onnx.ModelProto:
    model = model_of(identity())
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40]))
    return model


def _branching() -> onnx.ModelProto:
    return model_of(helper.make_node("If", ["features"], ["score"], then_branch=graph_of(identity())))


def _smuggled() -> onnx.ModelProto:
    """A subgraph on an allowed operator."""
    return model_of(identity(body=graph_of(helper.make_node("Loop", ["x"], ["score"]))))


def _many_subgraphs() -> onnx.ModelProto:
    return model_of(identity(bodies=[graph_of(identity())]))


def _foreign_opset() -> onnx.ModelProto:
    model = model_of(identity())
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def _sparse_attribute() -> onnx.ModelProto:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    sparse = helper.make_sparse_tensor(values, indices, [1 << 40])
    return model_of(helper.make_node("Constant", [], ["score"], sparse_value=sparse))


FORBIDDEN = {
    "another operator": (lambda: model_of(helper.make_node("Loop", ["features"], ["score"])), "operator 'Loop'"),
    "an allocating operator": (
        lambda: model_of(helper.make_node("ConstantOfShape", ["features"], ["score"])),
        "operator 'ConstantOfShape'",
    ),
    "another domain": (
        lambda: model_of(helper.make_node("Gelu", ["features"], ["score"], domain="com.microsoft")),
        "domain 'com.microsoft'",
    ),
    "an operator under the wrong domain": (
        lambda: model_of(helper.make_node("MatMul", ["features"], ["score"], domain="ai.onnx.ml")),
        "operator 'MatMul'",
    ),
    "another domain's opset": (_foreign_opset, "domain 'com.microsoft'"),
    "a function": (_functional, "a function"),
    "training information": (_trained, "training information"),
    "a branch": (_branching, "a subgraph"),
    "a smuggled subgraph": (_smuggled, "a subgraph"),
    "a list of subgraphs": (_many_subgraphs, "a subgraph"),
    "outside data": (lambda: model_of(identity(), initializers=(_external(),)), "data outside the file"),
    "outside data without an address": (
        lambda: model_of(identity(), initializers=(_only_located_outside(),)),
        "data outside the file",
    ),
    "outside data in an attribute": (
        lambda: model_of(helper.make_node("Constant", [], ["score"], value=_external())),
        "data outside the file",
    ),
    "a hollow tensor": (lambda: model_of(identity(), initializers=(_hollow(),)), "does not carry its elements"),
    "a sparse initializer": (_sparse, "a sparse tensor"),
    "a sparse attribute": (_sparse_attribute, "a sparse tensor"),
    "a huge scalar": (lambda: model_of(identity(n_targets=1 << 31)), "an attribute of 2147483648"),
    "a hugely negative scalar": (lambda: model_of(identity(axis=-(1 << 40))), "an attribute of -1099511627776"),
}


@pytest.mark.parametrize(("build", "sentence"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_no_model_of_ours_needs_is_refused_by_name(build, sentence):
    with pytest.raises(ForbiddenOperatorError) as caught:
        check_operators(build().SerializeToString())
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "Loop", "Scan", "If"])
def test_recurrent_layers_and_loops_are_refused_with_what_to_do_instead(name):
    model = model_of(helper.make_node(name, ["features"], ["score"])).SerializeToString()
    with pytest.raises(ForbiddenOperatorError, match=rf"(?s)operator '{name}'.*up to its input.*as lags"):
        check_operators(model)


@pytest.mark.parametrize("names", [(b"Identity", b"Loop"), (b"Loop", b"Identity")])
def test_of_an_operator_named_twice_both_names_count(names):
    node = b"".join(message(4, name) for name in names)
    with pytest.raises(ForbiddenOperatorError, match="Loop"):
        check_operators(message(7, message(1, node)))


def test_of_a_graph_that_is_split_in_two_both_halves_count():
    halves = [message(7, message(1, message(4, name))) for name in (b"Identity", b"Loop")]
    with pytest.raises(ForbiddenOperatorError, match="Loop"):
        check_operators(b"".join(halves))


def test_packed_dimensions_count_too():
    tensor = message(1, varint(1 << 20) * 2)
    with pytest.raises(ForbiddenOperatorError, match="does not carry its elements"):
        check_operators(message(7, message(1, message(4, b"Identity")) + message(5, tensor)))


def test_a_field_that_the_runtime_might_know_is_refused():
    with pytest.raises(ForbiddenOperatorError, match="field 99 of a graph"):
        check_operators(message(7, message(1, message(4, b"Identity")) + message(99, b"")))


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (b"", "holds no graph"),
        (b"\x3a", "does not end"),
        (message(7, b""), "0 nodes"),
        (message(7, message(1, message(4, b"Identity")) * (NODES + 1)), f"{NODES + 1} nodes"),
        (b"\x3a\x05ab", "ends at byte"),
        (b"\x38\x01", "no graph at byte"),
        (b"\x3b", "wire type 3"),
        (message(7, message(1, b"\x20\x01")), "no text"),
        (b"\x08" + b"\xff" * 11, "does not end"),
    ],
    ids=[
        "empty",
        "cut-length",
        "no-nodes",
        "many-nodes",
        "cut-body",
        "number-graph",
        "group",
        "number-name",
        "endless",
    ],
)
def test_bytes_that_are_no_model_are_refused(model, sentence):
    with pytest.raises(MalformedModelError) as caught:
        check_operators(model)
    assert sentence in str(caught.value)


def test_a_tensor_of_endless_dimensions_is_refused_at_once():
    tensor = message(1, varint(1 << 62) * 200_000)
    with pytest.raises(ForbiddenOperatorError, match="more than 8 dimensions"):
        check_operators(message(7, message(1, message(4, b"Identity")) + message(5, tensor)))


def test_damaged_models_are_let_through_or_refused_but_never_crash_the_walk():
    dice = random.Random(20261122)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(GOOD)
        for _ in range(dice.randint(1, 3)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            check_operators(bytes(damaged)[: dice.randint(0, len(damaged))] if dice.random() < 0.3 else bytes(damaged))
        except ModelError:
            refused += 1
    assert refused > 500


def test_the_walk_does_not_depend_on_how_long_its_fast_skip_runs():
    """Numbers, text of every length and a second float list, unpacked as ONNX writes them."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["score"],
        domain="ai.onnx.ml",
        nodes_values=[0.5] * 5000,
        nodes_featureids=[-1, 0, 300, 1 << 40] * 1000,
        nodes_modes=["m" * length for length in range(40)] * 20,
        n_targets=1,
    )
    model = model_of(node)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    check_operators(model.SerializeToString())
    node.attribute.append(helper.make_attribute("after", 1 << 30))
    hidden = model_of(node)
    with pytest.raises(ForbiddenOperatorError, match="an attribute of 1073741824"):
        check_operators(hidden.SerializeToString())
