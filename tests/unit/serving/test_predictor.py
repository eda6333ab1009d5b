import dataclasses
import math
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from onnx import TensorProto, helper

from serving.bundle import Bundle, Golden
from serving.errors import GoldenMismatchError, InputError, ModelError, ModelLoadError, PredictionError
from serving.predictor import PanePredictor, Predictor, pane_shape
from tests.fakes import bundles

WIDTH = len(bundles.FEATURES.names)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(bundles.bundle())


def model_of(nodes, output="score", shape=("n", 1), width=WIDTH):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, list(shape))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def with_model(model: bytes) -> Bundle:
    return dataclasses.replace(bundles.bundle(), model=model)


def test_scores_are_those_of_the_formula_with_missing_features_too(predictor):
    weights = bundles.weights_of()
    rows = np.array([[10.0, 20.0, 30.0, 40.0, 50.0, 60.0], [math.nan] * 6])
    expected = 1 / (1 + np.exp(-(np.nan_to_num(rows) @ weights)))
    np.testing.assert_allclose(predictor.predict(rows).score, expected, atol=1e-6)


def test_a_score_at_the_threshold_is_an_alert():
    # A row of zeros scores exactly 0.5.
    zeros = np.zeros((1, WIDTH))
    assert Predictor(bundles.bundle(threshold=0.5)).predict(zeros).alert.tolist() == [True]
    assert Predictor(bundles.bundle(threshold=0.5000001)).predict(zeros).alert.tolist() == [False]


def test_no_rows_give_no_scores(predictor):
    scores = predictor.predict(np.empty((0, WIDTH)))
    assert scores.score.shape == scores.alert.shape == (0,)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (np.zeros((2, WIDTH + 1)), f"got [2, {WIDTH + 1}], expected [n, {WIDTH}]"),
        (np.zeros(WIDTH), f"got [{WIDTH}], expected"),
        (np.zeros((0, 0)), "got [0, 0], expected"),
        ([[1.0], [1.0, 2.0]], "the rows are not numbers"),
        ([["a"] * WIDTH], "the rows are not numbers"),
        ([[1e39, *[0.0] * (WIDTH - 1)]], "a number is too large (row 0, speed_mean_1h): 1e+39"),
        ([[0.0] * WIDTH, [0.0, -math.inf, *[0.0] * (WIDTH - 2)]], "(row 1, speed_last_1h): -inf"),
    ],
    ids=["too-wide", "one-row", "nothing", "ragged", "text", "beyond-float32", "infinite"],
)
def test_wrong_rows_are_refused_with_what_came_and_what_was_expected(predictor, rows, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        predictor.predict(rows)


def test_rows_in_one_call_score_as_they_do_alone(predictor):
    rows = bundles.bundle().golden.rows
    alone = [predictor.predict(row[None, :]).score[0] for row in rows]
    np.testing.assert_array_equal(predictor.predict(rows).score, alone)


def test_several_threads_may_predict_at_once(predictor):
    rows = bundles.bundle().golden.rows
    expected = predictor.predict(rows).score
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(predictor.predict(rows).score)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(np.array_equal(answer, expected) for answer in answers)


def test_the_golden_rows_of_a_true_bundle_agree(predictor):
    predictor.check_golden()


def test_golden_scores_that_differ_are_counted_and_measured():
    good = bundles.bundle()
    scores = good.golden.scores.copy()
    scores[3] += 0.001
    with pytest.raises(GoldenMismatchError, match=r"1 of 20 rows differ, by up to 0.001; allowed is 1e-05"):
        Predictor(dataclasses.replace(good, golden=Golden(good.golden.rows, scores, 1e-5))).check_golden()


def test_a_model_that_answers_nan_is_refused_even_when_asked_for_nan():
    # Identity of the first feature: NaN in, NaN out.
    nodes = [
        helper.make_node("Constant", [], ["first"], value_ints=[0]),
        helper.make_node("Gather", ["features", "first"], ["score"], axis=1),
    ]
    predictor = Predictor(with_model(model_of(nodes)))
    assert predictor.predict(np.full((1, WIDTH), 0.25)).score.tolist() == [0.25]
    with pytest.raises(PredictionError, match=r"no probability \(row 1\): nan"):
        predictor.predict([[0.5] * WIDTH, [math.nan] * WIDTH])
    with pytest.raises(PredictionError, match=r"no probability \(row 0\): 1.5"):
        predictor.predict([[1.5] * WIDTH])


def test_rounding_beyond_one_is_rounded_back():
    nodes = [
        helper.make_node("Constant", [], ["first"], value_ints=[0]),
        helper.make_node("Gather", ["features", "first"], ["score"], axis=1),
    ]
    assert Predictor(with_model(model_of(nodes))).predict([[1.000001] * WIDTH]).score.tolist() == [1.0]


def test_a_model_that_answers_fewer_scores_is_refused():
    nodes = [
        helper.make_node("ReduceMax", ["features"], ["flat"], keepdims=0),
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
        helper.make_node("Reshape", ["flat", "one"], ["score"]),
    ]
    predictor = Predictor(with_model(model_of(nodes, shape=("n",))))
    assert predictor.predict([[0.5] * WIDTH]).score.tolist() == [0.5]
    with pytest.raises(PredictionError, match="1 for 2 rows"):
        predictor.predict([[0.5] * WIDTH] * 2)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            model_of([helper.make_node("Sigmoid", ["features"], ["score"])], shape=("n", WIDTH)),
            "expected features float",
        ),
        (model_of([helper.make_node("Sigmoid", ["features"], ["other"])], output="other"), "found features float"),
        (bundles.logistic_model(np.zeros(WIDTH + 1), 0.0), f"features float ['n', {WIDTH + 1}], score float ['n', 1]"),
        (model_of([helper.make_node("Sigmoid", ["nowhere"], ["score"])]), "ONNX Runtime cannot load"),
    ],
    ids=["too-many-scores", "other-output", "other-width", "broken-graph"],
)
def test_a_model_with_another_signature_is_refused(model, sentence):
    with pytest.raises(ModelLoadError, match=re.escape(sentence)):
        Predictor(with_model(model))


