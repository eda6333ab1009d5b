"""Bring what is published into line with the aliases in MLflow."""

from datetime import timedelta

from airflow.sdk import DAG, Context

from dags import assets, defaults, forms
from dags.command import CommandOperator

DOC = f"""
**What** compares the alias `champion` of every model with what is published, and publishes, rolls back or withdraws.
A version whose gate record is missing, failed or of other bytes is refused, and tagged with the reason in MLflow.

**When** seconds after an alias was moved (asset `registry.champions`), and every two minutes (`[schedules]` changes
that) for what was missed, for the next stage, and to renew signatures, which live three days.

**In** [aliases in MLflow]({defaults.REGISTRY}), `ledger/gates/…`. **Out** signed `updates/…`, `ledger/promotions/…`.

**To ship** set the alias `champion` on a version. **To undo** move it back, or remove it to withdraw.

**If it fails** nothing half-done is visible to gateways, and running it again is always safe.
"""


def refuse_parameters(context: Context) -> None:
    """Refuse parameters: what to release is said by the aliases alone."""
    forms.check(context, {})


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
    CommandOperator(
        task_id="release",
        words=["release"],
        pre_execute=refuse_parameters,
        # Soon, and not often: a run that waits for its next attempt keeps the run of a newer alias waiting.
        retries=2,
        retry_delay=timedelta(seconds=5),
    )
