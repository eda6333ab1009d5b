"""What a bundle says of its training rows for later comparison, besides the deciles of their features.

Specification. Field ``baseline`` of ``manifest.json``, left out in bundles that were made before there was one::

    {"rows": 12000, "missing": {"flow_mean_1h": 0.02, …}}

There are no scores in it. What a model says of rows it was fitted on is surer of itself than what it says in use, and
models fitted without a third of the devices, as a training rehearses with, spread wider: against either, a model would
seem to have moved on its first day (index 0.63 with a linear one). Scores of the test stand in the gate record of the
bundle (`pipelines.recording`), so that nothing of the test gets into the bundle.
"""

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
    """

    rows: int
    missing: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The field, as the specification says."""
        return {"rows": self.rows, "missing": dict(self.missing)}


def read_baseline(claimed: dict[str, object], names: tuple[str, ...]) -> Baseline:
    """The inverse of ``Baseline.to_json``, trusting nothing.

    Args:
        claimed: The field.
        names: Feature names.

    Raises:
        BundleContentError: A part is missing or wrong.
    """
    where = "baseline"
    claims.demand(set(claimed) == {"rows", "missing"}, where, "it is not rows and missing")
    rows = claimed["rows"]
    claims.demand(type(rows) is int and rows > 0, where, "rows is not a whole number above zero")
    shares = claims.fields(claimed["missing"], where)
    claims.demand(set(shares) <= set(names), where, "it names features that the feature set does not have")
    missing = {name: claims.number(share, where) for name, share in shares.items()}
    claims.demand(all(0 <= share <= 1 for share in missing.values()), where, "a share is not within 0..1")
    return Baseline(int(str(rows)), missing)
