"""The store of this Airflow, and one view of it for all who look.

Which store it is, is asked as a task would ask: the Airflow connection if there is one, else the environment, and the
file of the project. It is asked while a request is answered, never while Airflow starts, and anew twice a minute, so
that new keys are noticed.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from dags import settings
from dags.options import VARIABLES
from dags.tracking import service_environment
from pipelines import settings as project
from serving.fleet import FleetView
from serving.settings import KEYS
from serving.store import open_store

ANEW_S = 30.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where things are.

    Attributes:
        view: The store as the page shows it.
        registry: Address of the page of models in MLflow.
    """

    view: FleetView
    registry: str


class Sources:
    """Opens the store when it is first asked for, and again when its address or its keys have changed."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._asked = 0.0
        self._known: tuple[Mapping[str, str], Source] | None = None

    async def current(self) -> Source:
        """Return where things are now.

        Raises:
            TidemillError: The settings contradict each other, or the store cannot be opened.
        """
        async with self._lock:
            if self._known is None or time.monotonic() - self._asked > ANEW_S:
                storage = await service_environment(settings.STORE)
                registry = settings.registry_page(await service_environment(settings.TRACKING))
                if self._known is None or self._known[0] != storage or self._known[1].registry != registry:
                    view = await asyncio.to_thread(_open, storage)
                    self._known = storage, Source(view, registry)
                self._asked = time.monotonic()
            return self._known[1]


def _open(environment: Mapping[str, str]) -> FleetView:
    # Gateways, servers and DAGs share the environment with Airflow at times: their variables are no misspellings.
    chosen = project.load(environment, project.PROJECT_FILE, {}, frozenset(KEYS) | frozenset(VARIABLES))
    store = open_store(
        chosen.store,
        endpoint=environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL"),
        credentials=environment,
    )
    return FleetView(store, lambda: time.time_ns() // 1000)
