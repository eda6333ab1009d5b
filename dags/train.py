"""Train a use case: a candidate is fitted, exported, judged by the gate and registered as a challenger."""

from airflow.sdk import DAG, Asset, AssetAny, Context, Param, get_current_context, task, task_group

from dags import assets, defaults, forms
from dags.command import CommandOperator
from pipelines import usecases

DOC = f"""
**What** fits a model on all known telemetry, exports it, judges the exported model by the gate and registers it in
MLflow with a report. Nothing is deployed: to ship, set the alias `champion` on the version in MLflow.

**When** triggered by hand, or by monitoring through an asset `retrain.<use case>`.

**In** `lake/<fleet>/…`. **Out** a version with alias `challenger`, its report, `ledger/gates/…`.

**See** [models in MLflow]({defaults.REGISTRY}); the task `train` has a button to its run.

**If it fails** read the last lines of the task's log: what, where, why, how to mend it. A refused gate is no failure.
"""
FORM = {
    "usecase": forms.usecase(usecases.names()),
    "since": forms.day("From", "First day of telemetry to learn from (UTC). Empty: all there is."),
    "until": forms.day("To", "Act as if today were this day (UTC): nothing known later is used. Empty: now."),
    "estimator": Param(
        None,
        type=["null", "string"],
        enum=[None, *usecases.ESTIMATORS],
        title="Estimator",
        description="Empty: what the use case names.",
    ),
    "budget": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=86_400,
        title="Search budget in seconds",
        description="How long to search for better settings of the estimator. Empty: what the use case names.",
    ),
    "seed": Param(
        0, type="integer", minimum=0, title="Seed", description="Same seed, same data, same model.", section=forms.MORE
    ),
    "note": Param(
        None,
        type=["null", "string"],
        maxLength=500,
        title="Note",
        description="Why this training; shown on the run in MLflow.",
        section=forms.MORE,
    ),
}


def wanted(context: Context) -> list[dict[str, str]]:
    """Return the use cases of a run with their fleets: those whose retraining was asked for, else that of the form.

    Airflow merges the events of several use cases into one run, so there may be more than one.
    """
    chosen = str(forms.check(context, FORM)["usecase"])
    events = context["triggering_asset_events"]
    asked = {assets.usecase_of(source.name) for source in events if isinstance(source, Asset)}
    return [{"name": name, "fleet": usecases.load(name).fleet} for name in sorted(asked) or [chosen]]


with DAG(
    "train",
    dag_display_name="Train a use case",
    description="A candidate: fitted, exported, judged by the gate, registered as challenger",
    doc_md=DOC,
    schedule=AssetAny(*map(assets.retrain, usecases.names())),
    catchup=False,
    max_active_runs=1,
    params=FORM,
    tags={"tidemill", "stage:train"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults(),
):

    @task
    def check_parameters() -> list[dict[str, str]]:
        """Refuse unknown parameters; return the use cases to train."""
        return wanted(get_current_context())

    @task_group(prefix_group_id=False)
    def usecase(name: str, fleet: str) -> None:
        """Train one use case."""
        materialize = CommandOperator(
            task_id="materialize",
            words=["materialize", fleet],
            map_index_template="{{ task.words[1] }}",
            **defaults.RETRY,
        )
        train = CommandOperator(
            task_id="train",
            words=["train", name],
            options={
                "since": "{{ params.since or '' }}",
                "until": "{{ params.until or '' }}",
                "estimator": "{{ params.estimator or '' }}",
                "budget": "{{ params.budget or '' }}",
                "seed": "{{ params.seed }}",
                "note": "{{ params.note or '' }}",
            },
            max_active_tis_per_dagrun=1,
            map_index_template="{{ task.words[1] }}",
        )
        materialize >> train

    usecase.expand_kwargs(check_parameters())
