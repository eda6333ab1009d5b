"""Estimators: the kinds of model that can be fitted, behind one small interface.

    estimator.py  the interface
    linear.py     a weighted sum
    boosting.py   boosted trees
    forest.py     averaged trees
    average.py    several of these at once

An estimator is fitted once, gives a *margin* in float64 and writes itself as ONNX nodes. What turns margins into scores
is learned beside it (``pipelines.fitting``). The float64 margin is the reference against which the exported model is
held on every test row.

How to add one: write a class with the members of ``Estimator``, register it in ``ESTIMATORS``, add its name to
``pipelines.usecases.ESTIMATORS``. The parity tests collect it from there.

Fits are deterministic on every machine: seeded, and boosting runs on one thread, because the order in which threads add
gradients shows in the last bits and thereby in the digest of the bundle.
"""

import difflib
from collections.abc import Mapping

from pipelines.errors import UnknownNameError, UseCaseError
from pipelines.estimators.average import Average
from pipelines.estimators.boosting import HistGradientBoosting
from pipelines.estimators.estimator import Estimator, Parameters, Rows, Space
from pipelines.estimators.forest import RandomForest
from pipelines.estimators.linear import Linear
from pipelines.tasks import Learns

__all__ = ["ESTIMATORS", "Estimator", "Parameters", "Rows", "Space", "able", "create"]

ESTIMATORS: Mapping[str, type[Estimator]] = {
    kind.name: kind for kind in (HistGradientBoosting, RandomForest, Linear, Average)
}


def create(name: str, learns: Learns) -> Estimator:
    """Return a new estimator of this name, for what is to be learned.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest.
        UseCaseError: It cannot learn that; the message names those that can.

    Example:
        >>> create("linear", "quantity").name
        'linear'
    """
    if name not in ESTIMATORS:
        close = difflib.get_close_matches(name, ESTIMATORS, n=1)
        fix = f"did you mean {close[0]}?" if close else f"known are {', '.join(ESTIMATORS)}"
        raise UnknownNameError(f"there is no estimator {name!r}", fix=fix)
    if learns not in ESTIMATORS[name].learns:
        fix = f"use one of {', '.join(able(learns))}"
        raise UseCaseError(f"estimator {name!r} cannot learn a {learns}", where="use case", fix=fix)
    return ESTIMATORS[name]()


def able(learns: Learns) -> list[str]:
    """Return the estimators that can learn something, by name."""
    return [name for name, kind in ESTIMATORS.items() if learns in kind.learns]
