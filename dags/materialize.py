"""Bring panes and feature rows of a fleet up to date, many processes or a cluster at once."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import DAG, TriggerRule, get_current_context, task

from dags import defaults, forms
from dags.command import CommandOperator
from features import catalog

DOC = """
**What** computes panes and feature rows where one process takes too long: after a long import, or for a new feature
set. The plan cuts the dates into runs; each run's panes are a task of its own, then come the feature rows.

**When** on demand. The DAG `ingest` does the same in one task every hour, which is enough for what an hour brings.

**In** `lake/<fleet>/telemetry`, `lake/<fleet>/events`. **Out** panes and features in `lake/<fleet>/…`.

**If it fails** run it again: runs of dates that are done are not done again. `tidemill explain TM-nnn` explains every
code in the log.
"""
FORM = {
    "fleet": forms.one_fleet(catalog.names()),
    "engine": forms.engine(),
    "master": forms.master(),
}


def stage_options(plan: Mapping[str, Any], params: Mapping[str, Any]) -> list[dict[str, str]]:
    """The options of one call of the command for each run of dates in a plan."""
    chosen = {"engine": params["engine"], "master": params["master"] or ""}
    return [{"stage": "panes", "dates": dates, **chosen} for dates in plan["runs"]]


with DAG(
    "materialize",
    dag_display_name="Materialize features",
    description="Panes and feature rows of a fleet, computed by many processes at once",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=FORM,
    tags={"tidemill", "stage:materialize"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults(),
):
    WORDS = ("materialize", "{{ params.fleet }}")

    @task
    def check_parameters() -> None:
        """Refuse unknown parameters."""
        forms.check(get_current_context(), FORM)

    @task
    def runs(plan: Any) -> list[dict[str, str]]:
        """Say which runs of dates need panes."""
        return stage_options(plan, get_current_context()["params"])

    plan = CommandOperator(
        task_id="plan", words=WORDS, options={"stage": "plan", "engine": "{{ params.engine }}"}, **defaults.RETRY
    )
    panes = CommandOperator.partial(
        task_id="panes", words=WORDS, map_index_template="{{ task.options['dates'] }}", **defaults.RETRY
    ).expand(options=runs(plan.output))
    rows = CommandOperator(
        task_id="rows",
        words=WORDS,
        options={"stage": "rows", **forms.ENGINE_OPTIONS},
        # Without panes to make there are no such tasks, and a new feature set needs its rows all the same.
        trigger_rule=TriggerRule.NONE_FAILED,
        **defaults.RETRY,
    )
    check_parameters() >> plan
    panes >> rows
