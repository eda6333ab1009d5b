"""What a bundle says of its training rows for later comparison, besides the deciles of their features.

Specification. Field ``baseline`` of ``manifest.json``, left out in bundles that were made before there was one::

    {"rows": 12000, "missing": {"flow_mean_1h": 0.02, …}, "scores": [11 deciles, from minimum to maximum]}

``scores`` are those of models that had not seen the device of the row: what a model says of rows it was fitted on is
surer of itself than what it says in use, and every model would seem to have moved on its first day.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving import claims


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the training rows were like.

    Attributes:
        rows: How many there were.
        missing: Share of the rows without a value, by feature, 0..1.
        scores: Deciles of their scores, 11 edges from minimum to maximum.
    """

    rows: int
    missing: Mapping[str, float]
    scores: list[float]

    def to_json(self) -> dict[str, Any]:
        """The field, as the specification says."""
        return {"rows": self.rows, "missing": dict(self.missing), "scores": list(self.scores)}


def read_baseline(claimed: dict[str, object], names: tuple[str, ...]) -> Baseline:
    """The inverse of ``Baseline.to_json``, trusting nothing.

    Args:
        claimed: The field.
        names: Feature names.

    Raises:
        BundleContentError: A part is missing or wrong.
    """
    where = "baseline"
    claims.demand(set(claimed) == {"rows", "missing", "scores"}, where, "it is not rows, missing and scores")
    rows = claimed["rows"]
    claims.demand(type(rows) is int and rows > 0, where, "rows is not a whole number above zero")
    shares = claims.fields(claimed["missing"], where)
    claims.demand(set(shares) <= set(names), where, "it names features that the feature set does not have")
    missing = {name: claims.number(share, where) for name, share in shares.items()}
    claims.demand(all(0 <= share <= 1 for share in missing.values()), where, "a share is not within 0..1")
    scores = claims.edges(claimed["scores"], f"scores of the {where}")
    claims.demand(not math.isnan(scores[0]), where, "its scores are missing")
    return Baseline(int(str(rows)), missing, scores)
