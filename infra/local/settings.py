"""The environment of the command line, read here and nowhere else in ``infra.local``."""

import os
from collections.abc import Mapping

from dags.options import VARIABLES
from pipelines.settings import PROJECT_FILE, Settings, load
from serving.settings import KEYS


def settings(store: str | None = None, tracking: str | None = None) -> Settings:
    """Gather the settings of this call: flags before environment before project file before defaults.

    Raises:
        SettingsError: Names nobody knows, all at once.
    """
    flags = {"store": store, "tracking": tracking}
    # Gateway, server and DAGs often share the environment: their variables are no misspellings.
    return load(environment(), PROJECT_FILE, flags, frozenset(KEYS) | frozenset(VARIABLES))


def environment() -> Mapping[str, str]:
    """The environment of this process."""
    return dict(os.environ)


def colour_wanted() -> bool:
    """Whether the environment leaves colours on (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
