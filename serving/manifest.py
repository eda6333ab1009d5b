"""What a bundle says in words and numbers: its manifest and its golden rows, and their JSON.

``serving.bundle`` puts them into the archive and is where everybody else imports them from.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from features.errors import TidemillError
from features.featureset import FeatureSet
from serving import claims
from serving.baseline import Baseline, read_baseline
from serving.errors import BundleContentError
from serving.output import PROBABILITY, Output, is_kind, is_side

PLACEMENTS = ("endpoint", "gateway", "hub", "cloud")
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
        baseline: What else monitoring compares with; None in bundles that were made before there was one.
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
    baseline: Baseline | None = None


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
        "reference": {name: claims.nulled(edges) for name, edges in manifest.reference.items()},
        "threshold": manifest.threshold,
        "usecase": manifest.usecase,
    }
    if manifest.output != PROBABILITY:  # left out, so that what was written before there was another reads the same
        stated["output"] = asdict(manifest.output)
    if manifest.baseline is not None:
        stated["baseline"] = manifest.baseline.to_json()
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
        features = FeatureSet.from_json(claims.fields(stated.get("features"), "features"))
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
    usecase = claims.text(stated, "usecase")
    claims.demand(
        _USECASE.fullmatch(usecase) is not None, "usecase", f"{usecase[:80]!r} is not like {_USECASE.pattern}"
    )
    threshold = claims.number(stated["threshold"], "threshold")
    output = _output(stated["output"]) if "output" in stated else PROBABILITY
    within = f"{output.low:g}..{output.high:g}"
    claims.demand(output.low <= threshold <= output.high, "threshold", f"{threshold} is not within {within}")
    horizon = stated["horizon_s"]
    claims.demand(type(horizon) is int and horizon >= 0, "horizon_s", "it is not a whole number of seconds from 0 on")
    placements = tuple(claims.items(stated["placements"], "placements"))
    known = len(placements) > 0 and len(set(placements)) == len(placements) and set(placements) <= set(PLACEMENTS)
    claims.demand(known, "placements", f"it is not a choice of {', '.join(PLACEMENTS)}")
    lineage = claims.fields(stated["lineage"], "lineage")
    claims.demand(all(isinstance(value, str) for value in lineage.values()), "lineage", "it holds more than text")
    return Manifest(
        usecase=usecase,
        features=features,
        threshold=threshold,
        horizon_s=int(str(horizon)),
        estimator=claims.text(stated, "estimator"),
        placements=tuple(str(placement) for placement in placements),
        lineage={name: str(value) for name, value in lineage.items()},
        reference=_reference(claims.fields(stated["reference"], "reference"), features.names),
        label=claims.text(stated, "label"),
        output=output,
        baseline=read_baseline(claims.fields(stated["baseline"], "baseline"), features.names)
        if "baseline" in stated
        else None,
    )


def _output(value: object) -> Output:
    stated = claims.fields(value, "output")
    claims.demand(
        set(stated) == {field.name for field in fields(Output)}, "output", "it has other fields than it must have"
    )
    kind, alert = claims.text(stated, "kind"), claims.text(stated, "alert")
    low, high = claims.number(stated["low"], "output"), claims.number(stated["high"], "output")
    claims.demand(low < high, "output", f"there is nothing between {low} and {high}")
    if not is_kind(kind) or not is_side(alert):
        raise BundleContentError(
            "output is of no known kind", where="manifest.json", why=f"{kind[:80]!r}, {alert[:80]!r}"
        )
    return Output(kind, low, high, claims.text(stated, "unit"), alert)


def _reference(stated: dict[str, object], names: tuple[str, ...]) -> dict[str, list[float]]:
    claims.demand(set(stated) <= set(names), "reference", "it names features that the feature set does not have")
    return {name: claims.edges(value, f"reference of {name}") for name, value in stated.items()}


def golden_json(golden: Golden) -> bytes:
    """The member ``golden.json``."""
    try:
        rows = [claims.nulled(row) for row in np.asarray(golden.rows, dtype=np.float64).tolist()]
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
    claims.demand(set(stated) == {"rows", "scores", "tolerance"}, where, "they are not rows, scores and tolerance")
    listed = [claims.unnulled(claims.items(row, where), where) for row in claims.items(stated["rows"], where)]
    scores = np.array(
        [claims.number(score, where) for score in claims.items(stated["scores"], where)], dtype=np.float64
    )
    tolerance = claims.number(stated["tolerance"], where)
    claims.demand(1 <= len(listed) <= GOLDEN_ROWS, where, f"{len(listed)} rows; 1 to {GOLDEN_ROWS} are read")
    claims.demand(
        all(len(row) == width for row in listed), where, f"not every row has the {width} features of the feature set"
    )
    claims.demand(len(scores) == len(listed), where, f"{len(scores)} scores for {len(listed)} rows")
    within = f"{output.low:g}..{output.high:g}"
    claims.demand(
        bool(np.all((scores >= output.low) & (scores <= output.high))), where, f"a score is not within {within}"
    )
    most = LARGEST_TOLERANCE * output.range
    claims.demand(0.0 < tolerance <= most, where, f"tolerance {tolerance} is not within 0..{most}")
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


def _cause(error: BaseException) -> str:
    return f"no {error} in it" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"[:300]
