"""Libraries that come as an extra: whether they are here, and what to do where they are not."""

import importlib
import importlib.util
from typing import Any

from pipelines.errors import ExtraMissingError

EXTRAS = {"torch": ("torch", "make torch"), "keras": ("tensorflow", "pip install 'tidemill[tensorflow]'")}
"""By the module that is imported: the extra, and how to install it."""


def installed(module: str) -> bool:
    """Whether a library can be imported, without doing it."""
    needed = (module, "tensorflow") if module == "keras" else (module,)
    return all(importlib.util.find_spec(name) is not None for name in needed)


def demand(module: str, estimator: str) -> None:
    """Refuse an estimator whose library is not here.

    Raises:
        ExtraMissingError: It is not; the message names the extra.
    """
    if not installed(module):
        extra, fix = EXTRAS[module]
        raise ExtraMissingError(
            f"estimator {estimator!r} needs the extra {extra!r}, which is not installed here",
            fix=f"{fix}, or use another estimator",
        )


def imported(module: str) -> Any:
    """Return the library."""
    return importlib.import_module(module)