def test_a_forbidden_operator_is_refused_before_the_runtime_sees_it():
    with pytest.raises(ModelError, match="RandomNormalLike"):
        Predictor(with_model(model_of([helper.make_node("RandomNormalLike", ["features"], ["score"])])))


SHAPE = pane_shape(bundles.FEATURES)


def pane_graph(first="Sigmoid", shape=SHAPE, element=TensorProto.DOUBLE):
    """The sigmoid of the largest number in the panes of a row."""
    nodes = [
        helper.make_node(first, ["panes"], ["wide"]),
        helper.make_node("ReduceMax", ["wide"], ["most"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["most"], ["score"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("panes", element, ["n", *shape])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def with_pane_model(model: bytes | None) -> Bundle:
    return dataclasses.replace(bundles.bundle(threshold=0.6), pane_model=model)


def test_panes_are_scored_through_the_graph_that_takes_them():
    panes = np.zeros((3, *SHAPE))
    panes[1, 2, 0, 4] = 3.0
    scores = PanePredictor(with_pane_model(pane_graph())).predict(panes)
    np.testing.assert_allclose(scores.score, [0.5, 1 / (1 + math.exp(-3)), 0.5], atol=1e-6)
    assert scores.alert.tolist() == [False, True, False]


def test_an_answer_from_panes_that_is_no_probability_never_leaves():
    with pytest.raises(PredictionError, match="row 1"):
        PanePredictor(with_pane_model(pane_graph("Identity"))).predict(np.array([np.zeros(SHAPE), np.full(SHAPE, 2.0)]))


@pytest.mark.parametrize(
    ("panes", "sentence"),
    [
        (np.zeros((2, SHAPE[0] - 1, *SHAPE[1:])), r"got float64 \[2, 5, 2, 15\], expected float64 \[n, 6, 2, 15\]"),
        (np.zeros((2, *SHAPE), np.float32), "got float32"),
        (np.zeros(SHAPE), "expected"),
    ],
)
def test_panes_of_another_form_are_refused(panes, sentence):
    with pytest.raises(InputError, match=sentence):
        PanePredictor(with_pane_model(pane_graph())).predict(panes)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (None, "pane_graph=True"),
        (pane_graph(shape=(SHAPE[0] + 1, *SHAPE[1:])), "found panes double"),
        (pane_graph(element=TensorProto.FLOAT), "ONNX Runtime|found panes float"),
        (bundles.bundle().model, "found features float"),
    ],
)
def test_a_graph_that_does_not_take_the_panes_is_refused(model, sentence):
    with pytest.raises(ModelLoadError, match=sentence):
        PanePredictor(with_pane_model(model))


@pytest.mark.parametrize("opened_by", [Predictor, PanePredictor])
def test_a_forbidden_operator_in_the_graph_from_panes_is_refused_whoever_opens_the_bundle(opened_by):
    with pytest.raises(ModelError, match="RandomNormalLike"):
        opened_by(with_pane_model(pane_graph("RandomNormalLike")))


def test_the_runtime_keeps_silent_and_small(tmp_path):
    """A process that loads a bundle and predicts stays below 80 MiB and writes nothing to stderr."""
    path = tmp_path / "bundle"
    path.write_bytes(bundles.packed())
    program = (
        "import sys, pathlib\n"
        "from serving.bundle import unpack\n"
        "from serving.predictor import Predictor\n"
        "predictor = Predictor(unpack(pathlib.Path(sys.argv[1]).read_bytes()))\n"
        "predictor.check_golden()\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(int(status['VmHWM'].split()[0]) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert float(done.stdout) < 80.0
