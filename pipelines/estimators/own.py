"""Estimators that a use case brings along, by dotted name: ``package.module:name``."""

import importlib
from typing import Any, cast

from pipelines.errors import UnknownNameError, UseCaseError
from pipelines.estimators.estimator import Estimator
from pipelines.estimators.plugged import Plugged
from pipelines.estimators.plugged_module import PluggedModule

_MEMBERS = ("fit", "margin", "nodes", "thresholds")
_MODULE = "torch.nn.modules.module"


def brought(name: str) -> Estimator:
    """Return a new estimator of a dotted name. The code it names is run.

    Raises:
        UnknownNameError: There is no such module, or nothing of that name in it.
        UseCaseError: What it names cannot be made an estimator of.
    """
    where, _, what = name.partition(":")
    try:
        found = getattr(importlib.import_module(where), what)
    except ModuleNotFoundError as error:
        fix = "install the package where trainings run, or put its folder into PYTHONPATH"
        raise UnknownNameError(f"there is no module {error.name!r}", where=f"estimator {name!r}", fix=fix) from error
    except AttributeError as error:
        raise UnknownNameError(f"there is no {what!r} in it", where=f"estimator {name!r}", why=str(error)) from error
    if isinstance(found, Plugged | PluggedModule):
        return cast("Estimator", found.fresh())
    if isinstance(found, type) and all(hasattr(found, member) for member in _MEMBERS):
        return cast("Estimator", found())
    if not callable(found):
        raise UseCaseError(
            f"{what!r} is a {type(found).__name__}",
            where=f"estimator {name!r}",
            fix="name a class, or a function that returns an estimator: see pipelines/estimators/__init__.py",
        )
    return cast("Estimator", PluggedModule(found) if _is_module(found) else Plugged(found))


def _is_module(found: Any) -> bool:
    """Whether it is a class of torch modules, asked without loading torch."""
    return isinstance(found, type) and any(kind.__module__ == _MODULE for kind in found.__mro__)
