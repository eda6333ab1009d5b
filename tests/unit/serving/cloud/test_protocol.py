import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.cloud.protocol import MAX_DEPTH, RequestError, depth, encode, parse


def body_of(data: object, shape: tuple[int, ...] = (1, 2), datatype: str = "FP64", **more: object) -> bytes:
    tensor = {"name": "features", "shape": list(shape), "datatype": datatype, "data": data}
    return json.dumps({"inputs": [tensor], **more}).encode()


def rows_of(body: bytes, json_length: int | None = None) -> NDArray[np.float64]:
    return parse(body, 2, max_rows=3, json_length=json_length).rows


@pytest.mark.parametrize("data", [[1, 2.5, None, -4], [[1, 2.5], [None, -4]]], ids=["flat", "nested"])
def test_flat_and_nested_data_mean_the_same_rows(data):
    np.testing.assert_array_equal(rows_of(body_of(data, (2, 2))), [[1.0, 2.5], [math.nan, -4.0]])


REFUSED = {
    "not JSON": (b"{", 400, "not a V2 infer request"),
    "not UTF-8": (b'{"id": "\xff"}', 400, "not a V2 infer request"),
    "no inputs": (b'{"inputs": []}', 400, "found: none"),
    "another tensor": (
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,2]}]}',
        400,
        "found: x",
    ),
    "a datatype we do not take": (body_of([1, 2], datatype="INT64"), 400, "INT64"),
    "another width": (body_of([1, 2, 3], (1, 3)), 400, "expected [rows, 2]"),
    "no rows": (body_of([], (0, 2)), 400, "shape"),
    "a negative shape": (body_of([1, 2], (-1, 2)), 400, "shape"),
    "too many rows": (body_of([[1, 2]] * 4, (4, 2)), 413, "4 rows"),
    "fewer values than the shape says": (body_of([1], (1, 2)), 400, "1 values"),
    "fewer rows than the shape says": (body_of([[1, 2]], (2, 2)), 400, "1 rows"),
    "ragged rows": (body_of([[1, 2], [3]], (2, 2)), 400, "has not 2 values"),
    "text among the numbers": (body_of([1, "2"]), 400, "numbers and nulls"),
    "booleans among the numbers": (body_of([1, True]), 400, "numbers and nulls"),
    "no data at all": (b'{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP64"}]}', 400, "neither data"),
    "NaN, which is no JSON": (
        b'{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP64","data":[1,NaN]}]}',
        400,
        "not a V2 infer request",
    ),
    "devices without windows": (body_of([1, 2], parameters={"devices": ["a"]}), 400, "go together"),
    "one window too few": (
        body_of([1, 2], parameters={"devices": ["a"], "window_ends_us": []}),
        400,
        "go together",
    ),
    "a device without a name": (
        body_of([1, 2], parameters={"devices": [""], "window_ends_us": [0]}),
        400,
        "devices",
    ),
    "a window before 1970": (
        body_of([1, 2], parameters={"devices": ["a"], "window_ends_us": [-1]}),
        400,
        "window_ends_us",
    ),
    "an output there is not": (body_of([1, 2], outputs=[{"name": "label"}]), 400, "label"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_is_refused_with_a_sentence(case):
    body, status, sentence = REFUSED[case]
    with pytest.raises(RequestError) as refused:
        rows_of(body)
    assert refused.value.status == status
    assert sentence in str(refused.value)


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_an_infinite_value_is_refused(number):
    body = body_of([7, 8]).replace(b"[7, 8]", f"[7, {number}]".encode())
    with pytest.raises(RequestError):
        rows_of(body)


@pytest.mark.parametrize(("datatype", "kind"), [("FP64", "<f8"), ("FP32", "<f4")])
def test_binary_data_follows_the_json(datatype, kind):
    tail = np.array([[0.5, math.nan]], kind).tobytes()
    tensor = {"name": "features", "shape": [1, 2], "datatype": datatype, "parameters": {"binary_data_size": len(tail)}}
    text = json.dumps({"inputs": [tensor]}).encode()
    np.testing.assert_array_equal(rows_of(text + tail, json_length=len(text)), [[0.5, math.nan]])


def test_an_infinite_value_in_binary_data_is_refused():
    tail = np.array([[0.5, math.inf]]).tobytes()
    tensor = {"name": "features", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": len(tail)}}
    text = json.dumps({"inputs": [tensor]}).encode()
    with pytest.raises(RequestError, match="infinite"):
        rows_of(text + tail, json_length=len(text))


@pytest.mark.parametrize("cut", [1, 8, 16])
def test_binary_data_that_was_cut_is_refused(cut):
    tail = np.zeros((1, 2)).tobytes()
    tensor = {"name": "features", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": len(tail)}}
    text = json.dumps({"inputs": [tensor]}).encode()
    with pytest.raises(RequestError, match="binary_data_size"):
        rows_of(text + tail[:-cut], json_length=len(text))


def test_a_json_length_beyond_the_body_is_refused():
    with pytest.raises(RequestError, match="Inference-Header-Content-Length"):
        rows_of(body_of([1, 2]), json_length=10_000)


def test_nesting_is_limited_before_anything_recurses():
    deep = b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(RequestError, match=f"deeper than {MAX_DEPTH}"):
        rows_of(deep)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_depth_is_what_a_walk_over_the_document_finds(document):
    def walked(node: object) -> int:
        if isinstance(node, dict | list):
            return 1 + max(map(walked, node.values() if isinstance(node, dict) else node), default=0)
        return 0

    assert depth(json.dumps(document).encode()) == walked(document)
    assert depth(json.dumps(document, ensure_ascii=False).encode()) == walked(document)


TENSORS = {"score": np.array([0.25, 0.75]), "alert": np.array([False, True])}
ANSWERED = {"model_name": "m", "model_version": "3", "id": "x"}


def test_an_answer_carries_both_tensors_as_json():
    request = parse(body_of([1, 2]), 2, max_rows=3)
    text, json_length = encode(request, ANSWERED, TENSORS)
    assert json_length is None
    assert json.loads(text) == {
        "model_name": "m",
        "model_version": "3",
        "id": "x",
        "outputs": [
            {"name": "score", "datatype": "FP64", "shape": [2], "data": [0.25, 0.75]},
            {"name": "alert", "datatype": "BOOL", "shape": [2], "data": [False, True]},
        ],
    }


def test_outputs_are_binary_where_they_are_asked_to_be():
    outputs = [{"name": "alert"}, {"name": "score", "parameters": {"binary_data": True}}]
    request = parse(body_of([1, 2], outputs=outputs), 2, max_rows=3)
    text, json_length = encode(request, ANSWERED, TENSORS)
    described = json.loads(text[:json_length])["outputs"]
    assert described[0]["data"] == [False, True]
    assert described[1]["parameters"] == {"binary_data_size": 16}
    np.testing.assert_array_equal(np.frombuffer(text[json_length:], "<f8"), TENSORS["score"])


def test_all_outputs_are_binary_when_the_request_says_so():
    request = parse(body_of([1, 2], parameters={"binary_data_output": True}), 2, max_rows=3)
    text, json_length = encode(request, ANSWERED, TENSORS)
    assert text[json_length:] == TENSORS["score"].tobytes() + b"\0\1"
