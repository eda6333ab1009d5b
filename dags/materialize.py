"""Bring panes and feature rows up to date, many processes or a cluster at once; or make those of some dates again."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Context, TriggerRule, get_current_context, task

from dags import defaults, forms, schedules, settings
from dags.command import CommandOperator
from features import catalog

DOC = """
#### What
Computes panes and feature rows that are behind; the plan cuts the dates into runs, each a task of its own.
With dates, or as a backfill, it makes those of these dates again, whether they are behind or not, and no others.
#### When
Daily at midnight UTC (`[schedules]` changes that), for what an ingest left undone; or on demand. A past month:
`airflow backfill create --dag-id materialize --from-date 2026-01-01 --to-date 2026-01-31`, a run for each day.
#### In and out
Reads `lake/<fleet>/telemetry`, `lake/<fleet>/events`.
Writes panes and features in `lake/<fleet>/…`.
#### If it fails
Run it again: what is done is not done again. `tidemill explain TM-nnn` explains every code in the log.
"""
FORM = {
    "fleet": forms.fleet(catalog.names(), "The fleet whose panes and feature rows are computed. Empty: every fleet."),
    "since": forms.day("From", "Make panes and rows again from this day on (UTC). Empty: only what is behind."),
    "until": forms.day("To", "The first day that is not made again (UTC). Empty: only the day under From."),
    "engine": forms.engine(),
    "master": forms.master(),
}
NOTHING_STORED = "TM-305"


def asked(context: Context) -> list[dict[str, Any]]:
    """Return what a run is asked for, a call of the command for each fleet.

    Raises:
        AirflowFailException: A parameter is unknown or makes no sense.
    """
    params = forms.check(context, FORM)
    fleets = [params["fleet"]] if params["fleet"] else list(catalog.names())
    dates = forms.dates(context, params) or backfilled(context)
    return [{"words": ["materialize", fleet], "options": dates} for fleet in fleets]


def backfilled(context: Context) -> dict[str, str]:
    """Return the days a run of a backfill stands for, from its own to that of the next run; none of any other run."""
    run = context["dag_run"]
    if run.run_type != "backfill" or run.logical_date is None:
        return {}
    first = run.logical_date.date()
    following = schedules.following("materialize", run.logical_date, settings.options().schedules).date()
    return {"since": first.isoformat(), "until": max(following, first + timedelta(days=1)).isoformat()}


def plans(calls: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the calls that say what is behind; none where the dates are given."""
    options = {"stage": "plan", "engine": params["engine"]}
    return [{"words": call["words"], "options": options} for call in calls if not call["options"]]


def panes_of(found: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a call for each run of dates in the plans."""
    chosen = {"engine": params["engine"], "master": params["master"] or ""}
    return [
        {"words": ["materialize", plan["fleet"]], "options": {"stage": "panes", "dates": dates, **chosen}}
        for plan in found
        for dates in plan["runs"]
    ]


def last_calls(calls: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the calls that end a run: the feature rows, or everything of the dates that are given."""
    rows = {"stage": "rows", "engine": params["engine"], "master": params["master"] or ""}
    return [{"words": call["words"], "options": call["options"] or rows} for call in calls]


with DAG(
    "materialize",
    dag_display_name="Materialize features",
    description="Panes and feature rows of a fleet, computed by many processes at once, or again for a past month",
    doc_md=DOC,
    schedule=defaults.timer("materialize"),
    catchup=False,
    max_active_runs=1,
    deadline=defaults.deadline("materialize"),
    params=FORM,
    tags={"tidemill", "stage:materialize"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults("materialize", **defaults.pool("ingest")),
):

    @task
    def check_parameters() -> list[dict[str, Any]]:
        """Refuse unknown parameters; return what is to be done."""
        return asked(get_current_context())

    @task
    def behind(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Say of which fleets to ask what is behind."""
        return plans(calls, get_current_context()["params"])

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def runs(found: Any) -> list[dict[str, Any]]:
        """Say which runs of dates need panes."""
        return panes_of([plan for plan in found or [] if plan], get_current_context()["params"])

    @task
    def ends(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Say what ends the run."""
        return last_calls(calls, get_current_context()["params"])

    # A fleet nobody asked for may well have nothing stored yet.
    UNLESS_ASKED = {"skip_on": [f"{{{{ '' if params.fleet else '{NOTHING_STORED}' }}}}"]}

    calls = check_parameters()
    plan = CommandOperator.partial(
        task_id="plan", map_index_template="{{ task.words[1] }}", **UNLESS_ASKED, **defaults.RETRY
    ).expand_kwargs(behind(calls))
    panes = CommandOperator.partial(
        task_id="panes", map_index_template="{{ task.words[1] }} {{ task.options['dates'] }}", **defaults.RETRY
    ).expand_kwargs(runs(plan.output))
    rows = CommandOperator.partial(
        task_id="rows",
        map_index_template="{{ task.words[1] }}",
        # Without panes to make there are no such tasks, and a new feature set needs its rows all the same.
        trigger_rule=TriggerRule.NONE_FAILED,
        **UNLESS_ASKED,
        **defaults.RETRY,
    ).expand_kwargs(ends(calls))
    panes >> rows
