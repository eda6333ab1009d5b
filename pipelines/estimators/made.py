"""What somebody else's estimators have in common: what makes them, their parameters, and how they may be written."""

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Self

from pipelines.estimators.estimator import Parameters, Space
from pipelines.links import Nodes


class Made:
    """An estimator around something that a factory makes.

    Args:
        factory: Takes parameters by name and returns what is to be fitted.
        defaults: Parameters used where none are given.
        space: Where a search for parameters looks; empty for no search.
        nodes: Takes what was fitted and the number of features; returns the nodes for it, where no writer knows it.
    """

    usual: ClassVar[Parameters] = {}
    """Defaults of the kind, below those given."""

    def __init__(
        self,
        factory: Callable[..., Any],
        *,
        defaults: Parameters | None = None,
        space: Space | None = None,
        nodes: Callable[[Any, int], Nodes] | None = None,
    ) -> None:
        self._factory, self._own_nodes = factory, nodes
        self.defaults: Parameters = {**self.usual, **(defaults or {})}
        self.space: Space = dict(space or {})

    def fresh(self) -> Self:
        """Return one that was not fitted."""
        return copy.copy(self)
