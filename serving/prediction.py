"""A prediction as a record: one JSON line, with an id that follows from what it is about."""

import gzip
import hashlib
import io
import json
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from serving.errors import RecordError

_EXPANDED_BYTES = 256 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_PLACEMENTS = ("gateway", "cloud")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS: dict[str, type] = {
    "id": str,
    "usecase": str,
    "placement": str,
    "instance": str,
    "device": str,
    "window_end_us": int,
    "predicted_at_us": int,
    "version": str,
    "bundle": str,
    "feature_digest": str,
    "score": float,
    "alert": bool,
    "features": tuple,
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer of a model.

    Attributes:
        id: See ``prediction_id``.
        usecase: Name of the use case.
        placement: Where the model ran.
        instance: Which gateway or server it was.
        device: Whom it is about.
        window_end_us: End of the window that the features describe, UTC microseconds.
        predicted_at_us: When the model answered, UTC microseconds.
        version: Registered version, for humans.
        bundle: Digest of the bundle.
        feature_digest: Digest of the feature set.
        score: What the model answered: a probability, a quantity or an anomaly score.
        alert: Whether the score reached the threshold.
        features: What the model saw, in the order of the feature set; NaN is missing (null in JSON).
    """

    id: str
    usecase: str
    placement: Literal["gateway", "cloud"]
    instance: str
    device: str
    window_end_us: int
    predicted_at_us: int
    version: str
    bundle: str
    feature_digest: str
    score: float
    alert: bool
    features: tuple[float, ...]


def prediction_id(  # noqa: PLR0917 - the parts of the question, in the order of a record
    usecase: str, placement: str, instance: str, device: str, window_end_us: int, bundle: str
) -> str:
    """The id of a prediction: the same question to the same model at the same place has the same id.

    Example:
        >>> prediction_id("pump_failure", "gateway", "gw-1", "pump-7", 0, "sha256:00")
        '80c584285c48189f9b34d508d0df4151'
    """
    question = json.dumps([usecase, placement, instance, device, window_end_us, bundle], separators=(",", ":"))
    return hashlib.sha256(question.encode()).hexdigest()[:32]


def encode(predictions: Iterable[Prediction]) -> bytes:
    """Predictions as JSON lines, one per line, each ended by a newline.

    Raises:
        RecordError: A score is not finite or a feature infinite.
    """
    lines = []
    for prediction in predictions:
        values = {name: getattr(prediction, name) for name in _FIELDS}
        values["features"] = [None if math.isnan(value) else value for value in prediction.features]
        try:
            lines.append(json.dumps(values, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        except (TypeError, ValueError) as error:
            raise RecordError(
                "a prediction cannot be written", where=f"device {prediction.device}", why=str(error)
            ) from error
    return b"".join(lines)


def decode(data: bytes) -> list[Prediction]:
    """Read what ``encode`` wrote, gzipped or not.

    Raises:
        RecordError: A line is no prediction; the message names it.

    Example:
        >>> decode(b"")
        []
    """
    return [decode_line(line, number) for number, line in enumerate(_expanded(data).splitlines(), start=1) if line]


def _expanded(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            expanded = file.read(_EXPANDED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RecordError("a prediction log cannot be unpacked", why=str(error)) from error
    if len(expanded) > _EXPANDED_BYTES:
        raise RecordError("a prediction log is too large", why=f"it unpacks to more than {_EXPANDED_BYTES} bytes")
    return expanded


def decode_line(line: bytes, number: int) -> Prediction:
    """Read one line; ``number`` is its place, for the message of the ``RecordError``."""
    try:
        values = json.loads(line)
        features = tuple(math.nan if value is None else _finite(value) for value in values["features"])
        prediction = Prediction(**{**values, "score": _finite(values["score"]), "features": features})
        _check(prediction)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise RecordError("a line is no prediction", where=f"line {number}", why=str(error)[:200]) from error
    return prediction


def _finite(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]} is no number")
    return float(value)


def _check(prediction: Prediction) -> None:
    for name, kind in _FIELDS.items():
        if type(getattr(prediction, name)) is not kind:
            raise TypeError(f"{name} is no {kind.__name__}")
    if prediction.placement not in _PLACEMENTS:
        raise ValueError(f"placement {prediction.placement!r} is unknown")
    for time_us in (prediction.window_end_us, prediction.predicted_at_us):
        moment(time_us)


def moment(microseconds: int) -> datetime:
    """UTC microseconds as a time; ``OverflowError`` outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=microseconds)
