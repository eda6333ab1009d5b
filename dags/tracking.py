"""A client of MLflow's HTTP interface, with the address and the credentials that the command would use."""

import httpx
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from dags import settings

TIMEOUT_S = 5.0


async def connect() -> httpx.AsyncClient:
    """Open a client: by the Airflow connection if there is one, else by the environment.

    Raises:
        MixedSourcesError: The environment says something that the connection leaves open.
        ConnectionFieldError: The connection holds a field that cannot be used, or cannot be read.
    """
    environment = await service_environment(settings.TRACKING)
    token = environment.get("MLFLOW_TRACKING_TOKEN")
    name = environment.get("MLFLOW_TRACKING_USERNAME")
    return httpx.AsyncClient(
        base_url=settings.tracking_uri(environment),
        headers={"Authorization": f"Bearer {token}"} if token else {},
        auth=(name, environment.get("MLFLOW_TRACKING_PASSWORD", "")) if name else None,
        timeout=TIMEOUT_S,
    )


async def service_environment(service: settings.Service) -> dict[str, str]:
    """Return the environment in which a command would find a service.

    Raises:
        MixedSourcesError: See ``connect``.
        ConnectionFieldError: See ``connect``.
    """
    connection = None
    try:
        connection = await Connection.async_get(service.connection)
    except AirflowNotFoundException:
        settings.refuse_unreadable(service.connection, settings.task_environment())
    return settings.command_environment({service.connection: connection}, settings.task_environment())
