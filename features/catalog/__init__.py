"""The feature sets in use, one module per fleet. This is the folder a data scientist edits.

    >>> from features.catalog import load
    >>> entry = load("pumps")
    >>> entry.fleet.signal_names[0], entry.features.names[0]
    ('vibration', 'vibration_mean_1h')

To add a feature, add one line to ``FEATURES`` of the fleet's module; its parity tests come by themselves. To add a
fleet, add a module that sets ``FLEET`` and ``FEATURES``; it is found by its name.
"""

import difflib
import importlib
import pkgutil
from dataclasses import dataclass

from features.errors import UnknownEntryError
from features.featureset import FeatureSet
from features.schema import Fleet


@dataclass(frozen=True, slots=True)
class Entry:
    """What a catalog module declares: a fleet and the features computed from it."""

    fleet: Fleet
    features: FeatureSet


def names() -> list[str]:
    """The names of the fleets in the catalog, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Entry:
    """The entry of a fleet.

    Raises:
        UnknownEntryError: There is no module of that name in the catalog, or it lacks ``FLEET`` or ``FEATURES``.
    """
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        raise UnknownEntryError(
            f"the catalog has no fleet '{name}'" + (f"; did you mean '{close[0]}'?" if close else ""),
            where="features/catalog",
            fix=f"use one of {', '.join(known)}",
        )
    module = importlib.import_module(f"{__name__}.{name}")
    fleet, features = getattr(module, "FLEET", None), getattr(module, "FEATURES", None)
    if not (isinstance(fleet, Fleet) and isinstance(features, FeatureSet)):
        raise UnknownEntryError(
            f"the catalog module '{name}' declares no fleet",
            where=f"features/catalog/{name}.py",
            fix="set FLEET to a Fleet and FEATURES to a FeatureSet",
        )
    return Entry(fleet, features)
