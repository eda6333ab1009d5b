"""Bring what is published into line with the aliases in MLflow."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Context, task

from dags import assets, defaults, forms
from dags.command import CommandOperator

DOC = f"""
**What** compares the alias `champion` of every model with what is published, and publishes, goes on to the next stage,
rolls back or withdraws. A version whose gate record is missing, failed or of other bytes is refused, and tagged with
the reason in MLflow. Where a use case wants approvals, it starts `approve`.

**When** seconds after an alias was moved (asset `registry.champions`), and every two minutes (`[schedules]` changes
that) for what was missed, for the next stage, and to renew signatures, which live three days.

**In** [aliases in MLflow]({defaults.REGISTRY}), `ledger/gates/…`. **Out** signed `updates/…`, `ledger/promotions/…`.

**To ship** set the alias `champion` on a version. **To undo** move it back, or remove it to withdraw.

**If it fails** nothing half-done is visible to gateways, and running it again is always safe.
"""


ASKED = ("usecase", "version", "number", "stage", "gateways", "reason")
"""What a question says, by the names of the form of `approve`."""


def refuse_parameters(context: Context) -> None:
    """Refuse parameters: what to release is said by the aliases alone."""
    forms.check(context, {})


def asked(waiting: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run of `approve` for a question; the same question gives the same run, so it is asked once.

    Example:
        >>> waiting = {"usecase": "pump_failure", "version": "4", "number": 8, "stage": 1, "bundle": "sha256:ab12",
        ...            "gateways": "", "reason": "stage 1 of 3 of release 8 waits for an approval"}
        >>> asked(waiting)["trigger_run_id"]
        'pump_failure 8-1 ab12'
    """
    digest = str(waiting["bundle"]).removeprefix("sha256:")[:16]
    name = f"{waiting['usecase']} {waiting['number']}-{waiting['stage']} {digest}"
    return {"trigger_run_id": name, "conf": {field: waiting[field] for field in ASKED}}


with DAG(
    "release",
    dag_display_name="Release champions",
    description="Published releases follow the alias champion in MLflow",
    doc_md=DOC,
    schedule=defaults.timer("release", assets.CHAMPIONS),
    catchup=False,
    max_active_runs=1,
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
        # Soon, and not often: a run that waits for its next attempt keeps the run of a newer alias waiting.
        retries=2,
        retry_delay=timedelta(seconds=5),
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
        **defaults.RETRY,
    ).expand_kwargs(questions(release.output))
