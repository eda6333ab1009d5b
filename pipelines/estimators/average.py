"""Several estimators asked at once: their quantities are averaged.

Trees see steps and interactions, networks see slopes and sums of many noisy sensors; where both are about as good and
err on different rows, their mean errs less than either (Perrone and Cooper 1993). Every member is fitted on the same
rows, with a seed of its own, and the weights are equal: nothing is learned about which member to believe.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from pipelines.errors import UseCaseError
from pipelines.estimators.estimator import Estimator, Parameters, Rows, Space, Wooded
from pipelines.export import Tree
from pipelines.links import Nodes
from pipelines.tasks import Learns


class Average:
    """The mean of the quantities that its members give.

    Its parameter ``members`` holds pairs of an estimator's name and its parameters, two or more; a name may come twice.
    Log odds and shares of trees do not add up, so probabilities are not averaged.
    """

    name: ClassVar[str] = "average"
    learns: ClassVar[frozenset[Learns]] = frozenset({"quantity"})
    defaults: ClassVar[Parameters] = {"members": (("hist_gradient_boosting", {}), ("random_forest", {}))}
    space: ClassVar[Space] = {}

    def fit(self, rows: Rows, parameters: Parameters, seed: int) -> None:
        """Fit each member."""
        from pipelines.estimators import create  # noqa: PLC0415 - the register of all kinds imports this module

        given: Sequence[tuple[str, Mapping[str, Any]]] = {**self.defaults, **parameters}["members"]
        if len(given) < 2 or self.name in dict(given):  # noqa: PLR2004 - see the message
            raise UseCaseError(
                f"an average of {', '.join(name for name, _ in given) or 'nothing'}",
                where="parameter members of estimator average",
                fix="name two or more estimators, none of them an average",
            )
        self._members: list[Estimator] = []
        for number, (name, own) in enumerate(given):
            member = create(name, rows.learns)
            member.fit(rows, own, seed + number)
            self._members.append(member)

    def margin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean quantity."""
        total = self._members[0].margin(values)
        for member in self._members[1:]:
            total = total + member.margin(values)
        return np.asarray(total / len(self._members), dtype=np.float64)

    def nodes(self) -> Nodes:
        """Write the members one after the other, then their mean."""
        named = {"wide": "wide"}
        parts = [member.nodes().renamed(named, f"member_{number}_") for number, member in enumerate(self._members)]
        written = parts[0]
        total = "member_0_margin"
        for number, part in enumerate(parts[1:], start=1):
            adding = helper.make_node("Add", [total, f"member_{number}_margin"], [f"total_{number}"])
            written, total = written.followed_by(part).followed_by(Nodes([adding], {})), f"total_{number}"
        mean = helper.make_node("Div", [total, "members"], ["margin"])
        return written.followed_by(Nodes([mean], {"members": np.array([float(len(parts))])}))

    def thresholds(self) -> list[tuple[int, float]]:
        """Return the split points of all members."""
        return sorted({point for member in self._members for point in member.thresholds()})

    def trees(self) -> list[Tree]:
        """Return the trees of the members that have any."""
        return [tree for member in self._members if isinstance(member, Wooded) for tree in member.trees()]
