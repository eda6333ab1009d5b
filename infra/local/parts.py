"""What the parts of the stack are: commands, environments, addresses, and how to tell that each answers."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path

from dags.options import VARIABLES
from infra.local import airflow_setup
from infra.local.airflow_client import OPENER, AirflowClient
from infra.local.errors import StackError
from infra.local.ports import LOOPBACK, free_port
from infra.local.process import Part
from infra.local.trace import MARK
from serving.store import open_store
from serving.trust.keys import create_keys
from serving.trust.publisher import Publisher

MLFLOW, AIRFLOW, SERVER, GATEWAYS = "mlflow", "airflow", "server", "gateways"
ALL = (MLFLOW, AIRFLOW, SERVER, GATEWAYS)
USUAL_PORTS = {MLFLOW: 5000, AIRFLOW: 8080, SERVER: 8090}
FIRST_GATEWAY_PORT = 8101
OUR_DAGS = ("approve", "ingest", "monitor", "release", "train")
BIN = Path(sys.executable).parent
ANSWER_WITHIN_S = 5.0
POLL_S = "2"
"""How often server and gateways look for a release: on one machine a look costs nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stack consists of.

    Attributes:
        root: Folder of everything the stack writes.
        store: URI of the object storage.
        environ: The environment its processes start from.
        dags: The folder that Airflow searches.
        usecase: The use case whose releases the gateways run.
        mark: The mark of its processes.
        urls: Address of each service by name; gateways are ``gateway-1`` and so on.
    """

    root: Path
    store: str
    environ: Mapping[str, str]
    dags: Path
    usecase: str
    mark: str
    urls: Mapping[str, str]

    @property
    def airflow_home(self) -> Path:
        """Folder of Airflow's database, secrets and task logs."""
        return self.root / "airflow"

    @property
    def keys(self) -> Path:
        """Folder of the keys that sign releases."""
        return Path(self.environ.get("TIDEMILL_KEYS") or self.root / "keys").resolve()

    @property
    def trusted_root(self) -> Path:
        """The root of trust that servers and gateways start from."""
        return self.root / "trust" / "root.json"

    def names(self, prefix: str) -> list[str]:
        """Return the names of the services that begin with ``prefix``."""
        return [name for name in self.urls if name.startswith(prefix)]

    def environment(self) -> dict[str, str]:
        """Return what every process of the stack is told."""
        kept = {name: value for name, value in self.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        # What runs on this machine is never reached through a proxy.
        local = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), LOOPBACK, "localhost"]))
        kept |= {"NO_PROXY": local, "no_proxy": local, "TIDEMILL_STORE": self.store, "TIDEMILL_KEYS": str(self.keys)}
        kept.setdefault("TIDEMILL_WORK", str(self.root / "work"))
        if MLFLOW in self.urls:
            kept["MLFLOW_TRACKING_URI"] = self.urls[MLFLOW]
        return kept

    def placement_environment(self) -> dict[str, str]:
        """Return what server and gateways are told: nothing that speaks to the DAGs, such as a password for mail."""
        return {name: value for name, value in self.environment().items() if name not in VARIABLES}


def choose_addresses(wanted: Collection[str], gateways: int) -> dict[str, str]:
    """Return an address for each service: the usual port, or a free one where it is taken."""
    usual = {name: port for name, port in USUAL_PORTS.items() if name in wanted}
    if GATEWAYS in wanted:
        usual |= {f"gateway-{n + 1}": FIRST_GATEWAY_PORT + n for n in range(gateways)}
    chosen: dict[str, int] = {}
    for name, port in usual.items():
        chosen[name] = free_port(port, chosen.values())
    return {name: f"http://{LOOPBACK}:{port}" for name, port in chosen.items()}


def make(plan: Plan) -> Iterator[Part]:
    """Yield the parts in the order of their start; what a part needs is prepared just before it is yielded.

    The slow ones come first, so that they start while the next ones are being prepared.
    """
    if MLFLOW in plan.urls:
        yield _mlflow(plan)
    if SERVER in plan.urls or plan.names("gateway-"):
        prepare_trust(plan)
    if AIRFLOW in plan.urls:
        yield from _airflow(plan)
    if SERVER in plan.urls:
        yield _server(plan)
    for name in plan.names("gateway-"):
        yield _gateway(plan, name)


def answers(url: str, accept: Callable[[bytes], bool] = lambda _body: True) -> bool:
    """Return whether a page is there (status 2xx) and its body is accepted."""
    try:
        with OPENER.open(url, timeout=ANSWER_WITHIN_S) as answer:
            return accept(answer.read())
    except (OSError, ValueError, HTTPException):
        return False


