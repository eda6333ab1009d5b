"""What all DAGs share: who owns them, when they run, where they wait for a slot, and who is told when one fails."""

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from dags import notify, pods, schedules, settings

OWNER = "tidemill"
REGISTRY = settings.registry_page(settings.task_environment())
OWNER_LINKS = {OWNER: REGISTRY}
NO_BACKFILL = ("scheduled", "manual", "operator_triggered", "asset_triggered", "asset_materialization")
"""For DAGs that do what is due now: a run of last month would do today's work, so Airflow refuses to make one."""
RETRY: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": 2.0}
"""For steps that change nothing when they run twice and may find a service away."""
URGENCY = {
    "release": 40,
    "approve": 35,
    "ingest": 30,
    "materialize": 20,
    "monitor": 10,
    "metrics": 5,
    "upkeep": 2,
    "train": 1,
}
"""Who gets the next free slot of a pool that several share: a promotion, then new telemetry, and trainings last."""


def timer(dag: str, assets: Any = None) -> Any:
    """Return the schedule of a DAG: its timer, the assets that wake it, either or neither.

    Raises:
        ScheduleError: Somebody chose what is no schedule.
    """
    cron = schedules.cron(dag, settings.options().schedules)
    if cron is None:
        return assets
    # Not at once: a stack that starts at ten past would otherwise begin with the run of minute seven.
    timetable = CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))
    return timetable if assets is None else AssetOrTimeSchedule(timetable=timetable, assets=assets)


def deadline(dag: str) -> DeadlineAlert | None:
    """Return after what time somebody is told that a run is not over; nobody where nobody can be told.

    Raises:
        ScheduleError: Somebody chose what is no length of time.
    """
    chosen = settings.options()
    within = schedules.deadline(dag, chosen.deadlines)
    if within is None or not notify.configured(chosen.notifications):
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=within,
        callback=AsyncCallback(notify.deadline_missed, kwargs={"within": str(within)}),
    )


def task_defaults(dag: str, **more: Any) -> dict[str, Any]:
    """Return the arguments every task of a DAG starts from."""
    chosen = settings.options()
    return {
        "owner": OWNER,
        "retries": 0,
        "priority_weight": URGENCY[dag],
        "weight_rule": "absolute",
        "on_failure_callback": notify.task_failed,
        "executor_config": pods.executor_config(dag, chosen.pods),
        **more,
    }


def pool(kind: str) -> dict[str, str]:
    """Return the argument that makes a task wait in the pool of its kind, where one was named.

    A task in a pool that does not exist waits for ever, so without a name it stays in the default pool.
    """
    name = settings.options().pools.get(kind)
    return {"pool": name} if name else {}
