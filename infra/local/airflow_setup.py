"""How Airflow is set up for one machine: everything by environment variables, no ``airflow.cfg`` to keep.

Measured traps behind these lines: the address of the execution API must follow a moved port; log servers listen on all
interfaces, so they are left out (tasks, triggers and pages share one disk); without a name for this host Airflow asks
the network for one; the secret that signs tokens needs 64 bytes.
"""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.ports import LOOPBACK

USER = "admin"
SECRETS = "secrets.json"
PASSWORDS = "passwords.json"
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "airflow-api": ("api-server",),
    "airflow-scheduler": ("scheduler", "--skip-serve-logs"),
    "airflow-parser": ("dag-processor",),
    "airflow-triggerer": ("triggerer", "--skip-serve-logs"),
}
# Where the health page of the API speaks of each component.
HEALTH: Mapping[str, str] = {
    "airflow-scheduler": "scheduler",
    "airflow-parser": "dag_processor",
    "airflow-triggerer": "triggerer",
}


DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
POOLS: Mapping[str, tuple[str, int]] = {"ingest": ("tidemill_ingest", 2), "train": ("tidemill_train", 2)}
"""Pools by kind of work, with their slots: together one less than tasks may run at once, so a release never waits."""
AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is made once for a folder and kept: the keys of Airflow and the password of its user.

    Attributes:
        jwt: Signs the tokens of the API.
        session: Signs the cookies of the pages.
        fernet: Covers connections in the database.
        password: Password of the user ``admin``.
        password_file: Where people find it.
    """

    jwt: str
    session: str
    fernet: str
    password: str
    password_file: Path


def prepare_secrets(home: Path) -> Secrets:
    """Make the secrets on the first start, read them afterwards; only the owner may read the files."""
    home.mkdir(parents=True, exist_ok=True)
    kept = home / SECRETS
    if not kept.exists():
        made = {
            "jwt": secrets.token_hex(32),
            "session": secrets.token_hex(32),
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        _write_private(kept, made)
    if not (home / PASSWORDS).exists():
        _write_private(home / PASSWORDS, {USER: secrets.token_urlsafe(12)})
    passwords = json.loads((home / PASSWORDS).read_text())
    return Secrets(**json.loads(kept.read_text()), password=passwords[USER], password_file=home / PASSWORDS)


def airflow_environment(
    environ: Mapping[str, str], home: Path, dags: Path, port: int, secret: Secrets
) -> dict[str, str]:
    """Return the environment of every Airflow process.

    Args:
        environ: What is kept: everything but settings of another Airflow. Connections stay, and the address of a
            PostgreSQL that somebody has for it.
        home: Folder of the database and the logs of tasks.
        dags: The folder that is searched for DAGs.
        port: Port of the API and the pages.
        secret: From ``prepare_secrets``.
    """
    kept = {name: value for name, value in environ.items() if not _of_airflow(name)}
    kept |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(AT_ONCE),
        "AIRFLOW__CORE__FERNET_KEY": secret.fernet,
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{LOOPBACK}:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS),
        DATABASE: database(environ, home),
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://{LOOPBACK}:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secret.session,
        "AIRFLOW__API__INSTANCE_NAME": "Tidemill",
        "AIRFLOW__API_AUTH__JWT_SECRET": secret.jwt,
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        # Also how long the end of a task may stay unnoticed: every tenth task took five seconds longer.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # A task that was killed is given up after half a minute, not after five. Two settings, because a scheduler
        # looks after the tasks of its own life by the first, and after those of one that died by the second.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        # Tasks that were due while the stack was down begin before the API answers.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "false",
    }
    for kind, (pool, _slots) in POOLS.items():
        kept.setdefault(f"TIDEMILL_POOL_{kind.upper()}", pool)
    return kept


def database(environ: Mapping[str, str], home: Path) -> str:
    """Return the address of Airflow's database: a PostgreSQL that somebody has for it, else a file.

    Example:
        >>> database({}, Path("/srv/airflow"))
        'sqlite:////srv/airflow/airflow.db'
        >>> database({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://me@db/airflow"}, Path("/srv"))
        'postgresql://me@db/airflow'
    """
    named = environ.get(DATABASE, "")
    return named if named.startswith("postgresql") else f"sqlite:///{home / 'airflow.db'}"


def _of_airflow(name: str) -> bool:
    return name.startswith("AIRFLOW") and not name.startswith("AIRFLOW_CONN_")


def _write_private(path: Path, content: Mapping[str, str]) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(content) + "\n")
