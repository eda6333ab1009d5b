"""The Open Inference Protocol V2, pure: bytes to a checked request, answers to bytes. No model, no socket, no clock.

One input tensor ``features`` (FP64 or FP32, shape ``[rows, features]``), two output tensors ``score`` (FP64) and
``alert`` (BOOL), both of shape ``[rows]``. A missing value is ``null`` in JSON and NaN in binary data. The binary
tensor extension (KServe, Triton) is spoken in both directions. Two request parameters are ours: ``devices`` and
``window_ends_us``, one per row, name what the rows describe; with them the predictions are recorded.

Everything a client can get wrong raises :class:`RequestError` with a sentence for the client: it never reaches an
operator, so it stands outside of the coded error families.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

INPUT = "features"
OUTPUTS = ("score", "alert")
LENGTH_HEADER = "inference-header-content-length"
MAX_DEPTH = 16

_DATATYPES: dict[str, np.dtype[Any]] = {"FP64": np.dtype("<f8"), "FP32": np.dtype("<f4")}
_BRACKETS = b'[]{}"'
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_STEP = np.zeros(256, np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


class RequestError(Exception):
    """The client asked for something that cannot be answered: ``status`` is 4xx or 503, the text says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _TensorParameters(msgspec.Struct, frozen=True):
    binary_data_size: int | None = None


class _Input(msgspec.Struct, frozen=True):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: _TensorParameters = _TensorParameters()


class _OutputParameters(msgspec.Struct, frozen=True):
    binary_data: bool | None = None


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: _OutputParameters = _OutputParameters()


_Device = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Microseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_800_000_000)]  # up to the year 10000