def prepare_trust(plan: Plan) -> None:
    """Make development keys and an empty update repository, and leave the root where parts look for it."""
    create_keys(plan.keys)
    publisher = Publisher(open_store(plan.store, create=True), plan.keys)
    publisher.initialise(time.time_ns() // 1000)
    plan.trusted_root.parent.mkdir(parents=True, exist_ok=True)
    plan.trusted_root.write_bytes(publisher.root_bytes())


def _mlflow(plan: Plan) -> Part:
    home = plan.root / "mlflow"
    home.mkdir(parents=True, exist_ok=True)
    url = plan.urls[MLFLOW]
    command = [
        str(BIN / "mlflow"), "server", "--host", LOOPBACK, "--port", _port(url), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination", str(home / "artifacts"), "--serve-artifacts",
    ]  # fmt: skip
    # Job execution is for GenAI scorers: it takes eight more processes and 1.3 GiB.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    return Part(MLFLOW, command, plan.environment() | quiet, lambda: answers(f"{url}/health"), url)


def _airflow(plan: Plan) -> Iterator[Part]:
    home, url = plan.airflow_home, plan.urls[AIRFLOW]
    secret = airflow_setup.prepare_secrets(home)
    environment = airflow_setup.airflow_environment(
        plan.environment(),
        home,
        plan.dags,
        int(_port(url)),
        secret,
    )
    _migrate(plan, environment)
    client = AirflowClient(url, airflow_setup.USER, secret.password)
    for name, arguments in airflow_setup.COMPONENTS.items():
        yield Part(
            name,
            [str(BIN / "airflow"), *arguments],
            environment,
            _airflow_check(name, url, client),
            url if name == "airflow-api" else "",
        )


def _server(plan: Plan) -> Part:
    url = plan.urls[SERVER]
    own = {
        "TIDEMILL_ROOT": str(plan.trusted_root),
        "TIDEMILL_SERVER_STATE": str(plan.root / "server"),
        "TIDEMILL_SERVER_HOST": LOOPBACK,
        "TIDEMILL_SERVER_PORT": _port(url),
        "TIDEMILL_SERVER_POLL_S": POLL_S,
    }
    command = [str(BIN / "tidemill-server")]
    return Part(SERVER, command, plan.placement_environment() | own, lambda: answers(f"{url}/v2/health/live"), url)


def _gateway(plan: Plan, name: str) -> Part:
    url = plan.urls[name]
    own = {
        "TIDEMILL_ROOT": str(plan.trusted_root),
        "TIDEMILL_GATEWAY_NAME": name,
        "TIDEMILL_GATEWAY_USECASE": plan.usecase,
        "TIDEMILL_GATEWAY_STATE": str(plan.root / "gateways" / name),
        "TIDEMILL_GATEWAY_HOST": LOOPBACK,
        "TIDEMILL_GATEWAY_PORT": _port(url),
        "TIDEMILL_GATEWAY_POLL_S": POLL_S,
        "PYTHONOPTIMIZE": "2",  # as in a gateway's own environment: no docstrings, 3 MiB less
    }
    command = [str(BIN / "tidemill-gateway"), "run"]
    # Not its health: a gateway that waits for its first release is up, and says that it cannot serve yet.
    return Part(name, command, plan.placement_environment() | own, lambda: answers(f"{url}/status"), url)


def _port(url: str) -> str:
    return url.rsplit(":", 1)[1]


def _airflow_check(name: str, url: str, client: AirflowClient) -> Callable[[], bool]:
    health = f"{url}/api/v2/monitor/health"
    if name == "airflow-api":
        # The first request to the execution API builds its routes, which takes seconds: better now than in a task.
        return lambda: answers(health) and answers(f"{url}/execution/health") and _has_pools(client)
    field = airflow_setup.HEALTH[name]

    def beats() -> bool:
        return answers(health, lambda body: json.loads(body)[field]["status"] == "healthy")

    return (lambda: beats() and _parsed(client)) if name == "airflow-parser" else beats


def _has_pools(client: AirflowClient) -> bool:
    """Make the pools before the scheduler finds tasks that wait for them."""
    client.make_pools(dict(airflow_setup.POOLS.values()))
    return True


def _parsed(client: AirflowClient) -> bool:
    if errors := client.import_errors():
        raise StackError("a DAG file cannot be imported", where=client.url, why=errors[0].strip().splitlines()[-1])
    return set(OUR_DAGS) <= set(client.dags())


def _migrate(plan: Plan, environment: Mapping[str, str]) -> None:
    """Bring Airflow's database to the installed version; a note beside it saves the four seconds of asking."""
    note, where = plan.airflow_home / "migrated", environment[airflow_setup.DATABASE]
    installed = f"{version('apache-airflow')} {hashlib.sha256(where.encode()).hexdigest()[:16]}"
    if note.exists() and note.read_text() == installed:
        return
    log = plan.root / "logs" / "airflow-migrate.log"
    with log.open("wb") as output:
        code = subprocess.run(
            [str(BIN / "airflow"), "db", "migrate"],
            env={**environment, MARK: plan.mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        raise StackError("Airflow's database cannot be brought up to date", where=str(log), why=log.read_text()[-500:])
    note.write_text(installed)
