"""The cloud server without a transport: a request's parts in, a response out.

Nothing here knows sockets or event loops, so every answer can be had in a test with one call, and any HTTP server can
stand in front. ``handle`` never raises and may be called from many threads at once.

Readiness: the server is ready when the first refresh has completed and every use case released for it has a model in
memory. With nothing released it is ready too: it can answer everything it is meant to answer, which is nothing yet.
"""

import hmac
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.errors import TidemillError
from serving.cloud import protocol
from serving.cloud.meter import Meter
from serving.cloud.models import Loaded, ModelTable
from serving.cloud.protocol import InferRequest, RequestError
from serving.cloud.recorder import Recorder
from serving.errors import InputError
from serving.exposition import CONTENT_TYPE, Family, render
from serving.journal import Journal
from serving.predictor import Scores
from serving.record import Prediction, prediction_id

JSON = ("content-type", "application/json")
EXTENSIONS = ("binary_tensor_data",)


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back: HTTP status, headers in lower case, body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def refusal(status: int, message: str, *headers: tuple[str, str]) -> Response:
    """An error in the protocol's form; 503 says when to come back.

    Example:
        >>> refusal(503, "busy").headers
        (('content-type', 'application/json'), ('retry-after', '1'))
    """
    again = (("retry-after", "1"),) if status == 503 else ()  # noqa: PLR2004 - HTTP's number for "busy"
    return Response(status, (JSON, *again, *headers), protocol.error_body(message))


