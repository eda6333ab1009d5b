"""Bring what is published into line with the aliases in MLflow."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Context, get_current_context, task, timezone

from dags import assets, defaults, forms
from dags.command import CommandOperator

DOC = f"""
#### What
Compares the alias `champion` of every model with what is published, and publishes, goes on to the next stage,
rolls back or withdraws. A version whose gate record is missing, failed or of other bytes is refused, and tagged with
the reason in MLflow. Where a use case wants approvals, it starts `approve`.
#### When
Seconds after an alias was moved (asset `registry.champions`), a few times soon after a release, while gateways
change to it, and every two minutes (`[schedules]` changes that) for what was missed and to renew signatures.
#### In and out
Reads [aliases in MLflow]({defaults.REGISTRY}), `ledger/gates/…`.
Writes signed `updates/…`, `ledger/promotions/…`.
#### To ship and to undo
To ship, set the alias `champion` on a version. To undo, move it back to the version before, or remove it to withdraw.
#### If it fails
Nothing half-done is visible to gateways, and running it again is always safe.
"""


ASKED = {
    "usecase": "usecase",
    "version": "version",
    "number": "number",
    "stage": "stage",
    "gateways": "gateways",
    "waits": "reason",
}
"""What a question says, by the names of the form of `approve`."""
LOOKS = (timedelta(seconds=5), timedelta(seconds=15), timedelta(minutes=1))
"""When to look again at what spreads, each counted from the look before; then the timer is enough."""
SOON: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=5)}
"""Soon, and not often: the next run tries again anyway."""


def refuse_parameters(context: Context) -> None:
    """Refuse parameters: what to release is said by the aliases alone."""
    forms.check(context, {})


def asked(waiting: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run of `approve` for a question; the same question gives the same run, so it is asked once.

    What is waited for is a part of the question: where the one who promoted has approved, another person is asked.

    Example:
        >>> waiting = {"usecase": "pump_failure", "version": "4", "number": 8, "stage": 1, "bundle": "sha256:ab12",
        ...            "gateways": "", "reason": "stage 1 of 3 of release 8 waits for an approval"}
        >>> asked(waiting)["trigger_run_id"]
        'pump_failure.8-1.ab12.ee7c69'
    """
    waits = hashlib.sha256(str(waiting.get("reason", "")).encode()).hexdigest()[:6]
    digest = str(waiting["bundle"]).removeprefix("sha256:")[:16]
    name = run_name(f"{waiting['usecase']}.{waiting['number']}-{waiting['stage']}.{digest}.{waits}")
    return {"trigger_run_id": name, "conf": {field: waiting.get(said, "") for field, said in ASKED.items()}}


def next_look(spreading: Sequence[str], run_id: str, now: datetime) -> list[dict[str, Any]]:
    """Return the run that looks again; none when everything has come where it should, or was looked at often enough.

    Gateways change within a minute and say so; without another look, the tags of the version, and a stage that is
    over, would wait for the timer. The name of a run says what it looks at, so that there is one of each.

    Example:
        >>> now = datetime(2026, 11, 27, 8, 0, 0)
        >>> (look,) = next_look(["pump_failure 6-1"], "asset_triggered__2026", now)
        >>> look["trigger_run_id"], look["run_after"]
        ('look.1.pump_failure.6-1', '2026-11-27T08:00:05')
        >>> [look["trigger_run_id"] for look in next_look(["pump_failure 6-1"], look["trigger_run_id"], now)]
        ['look.2.pump_failure.6-1']
        >>> next_look(["pump_failure 6-1"], "look.3.pump_failure.6-1", now), next_look([], "look.1.fans.2-1", now)
        ([], [])
    """
    if not spreading:
        return []
    first, *others = sorted(spreading)
    digest = hashlib.sha256(repr(others).encode()).hexdigest()[:8]
    about = run_name(f"{first.replace(' ', '.')}{f'.and_{len(others)}.{digest}' if others else ''}")
    known = re.fullmatch(rf"look\.(\d+)\.{re.escape(about)}", run_id)
    number = int(known[1]) + 1 if known else 1
    if number > len(LOOKS):
        return []
    return [{"trigger_run_id": f"look.{number}.{about}", "run_after": (now + LOOKS[number - 1]).isoformat()}]


def run_name(text: str) -> str:
    """Return a text as the id of a run, for which Airflow allows few characters.

    Example:
        >>> run_name("pump_failure.8-1"), run_name("My model/8")
        ('pump_failure.8-1', 'My~20model~2F8')
    """
    return quote(text, safe="").replace("%", "~")


with DAG(
    "release",
    dag_display_name="Release champions",
    description="Published releases follow the alias champion in MLflow",
    doc_md=DOC,
    schedule=defaults.timer("release", assets.CHAMPIONS),
    catchup=False,
    # One release at a time, but not one run: Airflow counts the end of runs that it was asked for (`look_again`) half a
    # minute late, and while it thinks that there are too many, a moved alias waits.
    max_active_runs=4,
    allowed_run_types=defaults.NO_BACKFILL,
    deadline=defaults.deadline("release"),
    tags={"tidemill", "stage:release"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults("release"),
):
    release = CommandOperator(
        task_id="release",
        words=["release"],
        pre_execute=refuse_parameters,
        max_active_tis_per_dag=1,
        **SOON,
    )

    @task
    def questions(found: Any) -> list[dict[str, Any]]:
        """Return the runs of `approve` that ask what has to be asked: one for each stage of each release."""
        return [asked(each) for each in found["questions"]]

    TriggerDagRunOperator.partial(
        task_id="ask",
        trigger_dag_id="approve",
        map_index_template="{{ task.trigger_run_id }}",
        skip_when_already_exists=True,
        **SOON,
    ).expand_kwargs(questions(release.output))

    @task
    def later(found: Any) -> list[dict[str, Any]]:
        """Return the run that looks again, while something spreads."""
        return next_look(found["spreading"], get_current_context()["run_id"], timezone.utcnow())

    TriggerDagRunOperator.partial(
        task_id="look_again",
        trigger_dag_id="release",
        map_index_template="{{ task.trigger_run_id }}",
        skip_when_already_exists=True,
        **SOON,
    ).expand_kwargs(later(release.output))
