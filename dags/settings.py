"""The environment of the DAGs: the one module that reads it, and what it hands on to the command.

Operators keep keys in Airflow connections, data scientists in ``AWS_*`` variables. Both work: when the connection
``aws_default`` or ``mlflow_default`` exists, it is handed to the command as standard variables; when it does not, the
environment is left alone. A connection counts as one set: what it does not say may not come from the environment.
Connections are looked up inside a running task only, never while a DAG file is parsed.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from dags.errors import ConnectionFieldError, MixedSourcesError, ScheduleError
from dags.options import Options, gather, shown
from pipelines.settings import PROJECT_FILE

DEFAULT_TRACKING = "http://127.0.0.1:5000"


class Connection(Protocol):
    """What is read of an Airflow connection."""

    conn_id: str
    host: str | None
    login: str | None
    password: str | None
    port: int | None
    extra: str | None

    @property
    def extra_dejson(self) -> dict[str, object]:
        """Its extra fields; Airflow covers them in logs from here on."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """A service with credentials.

    Attributes:
        connection: Id of its Airflow connection.
        kinds: What makes up its set, and the variables that carry each.
    """

    connection: str
    kinds: Mapping[str, tuple[str, ...]]


STORE = Service(
    "aws_default",
    {
        "keys": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
        "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "region": ("AWS_DEFAULT_REGION", "AWS_REGION"),
    },
)
TRACKING = Service(
    "mlflow_default",
    {
        "address": ("MLFLOW_TRACKING_URI",),
        "keys": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    },
)
SERVICES = (STORE, TRACKING)

_AWS_EXTRA = {
    "aws_session_token": "AWS_SESSION_TOKEN",
    "profile_name": "AWS_PROFILE",
    "endpoint_url": "AWS_ENDPOINT_URL_S3",
    "region_name": "AWS_DEFAULT_REGION",
}
# Airflow's own configuration holds secrets the command has no use for: the key of its API, its database, mail servers.
_OF_AIRFLOW = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "_AIRFLOW_", "TIDEMILL_NOTIFY_", "TIDEMILL_WEBHOOK_")


def command_environment(connections: Mapping[str, Connection | None], environ: Mapping[str, str]) -> dict[str, str]:
    """Build the environment of a command.

    Args:
        connections: The connections by id; None where Airflow knows none.
        environ: The environment of the task.

    Returns:
        ``environ`` without Airflow's own configuration, with the connections in place of the variables they replace.

    Raises:
        MixedSourcesError: The environment says something of a service that its connection leaves open.
        ConnectionFieldError: A connection holds a field that cannot be handed on.

    Example:
        >>> command_environment({"aws_default": None}, {"AWS_PROFILE": "plant", "AIRFLOW__API__PORT": "8080"})
        {'AWS_PROFILE': 'plant'}
    """
    result = {name: value for name, value in environ.items() if not name.startswith(_OF_AIRFLOW)}
    for service in SERVICES:
        connection = connections.get(service.connection)
        given = variables_of(service, connection) if connection is not None else {}
        if not given:
            continue
        _refuse_mixed(service, given, result)
        for names in service.kinds.values():
            for name in names:
                result.pop(name, None)
        result.update(given)
    return result


def variables_of(service: Service, connection: Connection) -> dict[str, str]:
    """Translate a connection into the variables of its service; what it leaves open is missing.

    Raises:
        ConnectionFieldError: It holds a field that cannot be handed on.
    """
    extra = connection.extra_dejson if connection.extra else {}
    where = f"extra of the Airflow connection {connection.conn_id}"
    if connection.extra and not extra and connection.extra.strip() != "{}":
        raise ConnectionFieldError("the extra fields are no JSON object", where=where)
    if service is STORE:
        unknown = sorted(name for name, value in extra.items() if value and name not in _AWS_EXTRA)
        if unknown:
            raise ConnectionFieldError(
                f"the field {', '.join(unknown)} cannot be handed to the tidemill command",
                where=where,
                why=f"known are {', '.join(sorted(_AWS_EXTRA))}, login and password",
                fix="describe roles in a profile of ~/.aws/config and name it as profile_name",
            )
        found = {variable: extra.get(name) for name, variable in _AWS_EXTRA.items()}
        found |= {"AWS_ACCESS_KEY_ID": connection.login, "AWS_SECRET_ACCESS_KEY": connection.password}
    else:
        found = {
            "MLFLOW_TRACKING_URI": _address(connection),
            "MLFLOW_TRACKING_USERNAME": connection.login,
            "MLFLOW_TRACKING_PASSWORD": connection.password,
            "MLFLOW_TRACKING_TOKEN": extra.get("token"),
        }
    return {name: str(value) for name, value in sorted(found.items()) if value}


def refuse_unreadable(name: str, environ: Mapping[str, str]) -> None:
    """Refuse a connection that Airflow does not find although a variable defines it.

    Airflow passes over a variable it cannot read, as if the connection did not exist; keys of the environment would
    then be used in its place.

    Raises:
        ConnectionFieldError: There is such a variable.
    """
    variable = f"AIRFLOW_CONN_{name.upper()}"
    if environ.get(variable):
        raise ConnectionFieldError(
            "the connection cannot be read",
            where=variable,
            why="Airflow finds no connection in it",
            fix="percent-encode what follows the question mark, or write it as JSON",
        )


def task_environment() -> dict[str, str]:
    """Return the environment of this process."""
    return dict(os.environ)


def options(file: Path = PROJECT_FILE) -> Options:
    """Return what people chose about the DAGs, in the environment and in the file where Airflow was started.

    Raises:
        ScheduleError: The file cannot be read, or holds an entry that nobody knows.
    """
    return gather(task_environment(), _project(file))


def chosen(file: Path = PROJECT_FILE) -> list[tuple[str, str, str]]:
    """Return the same as name, value and source, fit for display."""
    return shown(task_environment(), _project(file))


def _project(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text()) if file.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScheduleError("the file cannot be read as TOML", where=str(file.absolute()), why=str(error)) from error


def work_folder() -> Path:
    """Return the scratch folder of this machine, as the command has it."""
    return Path(os.environ.get("TIDEMILL_WORK") or "build/work")


def run_page(dag: str, run: str) -> str:
    """Return the page of a run in Airflow."""
    base = os.environ.get("AIRFLOW__API__BASE_URL", "http://localhost:8080").rstrip("/")
    return f"{base}/dags/{quote(dag, safe='')}/runs/{quote(run, safe='')}"


def tracking_uri(environ: Mapping[str, str]) -> str:
    """Return the address of the MLflow server that an environment names."""
    return environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING


def webhook_secret() -> bytes | None:
    """Return what MLflow signs its webhooks with; None where they are off.

    Raises:
        ConnectionFieldError: The file cannot be read, or is empty.
    """
    path = options().webhook.get("secret_file")
    if not path:
        return None
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConnectionFieldError(
            "the secret of webhooks cannot be read", where="[webhook] secret_file", why=str(error)
        ) from error
    if not secret:
        raise ConnectionFieldError("the secret of webhooks is empty", where=path, fix="put the secret into the file")
    return secret


def registry_page(environ: Mapping[str, str]) -> str:
    """Return the address of MLflow's list of models, without credentials, for links in the user interface.

    Example:
        >>> registry_page({"MLFLOW_TRACKING_URI": "https://me:secret@mlflow.plant.example:8443"})
        'https://mlflow.plant.example:8443/#/models'
    """
    parts = urlsplit(tracking_uri(environ))
    if parts.scheme not in {"http", "https"}:
        parts = urlsplit(DEFAULT_TRACKING)
    return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path.rstrip("/") + "/", "", "/models"))


def _address(connection: Connection) -> str | None:
    """An MLflow connection keeps its address in the host, with or without ``https://`` before it."""
    if not connection.host:
        return None
    address = connection.host if "://" in connection.host else f"http://{connection.host}"
    return f"{address}:{connection.port}" if connection.port else address


def _refuse_mixed(service: Service, given: Mapping[str, str], environ: Mapping[str, str]) -> None:
    for kind, names in service.kinds.items():
        from_environment = [name for name in names if environ.get(name)]
        if from_environment and not any(name in given for name in names):
            of_connection = ", ".join(kind for kind, names in service.kinds.items() if any(n in given for n in names))
            raise MixedSourcesError(
                f"the {kind} would come from the environment ({', '.join(from_environment)}) and the {of_connection} "
                f"from the Airflow connection {service.connection}",
                why="a set of credentials comes from one place",
                fix=f"put the {kind} into the connection, or remove the connection and use the environment alone",
            )
