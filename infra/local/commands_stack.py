"""Commands of the embedded stack: up, down."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.local.airflow_setup import USER
from infra.local.command import Outcome, Run, command
from infra.local.parameters import USECASE

if TYPE_CHECKING:
    from infra.local.stack import Stack

LOOK_S = 1.0
STATE = click.option(
    "--state", type=click.Path(path_type=Path), default=Path("build"), help="Folder of everything the stack writes."
)
ABOUT = {
    "mlflow": "runs, models, and the alias champion that releases a version",
    "server": "predictions over Open Inference Protocol V2",
}


@command(
    "Start MLflow, Airflow, the server and three gateways.",
    example="tidemill up --gateways 1",
    also="It runs until Ctrl-C or `tidemill down`. A part that ends by itself is started again. Airflow keeps its "
    "state in a file, or in the PostgreSQL that AIRFLOW__DATABASE__SQL_ALCHEMY_CONN names.",
)
@STATE
@click.option("--gateways", default=3, metavar="COUNT", help="How many gateways.")
@click.option(
    "--usecase",
    type=USECASE,
    help="The use case whose releases the gateways run.  [default: that of the demo in this folder, else pump_failure]",
)
def up(run: Run, state: Path, gateways: int, usecase: str | None) -> Outcome:
    """Run the stack until it is told to stop."""
    from infra.local.settings import environment  # noqa: PLC0415 - `--help` must not pay for the stack
    from infra.local.stack import Stack  # noqa: PLC0415 - see above

    stack = Stack(
        state,
        environment(),
        store=_store(run, state),
        gateways=gateways,
        usecase=usecase or _shown_last(state),
        progress=lambda name, seconds: run.console.say(f"{name} answers after {seconds:.1f} s"),
    )
    began = time.monotonic()
    try:
        with stack:
            for name, url, about in rows(stack):
                run.console.row(f"{name:<9}", f"{url:<22}", about)
            run.console.say(f"Up in {time.monotonic() - began:.0f} s. Logs: {state / 'logs'}. Ctrl-C stops everything.")
            while True:
                time.sleep(LOOK_S)
                for name in stack.revive():
                    run.console.say(f"{name} had ended and was started again, see {state / 'logs' / name}.log")
    except KeyboardInterrupt:
        return Outcome({"addresses": dict(stack.plan.urls)}, ["stopped"])


@command("Stop what `tidemill up` started.", example="tidemill down")
@STATE
def down(run: Run, state: Path) -> Outcome:  # noqa: ARG001 - every command has a run
    """Stop the stack of a folder."""
    from infra.local.stack import bring_down  # noqa: PLC0415 - `--help` must not pay for the stack

    count = bring_down(state)
    return Outcome({"processes": count}, [f"stopped {count} processes" if count else "nothing was running"])


def _store(run: Run, state: Path) -> str:
    """The store somebody named, else the one in the state folder."""
    chosen = next(shown for shown in run.settings.shown if shown.name == "store")
    store = str(state / "store") if chosen.source == "default" else run.settings.store
    return store if "://" in store else str(Path(store).resolve())


def _shown_last(state: Path) -> str:
    shown = state / "demo" / "usecase"
    return shown.read_text().strip() if shown.exists() else "pump_failure"


def rows(stack: "Stack") -> Sequence[tuple[str, str, str]]:
    """Return name, address and meaning of what people reach; the password only to a terminal."""
    login = stack.airflow_secrets
    secret = login.password if sys.stdout.isatty() else f"in {login.password_file}"
    about = ABOUT | {"airflow": f"DAGs; user {USER}, password {secret}"}
    return [(name, url, about.get(name, "telemetry in, alerts out: /status")) for name, url in stack.plan.urls.items()]
