"""Train a use case: a candidate is fitted, exported, judged by the gate and registered as a challenger."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Asset, AssetAny, Context, Param, TriggerRule, get_current_context, task

from dags import assets, defaults, forms
from dags.command import CommandOperator
from pipelines import asking, usecases
from pipelines.errors import RequestError
from pipelines.request import Parameters

DOC = f"""
#### What
Fits a model on all known telemetry, exports it, judges the exported model by the gate and registers it in
MLflow with a report. Nothing is deployed: to ship, set the alias `champion` on the version in MLflow. With the
estimator `automatic`, or a budget, tasks `search` try families and settings side by side before.
#### When
Triggered by hand, or by monitoring through an asset `retrain.<use case>`; by the clock, for every use case, if
`[schedules]` says so.
#### In and out
Reads `lake/<fleet>/…`.
Writes a version with alias `challenger` in [MLflow]({defaults.REGISTRY}), its report, `ledger/gates/…`,
and once the version is there `ledger/trainings/…`. The task `train` has buttons to run, version and report, under
*Details*.
#### If it fails
Read the last lines of the task's log: what, where, why, how to mend it. A refused gate is no failure.
"""
TOO_LITTLE = ("TM-305", "TM-320")
LONGEST_NOTE = 500
# Numbers have no bounds here: Airflow's form would put the nearest bound in the place of what is beyond it, and say
# nothing. `pipelines.asking` refuses them in a sentence.
FORM = {
    "usecase": forms.usecase(usecases.names()),
    "since": forms.day("From", "First day of telemetry to learn from (UTC). Empty: all there is."),
    "until": forms.day("To", "Act as if today were this day (UTC): nothing known later is used. Empty: now."),
    "estimator": Param(
        None,
        type=["null", "string"],
        enum=[None, usecases.AUTOMATIC, *usecases.ESTIMATORS],
        values_display={"null": "(as the use case says)"},
        title="Estimator",
        description="What learns. Empty: what the use case names. automatic: a search decides between those that can.",
    ),
    "budget": Param(
        None,
        type=["null", "integer"],
        title="Search budget in seconds",
        description="How long to search for better settings, all search tasks together; at most "
        f"{asking.MOST_BUDGET_S:,}, a day. Empty: no search, or 60 seconds if the estimator is automatic.",
    ),
    "note": Param(
        None,
        type=["null", "string"],
        maxLength=LONGEST_NOTE,
        title="Note",
        description="Why this training; shown on the run in MLflow. Empty: the reasons of monitoring, if it asked.",
    ),
    "seed": Param(
        0,
        type="integer",
        title="Seed",
        description=f"Starts whatever is drawn at random: same seed, same data, same model. 0 to {asking.MOST_SEED:,}.",
        section=forms.MORE,
    ),
    "workers": Param(
        2,
        type="integer",
        title="Search tasks",
        description=f"How many tasks share the budget of the search, 1 to {asking.MOST_WORKERS}; "
        "each takes a slot of its pool.",
        section=forms.MORE,
    ),
}


def wanted(context: Context) -> list[dict[str, str]]:
    """Return the use cases of a run with their fleets: those whose retraining was asked for, else that of the form.

    Airflow merges the events of several use cases into one run, so there may be more than one. A run by the clock has
    nobody who chose one, so it is for all.

    Raises:
        AirflowFailException: The form was filled in wrongly, or asks for what cannot be; nothing was read for it.
    """
    params = forms.check(context, FORM)
    events = context["triggering_asset_events"]
    asked = {assets.usecase_of(source.name) for source in events if isinstance(source, Asset)}
    if not asked:
        asked = set(usecases.names()) if by_clock(context) else {str(params["usecase"])}
    chosen = [usecases.load(name) for name in sorted(asked)]
    try:
        for usecase in chosen:
            asking.refuse(usecase, _parameters(params), time.time_ns() // 1000, params["workers"])
    except RequestError as error:
        raise forms.told(error) from error
    return [{"name": usecase.name, "fleet": usecase.fleet} for usecase in chosen]


def by_clock(context: Context) -> bool:
    """Whether the timer alone started a run."""
    return context["dag_run"].run_type == "scheduled" and not context["triggering_asset_events"]


def _parameters(params: Mapping[str, Any]) -> Parameters:
    since, until = _moment(params["since"]), _moment(params["until"])
    return Parameters(since, until, params["estimator"], float(params["budget"] or 0), params["seed"])


def _moment(day: str | None) -> int | None:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000 if day else None


def options(params: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Return the options of the command; where several tasks search, they and the training share a study.

    Example:
        >>> options({"usecase": "pump_failure", "estimator": "automatic", "workers": 2, "seed": 0, "note": None}, "run")
        {'seed': '0', 'estimator': 'automatic', 'study': 'run'}
    """
    found = {"seed": str(params["seed"])}
    found |= {name: str(params[name]) for name in ("since", "until", "estimator", "budget") if params.get(name)}
    searches = bool(params.get("budget")) or params.get("estimator") == usecases.AUTOMATIC
    return found | ({"study": run_id} if searches and params["workers"] > 1 else {})


