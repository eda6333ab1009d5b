"""The use cases: what is foreseen for which fleet, with what, and how good it has to be. One short file each.

    >>> from pipelines import usecases
    >>> usecases.load("pump_failure").label.name
    'failure_within_24h'

To add one, add a module that sets ``USECASE``; it is found by its name. Its features come from the catalog entry of its
fleet. Everything but name, title, fleet and label has a default that is meant to be kept until there is a reason.

Why so: a use case is Python, not YAML. A misspelt field is an error where it stands, an editor completes it, and a
data scientist reads the meaning of a limit where it is set. Cost: a use case is code and is reviewed as such.
"""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from features import catalog
from features.featureset import FeatureSet
from features.schema import Fleet
from pipelines.errors import UnknownNameError, UseCaseError
from pipelines.labels import Label
from pipelines.rules import BUDGETS, Alerting, GateRules, Promotion
from pipelines.split import Split
from serving.policy import AT_ONCE, Rollout

# Spelt out here so that reading use cases loads no learning library; a test holds them against pipelines.estimators.
ESTIMATORS = (
    "hist_gradient_boosting",
    "random_forest",
    "linear",
    "pca",
    "isolation_forest",
    "mlp",
    "average",
    "torch_cnn",
    "torch_autoencoder",
    "keras_cnn",
    "keras_autoencoder",
)
AUTOMATIC = "automatic"
"""In place of an estimator, for one training: a search finds out which one does best (`pipelines.searching`)."""
_DOTTED = re.compile(r"[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)*:[a-zA-Z_]\w*")


@dataclass(frozen=True, slots=True)
class UseCase:
    """One thing to foresee.

    Attributes:
        name: Its name everywhere: registry, releases, prediction logs. ``[a-z][a-z0-9_]*``, the name of its module.
        title: A few words for people.
        fleet: Fleet of the catalog whose features the model sees.
        label: What is foreseen, and how far ahead.
        estimator: One of ``ESTIMATORS``, of which a training may ask for another; or ``"package.module:name"``, one of
            your own (``pipelines.estimators``).
        parameters: Those of the estimator that differ from its defaults.
        calibration: From margins to probabilities: ``"sigmoid"``, or ``"isotonic"`` where there are thousands of rows
            with either answer.
        search: Where a search for parameters looks, ``{"max_leaf_nodes": (7, 63)}``; empty for the estimator's own.
        split: How history is cut into training and test.
        gate: What a candidate has to reach.
        placements: Where it is to run; each brings its budget of time and size.
        pane_graph: Whether the bundle also holds the graph from panes to score, for runtimes without our feature code.
        alerting: When to alert: by cost, by a budget of false alarms, or from a declared value on.
        rollout: How its releases spread over gateways, and who has to approve.
        owner: Who answers for it: a team or an address, for the model card.
        promotion: When a challenger may become champion without anybody; never, by default.
        feature_set: Features of the fleet in place of the catalog's: for a model that looks along time, which sees the
            last rows (``features.feature.lagged``), and as a training makes them that learns regimes.
    """

    name: str
    title: str
    fleet: str
    label: Label
    estimator: str = "hist_gradient_boosting"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    calibration: Literal["sigmoid", "isotonic"] = "sigmoid"
    search: Mapping[str, Any] = field(default_factory=dict)
    split: Split = field(default_factory=Split)
    gate: GateRules = field(default_factory=GateRules)
    placements: tuple[str, ...] = ("gateway", "cloud")
    pane_graph: bool = False
    alerting: Alerting = field(default_factory=Alerting)
    rollout: Rollout = AT_ONCE
    owner: str = ""
    promotion: Promotion = field(default_factory=Promotion)
    feature_set: FeatureSet | None = None

    def __post_init__(self) -> None:
        _demand(self.name.isidentifier() and self.name.islower(), "name", self.name, "lower case, digits and _")
        known = self.estimator in ESTIMATORS or _DOTTED.fullmatch(self.estimator) is not None
        _demand(known, "estimator", self.estimator, f"one of {', '.join(ESTIMATORS)}, or 'package.module:name'")
        _demand(self.fleet in catalog.names(), "fleet", self.fleet, f"one of {', '.join(catalog.names())}")
        known = bool(self.placements) and set(self.placements) <= set(BUDGETS)
        _demand(known, "placements", ", ".join(self.placements), f"of {', '.join(BUDGETS)}")
        if "gateway" in self.placements:
            self._check_heard()
        _demand(
            _cuts(self.split), "split", f"{self.split.test_devices}, {self.split.test_time}", "shares from 0 to below 1"
        )
        bounds = self.promotion
        known = 0 <= bounds.min_agreement <= 1 and bounds.min_judged > 0 and bounds.surely_above >= 0
        _demand(known, "promotion", bounds.sentence, "judged by something, an agreement from 0 to 1, a gain above 0")
        _demand(self.label.horizon >= timedelta(0), "label", str(self.label.horizon), "a horizon from zero on")

    def _check_heard(self) -> None:
        """Make sure that a gateway can read what devices send; its trial would refuse the bundle, days later."""
        stored = self.fleet_schema.mapping.storage_only
        if stored:
            raise UseCaseError(
                f"a gateway cannot hear the fleet {self.fleet}: its mapping asks for {stored}",
                where=f"use case {self.name}",
                why="devices send single JSON records; only stored objects have keys, envelopes and files",
                fix="declare what devices send as mapping= and how it lies as stored=, or leave out the gateway",
            )

    @property
    def fleet_schema(self) -> Fleet:
        """The fleet, from the catalog."""
        return catalog.load(self.fleet).fleet

    @property
    def features(self) -> FeatureSet:
        """The features the model sees: those of the fleet in the catalog, if no others are given."""
        return catalog.load(self.fleet).features if self.feature_set is None else self.feature_set


def names() -> list[str]:
    """Return the names of the use cases, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> UseCase:
    """Return a use case.

    Raises:
        UnknownNameError: There is no module of that name; the message suggests the nearest.
        UseCaseError: The module declares no use case, or one of another name.

    Example:
        >>> load("pump_failur")
        Traceback (most recent call last):
        ...
        pipelines.errors.UnknownNameError: there is no use case 'pump_failur' (pipelines/usecases).
        Fix: did you mean pump_failure?
    """
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        fix = f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"
        raise UnknownNameError(f"there is no use case {name!r}", where="pipelines/usecases", fix=fix)
    found = getattr(importlib.import_module(f"{__name__}.{name}"), "USECASE", None)
    if not isinstance(found, UseCase) or found.name != name:
        where = f"pipelines/usecases/{name}.py"
        raise UseCaseError("the module declares no use case of its name", where=where, fix="set USECASE")
    return found


def _cuts(split: Split) -> bool:
    """Whether a split cuts something off, and not everything; what an anomaly is judged with, its label cuts off."""
    shares = [share for share in (split.test_devices, split.test_time) if isinstance(share, float | int)]
    return all(0 <= share < 1 for share in shares)


def _demand(met: bool, name: str, value: str, allowed: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not met:
        raise UseCaseError(f"{name} is {value!r}", where="use case", fix=f"it must be {allowed}")
