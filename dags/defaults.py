"""What all DAGs share: who owns them, and where their owner's work is to be seen."""

from datetime import timedelta
from typing import Any

from dags import settings

OWNER = "tidemill"
REGISTRY = settings.registry_page(settings.task_environment())
OWNER_LINKS = {OWNER: REGISTRY}
RETRY: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": 2.0}
"""For steps that change nothing when they run twice and may find a service away."""


def task_defaults(**more: Any) -> dict[str, Any]:
    """Return the arguments every task of a DAG starts from."""
    return {"owner": OWNER, "retries": 0, **more}
