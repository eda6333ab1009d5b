"""Take in what devices and hubs have written since the last run, and bring the features up to date."""

from typing import Any

from airflow.sdk import DAG, Context, get_current_context, task, task_group

from dags import assets, defaults, forms
from dags.command import CommandOperator
from features import catalog

DOC = """
#### What
Takes in new raw objects of a fleet: checks every reading, quarantines what is broken, recomputes the panes
and feature rows that late readings touch.
#### When
Hourly, at minute 7 (`[schedules]` changes that); or trigger it for one fleet. After an outage one run takes in
all of it. To compute a past month again, backfill `materialize`.
#### In and out
Reads `raw/<fleet>/…` in object storage.
Writes `lake/<fleet>/…`, `quarantine/<fleet>/…`, a data report in `reports/ingest/<fleet>/…`, asset
`telemetry.<fleet>`. Stale readings and an unusual volume are warnings in the log.
#### If it fails
Run it again: nothing is taken in twice. Bad readings do not fail it, they show as `quarantined` in the
summary of the task `ingest`. `tidemill explain TM-nnn` explains every code in the log.
"""
FORM = {
    "fleet": forms.fleet(
        catalog.names(), "The fleet whose new telemetry is taken in. Empty: every fleet that has some."
    ),
    "engine": forms.engine(),
    "master": forms.master(),
}


def announce(context: Context, summary: Any) -> None:
    """Tell whoever waits for telemetry of this fleet, with the counts of the run."""
    fleet = str(context["task"].words[1])
    context["outlet_events"][assets.TELEMETRY].add(assets.telemetry(fleet), extra=dict(summary))


with DAG(
    "ingest",
    dag_display_name="Ingest telemetry",
    description="New telemetry from object storage into checked tables and features",
    doc_md=DOC,
    schedule=defaults.timer("ingest"),
    catchup=False,
    max_active_runs=1,
    allowed_run_types=defaults.NO_BACKFILL,
    deadline=defaults.deadline("ingest"),
    params=FORM,
    tags={"tidemill", "stage:ingest"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults("ingest", **defaults.pool("ingest")),
):

    @task
    def check_parameters() -> list[str]:
        """Refuse unknown parameters; return the fleets to take in."""
        fleet = forms.check(get_current_context(), FORM)["fleet"]
        return [fleet] if fleet else list(catalog.names())

    @task_group(prefix_group_id=False)
    def fleet(name: str) -> None:
        """Take in one fleet."""
        ingest = CommandOperator(
            task_id="ingest",
            words=["ingest", name],
            # A fleet nobody asked for may well have nothing stored yet.
            skip_on=["{{ '' if params.fleet else 'TM-302' }}"],
            outlets=[assets.TELEMETRY],
            post_execute=announce,
            map_index_template="{{ task.words[1] }}",
            **defaults.RETRY,
        )
        materialize = CommandOperator(
            task_id="materialize",
            words=["materialize", name],
            options=forms.ENGINE_OPTIONS,
            map_index_template="{{ task.words[1] }}",
            **defaults.RETRY,
        )
        ingest >> materialize

    fleet.expand(name=check_parameters())