class Server:
    """Answers the Open Inference Protocol V2, and Prometheus.

    Args:
        table: The models.
        recorder: Takes the predictions of requests that name devices and windows.
        meter: Counts.
        journal: Told about faults inside.
        unready: Why the server is not ready; empty when it is.
        instance: This server's name in predictions.
        version: Version of the program.
        token: Bearer token that every request but health must carry; empty for none.
        max_rows: Most rows in one request.
        clock: UTC microseconds.
    """

    def __init__(
        self,
        table: ModelTable,
        recorder: Recorder,
        meter: Meter,
        journal: Journal,
        *,
        unready: Callable[[], str],
        instance: str,
        version: str,
        clock: Callable[[], int],
        token: str = "",
        max_rows: int = 10_000,
    ) -> None:
        self._table = table
        self._recorder = recorder
        self._meter = meter
        self._journal = journal
        self._unready = unready
        self._instance = instance
        self._clock = clock
        self._authorization = f"Bearer {token}".encode() if token else b""
        self._max_rows = max_rows
        self._fixed: dict[str, Callable[[], Response]] = {
            "v2": lambda: _json({"name": "tidemill", "version": version, "extensions": EXTENSIONS}),
            "v2/health/live": lambda: _json({"live": True}),
            "v2/health/ready": self._ready,
            "v2/models": self._models,
            "metrics": lambda: Response(200, (("content-type", CONTENT_TYPE),), render(self._families())),
        }

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer one request.

        Args:
            method: In upper case.
            path: Without query, percent-decoded.
            headers: Names in lower case.
            body: Complete.
        """
        began = time.perf_counter()
        parts = path.split("/")[1:]
        try:
            response = self._route(method, parts, headers, body)
        except RequestError as error:
            response = refusal(error.status, str(error))
        except InputError as error:
            response = refusal(400, str(error))
        except TidemillError as error:
            self._journal.say("request_failed", path=path, code=error.code, reason=error)
            response = refusal(500, f"{error.code}: {error.what}")
        except Exception as error:  # noqa: BLE001 - a fault of ours is an answer too, and the next request is served
            self._journal.say("request_failed", path=path, reason=f"{type(error).__name__}: {error}")
            response = refusal(500, "internal error")
        self._meter.answered(_kind(parts), response.status, time.perf_counter() - began)
        return response

    def _route(self, method: str, parts: Sequence[str], headers: Mapping[str, str], body: bytes) -> Response:
        if parts[:2] != ["v2", "health"]:
            self._authorize(headers)
        match parts:
            case ["v2", "models", name, *rest] if rest[-1:] == ["infer"]:
                _expect(method, "POST")
                return self._infer(name, _version(rest[:-1]), headers, body)
            case ["v2", "models", name, *rest]:
                _expect(method, "GET")
                ready = rest[-1:] == ["ready"]
                return self._model(name, _version(rest[:-1] if ready else rest), ready=ready)
        answer = self._fixed.get("/".join(parts))
        if answer is None:
            raise RequestError(404, "no such path; the server speaks the Open Inference Protocol V2 below /v2")
        _expect(method, "GET")
        return answer()

    def _authorize(self, headers: Mapping[str, str]) -> None:
        if self._authorization and not hmac.compare_digest(
            headers.get("authorization", "").encode(), self._authorization
        ):
            raise RequestError(401, "a bearer token is needed, or this one is not the right one")

    def _ready(self) -> Response:
        reason = self._unready()
        # The protocol asks for a 4xx where the server is not ready.
        return refusal(400, f"not ready: {reason}") if reason else _json({"ready": True})

    def _models(self) -> Response:
        listed = sorted((name, model.release.version) for name, model in self._table.loaded().items())
        return _json({"models": [{"name": name, "version": version} for name, version in listed]})

    def _model(self, name: str, version: str, *, ready: bool) -> Response:
        with self._table.lease(name) as model:
            found = _demand(model, name, version)
            return _json({"name": name, "ready": True} if ready else _metadata(found))

    def _infer(self, name: str, version: str, headers: Mapping[str, str], body: bytes) -> Response:
        length = headers.get(protocol.LENGTH_HEADER)
        if length is not None and not (length.isascii() and length.isdigit()):
            raise RequestError(400, f"Inference-Header-Content-Length is no number: {length[:40]}")
        with self._table.lease(name) as held:
            model = _demand(held, name, version)
            json_length = None if length is None else int(length)
            request = protocol.parse(body, model.width, max_rows=self._max_rows, json_length=json_length)
            if request.devices and not self._recorder.has_room(len(request.devices)):
                raise RequestError(503, "predictions cannot be recorded at the moment")
            scores = model.predictor.predict(request.rows)
            recorded = self._record(model, request, scores)
        tensors: dict[str, NDArray[np.float64] | NDArray[np.bool_]] = {"score": scores.score, "alert": scores.alert}
        version = model.release.version
        self._meter.predicted(name, version, len(request.rows), int(scores.alert.sum()))
        answered = {"model_name": name, "model_version": version, "id": request.id or uuid.uuid4().hex, **recorded}
        text, json_part = protocol.encode(request, answered, tensors)
        if json_part is None:
            return Response(200, (JSON,), text)
        binary = (("content-type", "application/octet-stream"), (protocol.LENGTH_HEADER, str(json_part)))
        return Response(200, binary, text)

    def _record(self, model: Loaded, request: InferRequest, scores: Scores) -> dict[str, object]:
        if not request.devices:
            return {}
        usecase, version = model.release.usecase, model.release.version
        digest, features = model.predictor.bundle.digest, model.feature_digest
        now = self._clock()
        predictions = [
            Prediction(
                prediction_id(usecase, "cloud", self._instance, device, end, digest),
                usecase, "cloud", self._instance, device, end, now, version, digest, features, score, alert, tuple(row),
            )
            for device, end, score, alert, row in zip(
                request.devices, request.window_ends_us, scores.score.tolist(), scores.alert.tolist(),
                request.rows.tolist(), strict=True,
            )
        ]  # fmt: skip
        self._recorder.record(predictions)
        return {"parameters": {"prediction_ids": [prediction.id for prediction in predictions]}}

    def _families(self) -> list[Family]:
        models = [
            ({"usecase": name, "version": model.release.version, "bundle": model.release.bundle}, 1)
            for name, model in sorted(self._table.loaded().items())
        ]
        return [
            *self._meter.families(),
            Family("tidemill_model_info", "gauge", "The version that answers for each use case.", models),
            Family("tidemill_ready", "gauge", "Whether the server is ready.", [({}, int(not self._unready()))]),
            Family("tidemill_unrecorded", "gauge", "Predictions not on disk yet.", [({}, self._recorder.waiting)]),
        ]


def _json(document: object) -> Response:
    return Response(200, (JSON,), msgspec.json.encode(document))


def _kind(parts: Sequence[str]) -> str:
    if parts[-1:] == ["infer"]:
        return "infer"
    if parts[:2] == ["v2", "health"]:
        return "health"
    return "metrics" if parts == ["metrics"] else "other"


def _expect(method: str, expected: str) -> None:
    if method != expected:
        raise RequestError(405, f"{method} is not known here, use {expected}")


def _version(parts: Sequence[str]) -> str:
    match parts:
        case []:
            return ""
        case ["versions", version] if version:
            return version
    raise RequestError(404, "no such path below a model; there are versions/…, ready and infer")


def _demand(model: Loaded | None, name: str, version: str) -> Loaded:
    if model is None:
        raise RequestError(404, f"no model {name[:80]!r} is released here; GET /v2/models lists what is")
    if version not in ("", model.release.version):
        raise RequestError(404, f"model {name!r} answers as version {model.release.version}, not {version[:80]!r}")
    return model


def _metadata(model: Loaded) -> dict[str, object]:
    manifest = model.predictor.bundle.manifest
    names = manifest.features.names
    return {
        "name": manifest.usecase,
        "versions": [model.release.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": protocol.INPUT, "datatype": "FP64", "shape": [-1, len(names)]}],
        "outputs": [
            {"name": "score", "datatype": "FP64", "shape": [-1]},
            {"name": "alert", "datatype": "BOOL", "shape": [-1]},
        ],
        "parameters": {
            "features": names,
            "feature_digest": model.feature_digest,
            "label": manifest.label,
            "threshold": manifest.threshold,
            "output": asdict(manifest.output),
            "horizon_s": manifest.horizon_s,
            "bundle": model.predictor.bundle.digest,
        },
    }
