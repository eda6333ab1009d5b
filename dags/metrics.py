"""Leave counts, freshness and release state where Prometheus collects them."""

from airflow.sdk import DAG, Context

from dags import defaults, forms, settings
from dags.command import CommandOperator

DOC = """
#### What
Reads from the store how fresh telemetry, features and predictions are, what the gate and monitoring decided,
and what is released, and writes it as a file for a textfile collector.
#### When
Every five minutes (`[schedules]` changes that), where `[metrics] file` names a file; else never by itself.
#### In and out
Reads the tables and ledgers in the store.
Writes the file. Dashboard: `infra/grafana`, rules: `infra/prometheus`.
#### If it fails
The file stays as it was and its time tells its age; the next run writes it anew.
"""
FILE = settings.options().metrics.get("file", "")


def refuse_parameters(context: Context) -> None:
    """Refuse parameters: there is nothing to choose."""
    forms.check(context, {})


with DAG(
    "metrics",
    dag_display_name="Write metrics",
    description="Counts, freshness and release state for Prometheus",
    doc_md=DOC,
    schedule=defaults.timer("metrics") if FILE else None,
    catchup=False,
    max_active_runs=1,
    allowed_run_types=defaults.NO_BACKFILL,
    deadline=defaults.deadline("metrics"),
    tags={"tidemill", "stage:metrics"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults("metrics"),
):
    CommandOperator(
        task_id="metrics",
        words=["metrics"],
        options={"write": FILE},
        pre_execute=refuse_parameters,
        # Not tried again: the next run comes sooner than a second attempt helps.
    )
