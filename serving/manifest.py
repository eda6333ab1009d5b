"""What a bundle says in words and numbers: its manifest and its golden rows, and their JSON.

``serving.bundle`` puts them into the archive and is where everybody else imports them from.
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from features.errors import TidemillError
from features.featureset import FeatureSet
from serving.errors import BundleContentError
from serving.output import PROBABILITY, Output, is_kind, is_side

PLACEMENTS = ("endpoint", "gateway", "hub", "cloud")
REFERENCE_EDGES = 11  # deciles with both ends
GOLDEN_ROWS = 10_000
LARGEST_TOLERANCE = 1e-3  # as a share of the range of scores; a wider one would let any model pass

_USECASE = re.compile(r"[a-z][a-z0-9_]{0,63}")  # it becomes part of keys, paths and URLs
_MISREAD = (TidemillError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model is and what it eats.

    Attributes:
        usecase: Name of the use case, ``[a-z][a-z0-9_]*``.
        features: The feature set; the columns of every row are ``features.names`` in order.
        threshold: Where alerts begin, within the bounds of ``output``.
        horizon_s: The label speaks about this many seconds after the end of a window; 0 for a question about now.
        estimator: What was fitted, for humans.
        placements: Where the model may run, of ``PLACEMENTS``.
        lineage: Where it comes from: run, data set version, code version. Free text by name.
        reference: Per feature the deciles of the training rows, 11 edges from minimum to maximum; NaN where a feature
            was never there. Monitoring compares with them.
        label: Name of what is foreseen.
        output: What the score says about it.
    """

    usecase: str
    features: FeatureSet
    threshold: float
    horizon_s: int
    estimator: str
    placements: tuple[str, ...]
    lineage: Mapping[str, str]
    reference: Mapping[str, list[float]]
    label: str
    output: Output = PROBABILITY


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Rows and the scores the model gave for them where it was built.

    Attributes:
        rows: Shape ``(n, F)``, n >= 1; NaN is a missing feature.
        scores: Shape ``(n,)``.
        tolerance: Largest absolute difference that another machine may show.
    """

    rows: NDArray[np.float64]
    scores: NDArray[np.float64]
    tolerance: float = 1e-6


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces, in ASCII; NaN and infinities are refused.

    Example:
        >>> canonical_json({"b": 1, "a": [None, 0.5]})
        b'{"a":[null,0.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def manifest_json(manifest: Manifest, outline: Mapping[str, object]) -> bytes:
    """The member ``manifest.json``: the manifest and what ``outline`` adds about the archive."""
    stated = {
        **outline,
        "estimator": manifest.estimator,
        "feature_digest": manifest.features.digest,
        "features": manifest.features.to_json(),
        "horizon_s": manifest.horizon_s,
        "label": manifest.label,
        "lineage": dict(manifest.lineage),
        "placements": list(manifest.placements),
        "reference": {name: nulled(edges) for name, edges in manifest.reference.items()},
        "threshold": manifest.threshold,
        "usecase": manifest.usecase,
    }
    if manifest.output != PROBABILITY:  # left out, so that what was written before there was another reads the same
        stated["output"] = asdict(manifest.output)
    try:
        return canonical_json(stated)
    except (TypeError, ValueError) as error:
        raise BundleContentError("the manifest cannot be written", where="manifest.json", why=str(error)) from error


def read_manifest(stated: dict[str, object]) -> Manifest:
    """The inverse of ``manifest_json``, trusting nothing.

    Raises:
        BundleContentError: A field is missing or wrong, or the feature set has another digest than recorded.
    """
    try:
        features = FeatureSet.from_json(_object(stated.get("features"), "features"))
    except BundleContentError:
        raise
    except _MISREAD as error:
        raise BundleContentError("the feature set cannot be read", where="manifest.json", why=_cause(error)) from error
    if features.digest != stated.get("feature_digest"):
        raise BundleContentError(
            "the feature set is not the one it claims to be",
            where="manifest.json",
            why=f"its digest is {features.digest}, recorded is {str(stated.get('feature_digest'))[:80]}",
            fix="read the bundle with the release that built it, or train again",
        )
    try:
        return _judged(stated, features)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise BundleContentError("the manifest cannot be read", where="manifest.json", why=_cause(error)) from error


def _judged(stated: dict[str, object], features: FeatureSet) -> Manifest:
    usecase = _text(stated, "usecase")
    _demand(_USECASE.fullmatch(usecase) is not None, "usecase", f"{usecase[:80]!r} is not like {_USECASE.pattern}")
    threshold = _number(stated["threshold"], "threshold")
    output = _output(stated["output"]) if "output" in stated else PROBABILITY
    within = f"{output.low:g}..{output.high:g}"
    _demand(output.low <= threshold <= output.high, "threshold", f"{threshold} is not within {within}")
    horizon = stated["horizon_s"]
    _demand(type(horizon) is int and horizon >= 0, "horizon_s", "it is not a whole number of seconds from 0 on")
    placements = tuple(_list(stated["placements"], "placements"))
    known = len(placements) > 0 and len(set(placements)) == len(placements) and set(placements) <= set(PLACEMENTS)
    _demand(known, "placements", f"it is not a choice of {', '.join(PLACEMENTS)}")
    lineage = _object(stated["lineage"], "lineage")
    _demand(all(isinstance(value, str) for value in lineage.values()), "lineage", "it holds more than text")
    return Manifest(
        usecase=usecase,
        features=features,
        threshold=threshold,
        horizon_s=int(str(horizon)),
        estimator=_text(stated, "estimator"),
        placements=tuple(str(placement) for placement in placements),
        lineage={name: str(value) for name, value in lineage.items()},
        reference=_reference(_object(stated["reference"], "reference"), features.names),
        label=_text(stated, "label"),
        output=output,
    )


def _output(value: object) -> Output:
    stated = _object(value, "output")
    _demand(set(stated) == {field.name for field in fields(Output)}, "output", "it has other fields than it must have")
    kind, alert = _text(stated, "kind"), _text(stated, "alert")
    low, high = _number(stated["low"], "output"), _number(stated["high"], "output")
    _demand(low < high, "output", f"there is nothing between {low} and {high}")
    if not is_kind(kind) or not is_side(alert):
        raise BundleContentError(
            "output is of no known kind", where="manifest.json", why=f"{kind[:80]!r}, {alert[:80]!r}"
        )
    return Output(kind, low, high, _text(stated, "unit"), alert)


def _reference(stated: dict[str, object], names: tuple[str, ...]) -> dict[str, list[float]]:
    _demand(set(stated) <= set(names), "reference", "it names features that the feature set does not have")
    edges = {name: unnulled(_list(value, f"reference of {name}"), "reference") for name, value in stated.items()}
    for name, found in edges.items():
        _demand(len(found) == REFERENCE_EDGES, f"reference of {name}", f"it has {len(found)} edges, not 11")
        missing = sum(math.isnan(edge) for edge in found)
        ordered = all(left <= right for left, right in itertools.pairwise(found))
        _demand(ordered or missing == len(found), f"reference of {name}", "its edges decrease")
    return edges


def golden_json(golden: Golden) -> bytes:
    """The member ``golden.json``."""
    try:
        rows = [nulled(row) for row in np.asarray(golden.rows, dtype=np.float64).tolist()]
        scores = np.asarray(golden.scores, dtype=np.float64).tolist()
        return canonical_json({"rows": rows, "scores": scores, "tolerance": float(golden.tolerance)})
    except (TypeError, ValueError) as error:
        raise BundleContentError("the golden rows cannot be written", where="golden.json", why=str(error)) from error


def read_golden(stated: dict[str, object], width: int, output: Output = PROBABILITY) -> Golden:
    """The inverse of ``golden_json``, trusting nothing.

    Args:
        stated: The parsed member.
        width: Number of features.
        output: What scores are.

    Raises:
        BundleContentError: Shapes do not fit, or a number is not where it must be.
    """
    where = "golden rows"
    _demand(set(stated) == {"rows", "scores", "tolerance"}, where, "they are not rows, scores and tolerance")
    listed = [unnulled(_list(row, where), where) for row in _list(stated["rows"], where)]
    scores = np.array([_number(score, where) for score in _list(stated["scores"], where)], dtype=np.float64)
    tolerance = _number(stated["tolerance"], where)
    _demand(1 <= len(listed) <= GOLDEN_ROWS, where, f"{len(listed)} rows; 1 to {GOLDEN_ROWS} are read")
    _demand(
        all(len(row) == width for row in listed), where, f"not every row has the {width} features of the feature set"
    )
    _demand(len(scores) == len(listed), where, f"{len(scores)} scores for {len(listed)} rows")
    within = f"{output.low:g}..{output.high:g}"
    _demand(bool(np.all((scores >= output.low) & (scores <= output.high))), where, f"a score is not within {within}")
    most = LARGEST_TOLERANCE * output.range
    _demand(0.0 < tolerance <= most, where, f"tolerance {tolerance} is not within 0..{most}")
    return Golden(np.array(listed, dtype=np.float64).reshape(len(listed), width), scores, tolerance)


def parse(data: bytes, member: str) -> dict[str, object]:
    """A JSON object, or ``BundleContentError``; NaN and infinities are no JSON."""
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleContentError("a member is not valid JSON", where=member, why=str(error)) from error
    if not isinstance(value, dict):
        raise BundleContentError("a member is not a JSON object", where=member, why=f"it is a {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# --- values --------------------------------------------------------------------------------------------------------


def nulled(values: Iterable[float]) -> list[float | None]:
    """Numbers for JSON, which has no NaN.

    Example:
        >>> nulled([1.0, float("nan")])
        [1.0, None]
    """
    return [None if math.isnan(value) else float(value) for value in values]


def unnulled(values: list[object], where: str) -> list[float]:
    """The inverse of ``nulled``; ``BundleContentError`` for anything but finite numbers and null."""
    return [math.nan if value is None else _number(value, where) for value in values]


def _number(value: object, where: str) -> float:
    _demand(type(value) in (int, float), where, f"it holds a {type(value).__name__} where a number belongs")
    try:
        number = float(value)  # type: ignore[arg-type]  # int or float, as demanded above
    except OverflowError:
        number = math.inf
    _demand(math.isfinite(number), where, "it holds an infinite number")
    return number


def _text(stated: dict[str, object], name: str) -> str:
    value = stated[name]
    _demand(isinstance(value, str) and value != "", name, "it is not a text")
    return str(value)


def _list(value: object, where: str) -> list[object]:
    _demand(isinstance(value, list), where, f"it is a {type(value).__name__}, not a list")
    return value  # type: ignore[return-value]  # a list, as demanded above


def _object(value: object, where: str) -> dict[str, object]:
    _demand(isinstance(value, dict), where, f"it is a {type(value).__name__}, not an object")
    return value  # type: ignore[return-value]  # an object, as demanded above


def _demand(met: bool, where: str, why: str) -> None:  # noqa: FBT001 - reads as a sentence: demand(that this is met)
    if not met:
        raise BundleContentError("the bundle contradicts itself", where=where, why=why)


def _cause(error: BaseException) -> str:
    return f"no {error} in it" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"[:300]
