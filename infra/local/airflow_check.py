"""Is Airflow as the DAGs need it? Checks for `tidemill doctor`: choices that cannot be used, pools, paused DAGs."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from dags import notify, options, pods, schedules, settings
from dags.errors import ScheduleError
from infra.local.airflow_client import AirflowClient
from infra.local.airflow_setup import POOLS, USER, prepare_secrets
from infra.local.doctor import Finding
from infra.local.errors import AirflowRequestError
from infra.local.stack import read_state

PATIENCE_S = 60.0
NEEDED = ("ingest", "release")
"""DAGs without which nothing arrives: paused, they are worth a remark."""


def examine(state: Path = Path("build")) -> Iterable[Finding]:
    """Look at what people chose about the DAGs, and at the Airflow of the stack in a folder if one runs."""
    try:
        chosen = settings.options()
    except ScheduleError as error:
        return [Finding("dags", "fail", str(error), error.fix)]
    return [choices(chosen), airflow(state, chosen)]


def choices(chosen: options.Options) -> Finding:
    """Can every choice about the DAGs be used?"""
    wrong = [*schedules.problems(chosen.schedules, chosen.deadlines), *notify.problems(chosen.notifications)]
    for dag, entries in chosen.pods.items():
        try:
            pods.executor_config(dag, {dag: entries})
        except ScheduleError as error:
            wrong.append(str(error))
    if wrong:
        return Finding("dags", "fail", "; ".join(wrong), "correct tidemill.toml, or the variable TIDEMILL_…")
    timers = [f"{dag} {schedules.cron(dag, chosen.schedules)}" for dag in schedules.TIMINGS]
    told = "failures are told" if notify.configured(chosen.notifications) else "nobody is told of failures"
    return Finding("dags", "ok", f"{', '.join(timers).replace(' None', ' off')}; {told}")


def airflow(state: Path, chosen: options.Options) -> Finding:
    """Are the pools there, and is nothing paused that should run?"""
    running = read_state(state)
    if running is None or "airflow-api" not in running.urls:
        return own_airflow(chosen.pools)
    client = AirflowClient(running.urls["airflow-api"], USER, prepare_secrets(state.resolve() / "airflow").password)
    try:
        return judge(client.pools(), client.paused(), client.import_errors(), dict(POOLS.values()))
    except AirflowRequestError as error:
        return Finding("airflow", "fail", str(error), "tidemill down, then tidemill up")


def own_airflow(pools: Mapping[str, str]) -> Finding:
    """Ask an Airflow of somebody's own, by its own command; only where pools were named, because it takes seconds."""
    if not pools:
        return Finding("airflow", "ok", "no pools are named: every task waits in the default pool")
    command = [str(Path(sys.executable).with_name("airflow")), "pools", "list", "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        found = {entry["pool"]: int(entry["slots"]) for entry in json.loads(done.stdout[done.stdout.index("[") :])}
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        return Finding(
            "airflow", "warn", f"the pools of Airflow cannot be listed: {error}", "set AIRFLOW_HOME to that of Airflow"
        )
    return judge(found, [], [], dict.fromkeys(pools.values(), 1))


def judge(pools: Mapping[str, int], paused: Iterable[str], errors: Iterable[str], needed: Mapping[str, int]) -> Finding:
    """Say what of Airflow is not as it should be.

    Args:
        pools: Slots by pool, as Airflow has them.
        paused: The DAGs that are paused.
        errors: What keeps files from being parsed.
        needed: Pools that tasks wait in, and how many slots to make them with.

    Example:
        >>> judge({"default_pool": 128}, [], [], {"tidemill_train": 2}).fix
        'airflow pools set tidemill_train 2 Tidemill'
    """
    if broken := [error.strip().splitlines()[-1] for error in errors]:
        return Finding("airflow", "fail", f"a DAG cannot be loaded: {broken[0]}", "tidemill explain TM-505")
    if missing := [name for name in needed if pools.get(name, 0) == 0]:
        fix = "; ".join(f"airflow pools set {name} {needed[name]} Tidemill" for name in missing)
        return Finding("airflow", "fail", f"tasks wait for ever for a slot of {', '.join(missing)}", fix)
    if waiting := [dag for dag in paused if dag in NEEDED]:
        fix = "; ".join(f"airflow dags unpause {dag}" for dag in waiting)
        return Finding("airflow", "warn", f"paused, so nothing runs by itself: {', '.join(waiting)}", fix)
    return Finding("airflow", "ok", f"pools are there: {', '.join(needed) or 'none needed'}")