class _Parameters(msgspec.Struct, frozen=True):
    devices: list[_Device] | None = None
    window_ends_us: list[_Microseconds] | None = None
    binary_data_output: bool = False


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Input]
    id: str = ""
    parameters: _Parameters = _Parameters()
    outputs: list[_Output] | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A checked request.

    Attributes:
        id: The client's name for it, or empty.
        rows: Feature rows, shape ``(rows, features)``, NaN where missing.
        devices: The device of each row, or empty: then nothing is recorded.
        window_ends_us: The end of each row's window, as many as ``devices``.
        outputs: Output tensors to answer with, each with whether it is to be binary.
    """

    id: str
    rows: NDArray[np.float64]
    devices: Sequence[str]
    window_ends_us: Sequence[int]
    outputs: tuple[tuple[str, bool], ...]


_requests = msgspec.json.Decoder(_Request)
_flat = msgspec.json.Decoder(list[float | None])
_nested = msgspec.json.Decoder(list[list[float | None]])


def parse(body: bytes, features: int, *, max_rows: int, json_length: int | None = None) -> InferRequest:
    """Read an infer request.

    Args:
        body: The request's body: JSON, followed by binary tensor data when ``json_length`` is given.
        features: Width of the model's rows.
        max_rows: Most rows in one request.
        json_length: Value of the header ``Inference-Header-Content-Length``.

    Raises:
        RequestError: The request is not what the model takes; the sentence says what was found and what was expected.

    Example:
        >>> body = b'{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP64","data":[0.5,null]}]}'
        >>> parse(body, features=2, max_rows=10).rows
        array([[0.5, nan]])
    """
    if json_length is not None and not 0 <= json_length <= len(body):
        raise RequestError(400, f"Inference-Header-Content-Length is {json_length}, the body has {len(body)} bytes")
    text, binary = (body, b"") if json_length is None else (body[:json_length], body[json_length:])
    if depth(text) > MAX_DEPTH:
        raise RequestError(400, f"the JSON is nested deeper than {MAX_DEPTH} levels")
    try:
        request = _requests.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestError(400, f"not a V2 infer request: {error}") from error
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        found = ", ".join(tensor.name for tensor in request.inputs) or "none"
        raise RequestError(400, f'one input tensor named "{INPUT}" is expected, found: {found}')
    rows = _rows(request.inputs[0], binary, features, max_rows)
    devices, ends = _subjects(request.parameters, len(rows))
    return InferRequest(request.id, rows, devices, ends, _outputs(request))


def depth(text: bytes) -> int:
    """How deeply arrays and objects nest in JSON; brackets inside strings do not count.

    Example:
        >>> depth(b'{"a": [[1], "[[[["]}')
        3
    """
    if b"\\" in text:
        text = re.sub(rb"\\.", b"", text, flags=re.DOTALL)
    brackets = re.sub(rb'"[^"]*"', b"", text.translate(None, _OTHERS))
    if not brackets:
        return 0
    return int(np.cumsum(_STEP[np.frombuffer(brackets, np.uint8)], dtype=np.int32).max())


def _rows(tensor: _Input, binary: bytes, features: int, max_rows: int) -> NDArray[np.float64]:
    kind = _DATATYPES.get(tensor.datatype)
    if kind is None:
        raise RequestError(400, f'datatype of "{INPUT}" is {tensor.datatype}, expected one of {", ".join(_DATATYPES)}')
    if len(tensor.shape) != 2 or tensor.shape[0] < 1 or tensor.shape[1] != features:  # noqa: PLR2004 - a matrix
        raise RequestError(400, f'shape of "{INPUT}" is {tensor.shape}, expected [rows, {features}]')
    count = tensor.shape[0]
    if count > max_rows:
        raise RequestError(413, f"{count} rows in one request, at most {max_rows} are taken")
    if tensor.parameters.binary_data_size is not None:
        values = _binary(tensor.parameters.binary_data_size, binary, kind, count * features)
    elif not bytes(tensor.data):
        raise RequestError(400, f'"{INPUT}" has neither data nor binary_data_size')
    else:
        values = _json_values(bytes(tensor.data), count, features)
    if np.isinf(values).any():
        raise RequestError(400, f'"{INPUT}" holds an infinite value; a missing one is null')
    return values.reshape(count, features)


def _binary(size: int, binary: bytes, kind: np.dtype[Any], count: int) -> NDArray[np.float64]:
    if size != len(binary) or size != count * kind.itemsize:
        raise RequestError(
            400, f"binary_data_size is {size}, {len(binary)} bytes follow the JSON, expected {count * kind.itemsize}"
        )
    return np.frombuffer(binary, kind).astype(np.float64)


def _json_values(text: bytes, count: int, features: int) -> NDArray[np.float64]:
    nested = text[1:].lstrip().startswith(b"[")
    try:
        data = _nested.decode(text) if nested else _flat.decode(text)
    except msgspec.MsgspecError as error:
        raise RequestError(400, f'data of "{INPUT}" is not a list of numbers and nulls: {error}') from error
    if nested and any(len(row) != features for row in data):  # type: ignore[arg-type]  # each row is a list here
        raise RequestError(400, f'a row of "{INPUT}" has not {features} values')
    if len(data) != (count if nested else count * features):
        raise RequestError(400, f'"{INPUT}" has {len(data)} {"rows" if nested else "values"}, its shape says otherwise')
    return np.array(data, np.float64)


def _subjects(parameters: _Parameters, count: int) -> tuple[Sequence[str], Sequence[int]]:
    devices, ends = parameters.devices, parameters.window_ends_us
    if devices is None and ends is None:
        return (), ()
    if devices is None or ends is None or not len(devices) == len(ends) == count:
        raise RequestError(400, f"parameters devices and window_ends_us go together, one of each for {count} rows")
    return devices, ends


def _outputs(request: _Request) -> tuple[tuple[str, bool], ...]:
    binary = request.parameters.binary_data_output
    if not request.outputs:
        return tuple((name, binary) for name in OUTPUTS)
    asked = []
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise RequestError(400, f'no output tensor "{output.name}"; there are {", ".join(OUTPUTS)}')
        wanted = output.parameters.binary_data
        asked.append((output.name, binary if wanted is None else wanted))
    return tuple(dict(asked).items())


def encode(
    request: InferRequest,
    answered: Mapping[str, object],
    tensors: Mapping[str, NDArray[np.float64] | NDArray[np.bool_]],
) -> tuple[bytes, int | None]:
    """Write an infer response.

    Args:
        request: What is answered: it says which outputs are wanted, and in which form.
        answered: What stands beside the outputs: ``model_name``, ``model_version``, ``id``, perhaps ``parameters``.
        tensors: The outputs by name, each of shape ``(rows,)``.

    Returns:
        The body, and the length of its JSON part when binary data follows (None when it is JSON alone).
    """
    outputs: list[dict[str, object]] = []
    tail = []
    for name, binary in request.outputs:
        values = tensors[name]
        output: dict[str, object] = {
            "name": name,
            "datatype": "BOOL" if values.dtype == np.bool_ else "FP64",
            "shape": list(values.shape),
        }
        if binary:
            tail.append(values.astype("?" if values.dtype == np.bool_ else "<f8").tobytes())
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = values.tolist()
        outputs.append(output)
    text = msgspec.json.encode({**answered, "outputs": outputs})
    return (b"".join([text, *tail]), len(text)) if tail else (text, None)


def error_body(message: str) -> bytes:
    """The protocol's error object.

    Example:
        >>> error_body("no such model")
        b'{"error":"no such model"}'
    """
    return msgspec.json.encode({"error": message})