def shares(chosen: Sequence[Mapping[str, str]], params: Mapping[str, Any], run_id: str) -> list[dict[str, Any]]:
    """Return what the search tasks call: each use case once for each share of the budget; none without a search."""
    given, count = options(params, run_id), int(params["workers"])
    if "study" not in given:
        return []
    return [
        {"words": ["train", usecase["name"]], "options": {**given, "share": f"{number}/{count}"}}
        for usecase in chosen
        for number in range(1, count + 1)
    ]


def asked_for(events: Mapping[Asset, Sequence[Any]]) -> dict[str, str]:
    """Return why monitoring asked for a training, by use case, as notes; of an event made by hand nothing is known.

    Several events about one use case may have been merged into a run; a reason that several give is told once.

    Example:
        >>> from types import SimpleNamespace
        >>> moved = SimpleNamespace(extra={"reasons": ["scores moved far", "3 of 9 features moved far"]})
        >>> asked_for({assets.retrain("pump_failure"): [moved, moved]})
        {'pump_failure': 'monitoring: scores moved far; 3 of 9 features moved far'}
    """
    notes = {}
    for source in events:
        if isinstance(source, Asset):
            given = [event.extra.get("reasons") for event in events[source]]
            reasons = [str(reason) for several in given if isinstance(several, list) for reason in several]
            note = f"monitoring: {'; '.join(dict.fromkeys(reasons))}"
            if reasons:
                cut = f"{note[: LONGEST_NOTE - 1]}…" if len(note) > LONGEST_NOTE else note
                notes[assets.usecase_of(source.name)] = cut
    return notes


def calls(chosen: Sequence[Mapping[str, str]], context: Context) -> list[dict[str, Any]]:
    """Return what the trainings call; the note is that of the form, else the reasons of monitoring."""
    params, events = context["params"], context["triggering_asset_events"]
    given, asked = options(params, context["run_id"]), asked_for(events)
    return [
        {"words": ["train", name], "options": given | {"note": params["note"] or asked.get(name, "")}}
        for name in (usecase["name"] for usecase in chosen)
    ]


with DAG(
    "train",
    dag_display_name="Train a use case",
    description="A candidate: fitted, exported, judged by the gate, registered as challenger",
    doc_md=DOC,
    schedule=defaults.timer("train", AssetAny(*map(assets.retrain, usecases.names()))),
    catchup=False,
    max_active_runs=1,
    allowed_run_types=defaults.NO_BACKFILL,
    deadline=defaults.deadline("train"),
    params=FORM,
    tags={"tidemill", "stage:train"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults("train"),
):

    @task
    def check_parameters() -> list[dict[str, str]]:
        """Refuse unknown parameters; return the use cases to train."""
        return wanted(get_current_context())

    @task
    def divide(chosen: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Divide the budget of the search among tasks."""
        context = get_current_context()
        return shares(chosen, context["params"], context["run_id"])

    @task
    def trainings(chosen: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Say what is trained, and with what."""
        return calls(chosen, get_current_context())

    chosen = check_parameters()
    # A run by the clock is for every use case: of some, nothing is stored, or too little yet.
    UNLESS_CHOSEN = {
        "skip_on": [f"{{{{ '{code}' if dag_run.run_type == 'scheduled' else '' }}}}" for code in TOO_LITTLE]
    }

    materialize = CommandOperator.partial(
        task_id="materialize",
        map_index_template="{{ task.words[1] }}",
        **defaults.pool("ingest"),
        **UNLESS_CHOSEN,
        **defaults.RETRY,
    ).expand(words=chosen.map(lambda usecase: ["materialize", usecase["fleet"]]))
    search = CommandOperator.partial(
        task_id="search",
        map_index_template="{{ task.words[1] }} {{ task.options['share'] }}",
        **UNLESS_CHOSEN,
        **defaults.pool("train"),
        **defaults.RETRY,
    ).expand_kwargs(divide(chosen))
    train = CommandOperator.partial(
        task_id="train",
        max_active_tis_per_dagrun=1,
        map_index_template="{{ task.words[1] }}",
        # Without a search there are no such tasks, and the training goes on all the same.
        trigger_rule=TriggerRule.NONE_FAILED,
        **UNLESS_CHOSEN,
        **defaults.pool("train"),
        # The same again ends in the same version; once, because what was killed for its memory will be again.
        **(defaults.RETRY | {"retries": 1}),
    ).expand_kwargs(trainings(chosen))
    materialize >> search >> train
